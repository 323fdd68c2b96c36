"""Is a file of arrays whole, under the very name that it was given?"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from adapters.files import CannotWrite, existing, whole_folder, write_array, write_arrays

PLANE = np.arange(6.0).reshape(2, 3)


def test_arrays_come_back_from_a_folder_made_for_them(tmp_path):
    write_array(tmp_path / "new" / "plane", PLANE)
    np.testing.assert_array_equal(np.load(tmp_path / "new" / "plane"), PLANE)
    for compressed in (False, True):
        write_arrays(
            tmp_path / "new" / "all.npz", {"plane": PLANE, "sum": PLANE.sum()}, compressed=compressed
        )
        with np.load(tmp_path / "new" / "all.npz") as packed:
            assert sorted(packed) == ["plane", "sum"]
            np.testing.assert_array_equal(packed["plane"], PLANE)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["all.npz", "plane"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "plane.npy"
    write_array(path, PLANE)

    def half(file, values, **_):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "save", half)
    with pytest.raises(CannotWrite, match="plane.npy: cannot be written"):
        write_array(path, PLANE + 1)
    np.testing.assert_array_equal(np.load(path), PLANE)
    assert [each.name for each in tmp_path.iterdir()] == ["plane.npy"]


def test_a_folder_is_never_lost_on_the_way_to_a_new_one(tmp_path, monkeypatch):
    for content in ("first", "second"):
        with whole_folder(tmp_path / "keep") as new:
            (new / "a.txt").write_text(content)
    assert [each.name for each in tmp_path.iterdir()] == ["keep"]
    rename = os.replace

    def refused(source, target):
        if Path(target).name == "keep" and not str(source).endswith("_old"):
            raise OSError("busy")
        rename(source, target)

    monkeypatch.setattr("os.replace", refused)
    with pytest.raises(OSError, match="busy"), whole_folder(tmp_path / "keep") as new:
        (new / "a.txt").write_text("third")
    assert [each.name for each in tmp_path.iterdir()] == ["keep"]
    assert (tmp_path / "keep" / "a.txt").read_text() == "second"


def test_what_is_a_folder_is_not_said_to_be_missing(tmp_path):
    with pytest.raises(ValueError, match="is no file: a style is one"):
        existing(tmp_path, "a style is one")
    with pytest.raises(ValueError, match="x does not exist: a style is one"):
        existing(tmp_path / "x", "a style is one")


def test_a_folder_put_aside_by_a_process_that_was_killed_is_put_back(tmp_path):
    with whole_folder(tmp_path / "keep") as new:
        (new / "first").touch()
    os.replace(tmp_path / "keep", tmp_path / ".keep_old")  # killed here, before the new one was in place
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "keep") as new:
        raise RuntimeError("and the next one fails")
    assert (tmp_path / "keep" / "first").exists()
    (tmp_path / ".keep_old").mkdir()  # killed after that
    with whole_folder(tmp_path / "keep") as new:
        (new / "second").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["keep", "second"]
