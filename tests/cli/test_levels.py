"""Does `unicon levels` draw and describe laws on a base's schedule?"""

from __future__ import annotations

import pytest
from PIL import Image

from tests.tiny_base import SCHEDULER
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
