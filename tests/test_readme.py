"""Are the README's commands and code ones that this project understands?"""

from __future__ import annotations

import re
import shlex

import pytest

from tests.programs import ROOT
from unicon.cli import main as cli

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The text of the README's fenced blocks in `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = (line for block in blocks("bash") for line in block.splitlines())
    return [part.strip() for line in lines for part in line.split("&&")]


@pytest.mark.parametrize("command", [command for command in commands() if command.startswith("unicon ")])
def test_command_line_accepts_the_command(command):
    arguments = shlex.split(command)[1:]
    assert cli.parse(arguments).command == arguments[0]


def test_it_opens_with_the_two_commands_that_set_everything_up():
    assert blocks("bash")[0].splitlines() == [
        "pip install -e . && unicon demo",
        'pip install -e ".[test]" && pytest',
    ]


@pytest.mark.parametrize("block", blocks("python"))
def test_python_compiles(block):
    compile(block, "README.md", "exec")


def test_every_place_in_the_tree_exists():
    (tree,) = blocks("text")
    folder, missing = "", []
    for line in tree.splitlines():
        name = line.split()[0]
        folder = folder if line.startswith(" ") else name
        place = ROOT / (folder + name if line.startswith(" ") else name)
        missing += [] if place.exists() else [name]
    assert missing == []
