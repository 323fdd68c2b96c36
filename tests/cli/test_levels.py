"""Does `unicon levels` draw and describe laws on a base's schedule?"""

from __future__ import annotations

import json

import pytest
from PIL import Image

from tests.cli.bases import base as tiny_base
from tests.cli.bases import opened, save_noise
from tests.pipeline.test_styles import style
from tests.tiny_base import SCHEDULER
from train.levels import parse_law
from unicon import UniConPipeline
from unicon.cli import main as cli


@pytest.fixture
def base(tmp_path):
    from diffusers import DDIMScheduler

    DDIMScheduler(**SCHEDULER).save_pretrained(tmp_path / "base" / "scheduler")
    return tmp_path / "base"


def test_laws_are_drawn_and_described(base, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    arguments = ["levels", "uniform", "0.8 style_friendly + 0.2 uniform", "--base", str(base)]
    assert cli.main([*arguments, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "uniform: mean timestep 500 of 999; 10% of it in the last tenth; at most 1.0 times" in printed
    with Image.open(tmp_path / "levels.png") as picture:
        assert picture.width > 1000


def test_a_law_that_is_none(base, tmp_path, capsys):
    assert cli.main(["levels", "unifrom", "--base", str(base), "--out", str(tmp_path)]) == 2
    assert "did you mean uniform?" in capsys.readouterr().err
    assert not (tmp_path / "levels.png").exists()


def test_a_law_is_found_for_a_style(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file = style(UniConPipeline.from_pretrained(tiny_base(), adapters=()), tmp_path / "ink.safetensors")
    save_noise(tmp_path / "references" / "0.png", width=40, height=30)
    arguments = ["levels", "uniform", "--calibrate", "--base", str(tiny_base()), "--style", str(file)]
    more = ["--references", str(tmp_path / "references"), "--prompts", "a dog", "--steps", "4"]
    assert cli.main([*arguments, *more, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "emergence.json").read_text())
    assert f'--levels "{found["law"]}"' in printed
    assert parse_law(found["law"])
    for aspect, numbers in found["aspects"].items():
        assert f"{aspect}: half of it is decided at log-SNR {numbers['half']:.1f}" in printed
    assert opened(tmp_path / "out" / "emergence.png").width > 500
    assert opened(tmp_path / "out" / "levels.png").width > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["uniform", "--style", "ink.safetensors"],
            "--style has no effect without --calibrate; give it, too",
        ),
        ([], "name a law, such as uniform, or find one: --calibrate --style FILE"),
        (["--calibrate"], "--calibrate needs a style: --style FILE, or --phrase WORDS"),
        (["--calibrate", "--phrase", "in ink", "--steps", "1"], "--steps is 1; expected at least 2"),
    ],
)
def test_what_cannot_be_found(arguments, message, base, tmp_path, capsys):
    assert cli.main(["levels", *arguments, "--base", str(base), "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
