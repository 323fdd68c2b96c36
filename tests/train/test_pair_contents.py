"""Is a pair that was read once known again, and one that was changed read again?"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.data.test_pairs import encoded, picture, write_folders, write_parquet, write_tar
from train.pairs import contents
from train.pairs.contents import Contents, content_of
from unicon.data.pairs import Entry, Picture, open_pairs
from unicon.data.pairs.tables import from_table


@pytest.fixture
def read(tmp_path, monkeypatch) -> list[str]:
    """Places of the pictures that were read."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    places, read = [], Picture.read
    monkeypatch.setattr(Picture, "read", lambda self: places.append(self.place) or read(self))
    monkeypatch.setattr(contents, "SETTLED_NS", -(10**12))
    return places


def keys(root: Path, folder: Path, process: int = 0) -> list[str]:
    """Of all pairs, as a start of a training asks for them."""
    found = Contents(folder, process)
    try:
        return [found.of(entry, "depth") for entry in open_pairs(root, ["depth"])]
    finally:
        found.close()


@pytest.mark.parametrize("write", [write_folders, write_tar, write_parquet])
def test_files_are_read_once(write, tmp_path, read):
    root = write(tmp_path / "data")
    expected = [content_of(entry, "depth") for entry in open_pairs(root)]
    read.clear()
    assert keys(root, tmp_path / "memory", process=1) == expected
    assert len(read) == 6
    assert keys(root, tmp_path / "memory") == expected  # by another process
    assert len(read) == 6


def test_rows_of_one_copy_are_told_apart(tmp_path, read):
    """Parts of a split lie in the same copy; a table that was written anew has another one."""
    datasets = pytest.importorskip("datasets")
    root = write_parquet(tmp_path / "data")
    memory, files = Contents(tmp_path / "memory"), str(root / "train.parquet")
    for split in ("train[:1]", "train[1:]"):
        table = datasets.load_dataset("parquet", data_files=files, split=split)
        entry = replace(from_table(table, split)[0], captions=())
        assert memory.of(entry, "depth") == content_of(entry, "depth")
    table = datasets.load_dataset("parquet", data_files=files, split="train")
    for rows in ([0, 1, 2], [2, 0, 1]):  # as a caller may have picked and ordered them
        found = [replace(entry, captions=()) for entry in from_table(table.select(rows), "train")]
        for row, entry in zip(rows, found, strict=True):
            assert np.array_equal(entry.image.load(), picture(row))
            assert memory.of(entry, "depth") == content_of(entry, "depth")
            assert len(repr(entry.image.stamp().place)) < 64, "every row is looked up by it"
    memory.close()
    before = keys(root, tmp_path / "memory")
    table = datasets.Dataset.from_parquet(files)
    table.select([2, 1, 0]).to_parquet(files)
    os.utime(files, ns=(0, 0))
    assert keys(root, tmp_path / "memory") == before[::-1]


def test_what_is_in_memory_is_read_each_time(tmp_path, read):
    entry = Entry(key="a", image=Picture("a", encoded(picture(0))), maps={})
    memory = Contents(tmp_path / "memory")
    assert memory.of(entry, "depth") == memory.of(entry, "depth")
    assert len(read) == 2


def test_what_was_changed_is_read_again(tmp_path, read):
    root = write_folders(tmp_path / "data")
    before = keys(root, tmp_path / "memory")
    read.clear()
    file = root / "depth" / "b.png"
    times = os.stat(file)
    content = bytearray(file.read_bytes())
    content[-20] ^= 1  # of the same size
    time.sleep(0.02)  # more than a tick of the file system's clock
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # with the old time put back
    after = keys(root, tmp_path / "memory")
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]
    assert read == [str(root / "image" / "b.png"), str(file)]
    (root / "caption" / "a.txt").write_text("a new caption")
    assert keys(root, tmp_path / "memory")[0] != before[0]
    (root / "depth" / "c.png").unlink()
    assert keys(root, tmp_path / "memory")[2] != before[2]


def test_a_file_of_just_now_is_not_trusted(tmp_path, read, monkeypatch):
    monkeypatch.setattr(contents, "SETTLED_NS", 10**12)
    root = write_folders(tmp_path / "data")
    assert keys(root, tmp_path / "memory") == keys(root, tmp_path / "memory")
    assert len(read) == 12
    assert not (tmp_path / "memory").exists()


def test_lines_that_were_cut_short_are_left_out(tmp_path, read):
    root = write_folders(tmp_path / "data")
    before = keys(root, tmp_path / "memory")
    file = tmp_path / "memory" / "0.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1][:50]]))
    read.clear()
    assert keys(root, tmp_path / "memory") == before
    assert len(read) == 4
    assert keys(root, tmp_path / "memory") == before


def test_memory_that_cannot_be_written_stops_nothing(tmp_path, read):
    root = write_folders(tmp_path / "data")
    (tmp_path / "memory").write_bytes(encoded(picture(0)))
    assert keys(root, tmp_path / "memory") == [content_of(e, "depth") for e in open_pairs(root)]
