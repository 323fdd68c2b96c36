"""Are the commands of docs/metrics.md ones that their parsers take?"""

from __future__ import annotations

import re
import shlex
from importlib import import_module

import pytest

from eval.__main__ import COMMANDS
from tests.programs import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text()


@pytest.mark.parametrize("command", re.findall(r"^    unicon eval (.*)$", PAGE, re.MULTILINE))
def test_the_parser_takes_the_command(command):
    name, *arguments = shlex.split(command)
    import_module(COMMANDS[name][0]).parser().parse_args(arguments)


def test_every_file_of_metrics_is_importable_from_where_the_page_says():
    for module, name in re.findall(r"`(eval\.metrics\.\w+)\.(\w+)", PAGE):
        assert hasattr(import_module(module), name)
