"""Does an option mean one thing, whichever evaluation it is given to?"""

from __future__ import annotations

import argparse
from importlib import import_module

import pytest

from eval.__main__ import COMMANDS

OUT = "--out"
"""A file of records, or the folder of a run or a page: docs/evaluation.md tells which."""
SAME = {"SOURCE": "DIR", "PAIRS": "DIR", "NAME": "a choice", "READER": "MODEL"}
"""Kinds that differ in what else they may be."""


class Parsed(Exception):
    """Carries the parser of a command."""


def kind(action: argparse.Action) -> str:
    """What an option takes, in words."""
    if action.nargs == 0:
        return "nothing"
    told = str(action.metavar or ("a choice" if action.choices else action.dest.upper()))
    return SAME.get(told, told)


def test_an_option_takes_the_same_wherever_it_is_known(monkeypatch):
    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise Parsed(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    found: dict[str, dict[str, list[str]]] = {}
    for name, (module, _) in COMMANDS.items():
        with pytest.raises(Parsed) as parsed:
            import_module(module).main([])
        for action in parsed.value.args[0]._actions:
            for option in action.option_strings:
                found.setdefault(option, {}).setdefault(kind(action), []).append(name)
    assert {option: kinds for option, kinds in found.items() if len(kinds) > 1 and option != OUT} == {}
