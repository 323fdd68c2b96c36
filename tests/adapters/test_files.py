"""Is a file of arrays whole, under the very name that it was given?"""

from __future__ import annotations

import numpy as np
import pytest

from adapters.files import CannotWrite, write_array, write_arrays

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
