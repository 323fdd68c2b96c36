"""Which fields does a recipe have, and what does each of them mean?

Read from the configs themselves: what a field means is the string under it in its class.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import json
import textwrap
import typing
from collections.abc import Mapping
from typing import Any

from train.config import RunConfig

SECTIONS = {"objective": "what is learnt", "loop": "how it is learnt"}
METAVARS = {int: "N", float: "X", bool: "true|false", str: "TEXT", tuple: "[A,B]"}


def add_fields(parser: argparse.ArgumentParser, config: RunConfig) -> None:
    """List the fields of a run in a parser's help, each with its type, meaning and default."""
    for section, title in SECTIONS.items():
        values = getattr(config, section)
        meanings, hints = meanings_of(type(values)), typing.get_type_hints(type(values))
        group = parser.add_argument_group(title)
        for field in dataclasses.fields(values):
            kind = typing.get_origin(hints[field.name]) or hints[field.name]
            told = [meanings.get(field.name, ""), _default(getattr(values, field.name))]
            text = " ".join(part for part in told if part).replace("%", "%%")
            group.add_argument(f"--{field.name}", metavar=METAVARS.get(kind, "VALUE"), help=text)


def meanings_of(config: type) -> Mapping[str, str]:
    """Field name -> the string under it, in the class or in one that it extends."""
    found: dict[str, str] = {}
    for cls in reversed(config.__mro__):
        if dataclasses.is_dataclass(cls):
            found |= _strings_under_fields(cls)
    return found


def _strings_under_fields(cls: type) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    assert isinstance(tree.body[0], ast.ClassDef)
    lines = tree.body[0].body
    found = {}
    for line, below in zip(lines, lines[1:], strict=False):
        if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[line.target.id] = " ".join(str(below.value.value).split())
    return found


def _default(value: Any) -> str:
    """As it would be written on the command line; nothing for what is empty."""
    if value == "":
        return ""
    return f"(default {value if isinstance(value, str) else json.dumps(value)})"
