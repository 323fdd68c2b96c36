"""Do the pages name commands, options, files and Python names that exist, and does the README lead to all?"""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from eval.__main__ import COMMANDS as EVALUATIONS
from tests.programs import ROOT
from train import command as trainer
from train.config import RunConfig
from train.recipes import FAMILIES, stages_of
from unicon.cli import main as cli

PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(ROOT.glob("docs/*.md"))}
PAGES["README.md"] = (ROOT / "README.md").read_text()
HISTORY = "docs/log.md"
"""What was true when it was written; it may name what is gone."""
OF_OTHERS = {"--machine_rank", "--main_process_ip", "--check", "--signal"}
"""Options of accelerate, ruff and Slurm."""
NAMED = sorted(set(PAGES) - {HISTORY})


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[str]:
    """What stands on lines of its own, in blocks and as indented code."""
    joined = re.sub(r"\\\n\s*", "", text)
    for line in re.findall(r"^ *(unicon .*)$", joined, re.MULTILINE):
        yield from (part.strip() for part in line.split("&&"))


WITHOUT_DOTS = [
    (page, command) for page in NAMED for command in commands(PAGES[page]) if "..." not in command
]


@pytest.mark.parametrize(("page", "command"), WITHOUT_DOTS)
def test_commands_are_ones_that_the_parsers_take(page, command, monkeypatch):
    words = shlex.split(command.replace("$split", "standard"), comments=True)[1:]
    args = cli.parse(words)
    if args.command == "train":
        check_training(args.rest)
    if args.command == "eval":
        check_evaluation(args.rest, monkeypatch)


def check_training(words: list[str]) -> None:
    args, rest = trainer._parser().parse_known_args(words)
    if args.help:
        return
    _, stages = stages_of(args.recipe)
    assignments = trainer._assignments(rest)
    assert not assignments or len(stages) == 1
    for stage in stages.values() if assignments else ():
        assert isinstance(stage, RunConfig)
        assert set(assignments) <= {
            each.name for part in (stage.objective, stage.loop) for each in fields(part)
        }


class Parsed(Exception):
    """Raised once the arguments have been accepted."""


def check_evaluation(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `main` with a parser that stops behind parsing."""
    if words == ["--help"]:
        return
    parse = argparse.ArgumentParser.parse_args

    def only_parse(*args, **named):
        raise Parsed(parse(*args, **named))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
    with pytest.raises(Parsed):
        import_module(EVALUATIONS[words[0]][0]).main(words[1:])


@cache
def known_options() -> set[str]:
    """Every option that the sources spell, every field of a recipe, every short form of a condition."""
    sources = [
        path.read_text()
        for part in ("unicon", "eval", "train", "benchmarks")
        for path in (ROOT / part).rglob("*.py")
    ]
    spelt = {option for source in sources for option in re.findall(r'"(--[a-z][\w-]*)"', source)}
    runs = [
        stage for stages in FAMILIES.values() for stage in stages.values() if isinstance(stage, RunConfig)
    ]
    settable = {
        f"--{each.name}" for run in runs for part in (run.objective, run.loop) for each in fields(part)
    }
    shorts = {"--depth", "--edge", "--pose", "--appearance"}
    return spelt | settable | shorts | OF_OTHERS


@pytest.mark.parametrize("page", NAMED)
def test_options_exist(page):
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", PAGES[page])) <= known_options()


@pytest.mark.parametrize("page", NAMED)
def test_python_names_exist(page):
    names = set(re.findall(r"`((?:unicon|eval|train|adapters)\.\w+(?:\.\w+)*)\b(?!/)", PAGES[page]))
    assert [name for name in names if not exists(name)] == []


@pytest.mark.parametrize("page", NAMED)
def test_python_blocks_import_what_there_is(page):
    for block in code_blocks(PAGES[page], "python"):
        for line in ast.walk(ast.parse(block)):
            if isinstance(line, ast.ImportFrom) and str(line.module).split(".")[0] in (
                "unicon",
                "eval",
                "train",
            ):
                missing = [each.name for each in line.names if not exists(f"{line.module}.{each.name}")]
                assert missing == []


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for split in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for part in parts[split:]:
            found = getattr(found, part, None)
        return found is not None
    return False


@pytest.mark.parametrize("page", NAMED)
def test_files_of_the_repository_exist(page):
    places = re.findall(
        r"(?<![\w/.-])((?:docs|benchmarks|tests|unicon|eval|train|adapters)/[\w./-]*\w)", PAGES[page]
    )
    named = [place for place in places if place == place.lower()]  # others stand for any, as adapters/NAME
    assert [place for place in named if not (ROOT / place).exists()] == []


@pytest.mark.parametrize("page", sorted(PAGES))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        place, _, heading = target.partition("#")
        found = (ROOT / page).parent / place if place else ROOT / page
        assert target.startswith("http") or found.exists()
        if heading:
            assert heading in anchors(Path(found).read_text())


def anchors(text: str) -> set[str]:
    """GitHub's names of the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_leads_to_every_page():
    assert [page for page in PAGES if page.startswith("docs/") and page not in PAGES["README.md"]] == []
