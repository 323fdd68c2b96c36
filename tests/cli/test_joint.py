"""Does `unicon joint` draw a picture and its maps together?"""

from __future__ import annotations

import pytest

from tests.cli.bases import command, names, opened


def test_a_picture_and_every_map_are_written(tmp_path, capsys):
    assert command("joint", "a man", "--conditions", "depth,pose", "--num", 2, "--out", tmp_path / "out") == 0
    kinds = ("depth", "image", "pose")
    assert names(tmp_path / "out") == [f"a-man_seed{seed}_{kind}.png" for seed in (0, 1) for kind in kinds]
    assert len(capsys.readouterr().out.split()) == 6


def test_sizes_are_free(tmp_path):
    size = ("--height", 24, "--width", 40)
    assert command("joint", "x", "--condition", "depth", *size, "--out", tmp_path / "out") == 0
    assert {opened(tmp_path / "out" / name).size for name in names(tmp_path / "out")} == {(40, 24)}


@pytest.mark.parametrize(
    "condition, text", [("sketch", "condition 'sketch': "), ("depth,", "names no condition; give one")]
)
def test_unknown_conditions_are_refused(tmp_path, capsys, condition, text):
    assert command("joint", "x", "--condition", condition, "--out", tmp_path / "out") == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
