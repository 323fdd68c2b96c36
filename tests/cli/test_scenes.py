"""Does `unicon scenes` write scenes and a sheet of them, the same for the same seed?"""

from __future__ import annotations

import pytest
from PIL import Image

from unicon.cli import main as cli
from unicon.cli.scenes import scene_config
from unicon.data.scenes import HELD_OUT_KINDS


def scenes(out, *more):
    return cli.main(["scenes", "--count", "2", "--size", "32", "--seed", "5", "--out", str(out), *more])


def test_scenes_and_their_sheet_are_written_the_same_for_the_same_seed(tmp_path, capsys):
    assert scenes(tmp_path / "a") == scenes(tmp_path / "b") == 0
    files = sorted(file.relative_to(tmp_path / "a") for file in (tmp_path / "a").rglob("*") if file.is_file())
    assert len(files) > 2
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)
    with Image.open(tmp_path / "a" / "sheet.png") as sheet:
        assert sheet.width > 6 * 160
    assert "2 scenes and sheet.png" in capsys.readouterr().out


def test_held_out_scenes_hold_what_training_never_sees():
    assert scene_config(size=32, held_out=True).kinds == HELD_OUT_KINDS


@pytest.mark.parametrize(
    "option, text",
    [
        (("--count", "0"), "--count must be at least 1, got 0"),
        (("--size", "8"), "size is 8; expected 32 to 1024"),
    ],
)
def test_bad_numbers_are_refused(tmp_path, capsys, option, text):
    assert scenes(tmp_path / "out", *option) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
