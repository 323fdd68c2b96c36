"""Does the tutorial do what it says, run as it stands?"""

from __future__ import annotations

import re
import shlex

import pytest

from tests.programs import ROOT
from tests.tiny_base import save_tiny_base
from unicon.cli import main as cli

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^    unicon (.*)$", TUTORIAL, re.MULTILINE)


def test_it_is_as_short_as_it_says():
    lines = [line for line in "".join(CODE).splitlines() if line.strip()] + COMMANDS
    assert len(lines) <= 40


@pytest.mark.slow
def test_it_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    """On a tiny base with few pairs and steps."""
    base = save_tiny_base(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    pairs, use = (code.replace("range(40)", "range(12)").replace('"mini"', repr(str(base))) for code in CODE)
    exec(compile(pairs, "tutorial", "exec"), {})
    short = ["--base", str(base), "--steps", "2", "--batch_size", "2", "--resolution", "32"]
    for command in COMMANDS:
        words = shlex.split(command)
        assert not cli.main([*words, *(short if words[0] == "train" else [])]), capsys.readouterr().err
    assert (tmp_path / "runs/seg/adapter/export/adapter.safetensors").exists()
    names: dict = {}
    exec(compile(use, "tutorial", "exec"), names)
    assert names["estimated"].size == (128, 128)
    assert names["drawn"].size == (128, 128)
