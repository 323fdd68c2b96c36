"""Are smaller sets parts of larger ones, and does the experiment go on where it was stopped?"""

from __future__ import annotations

import pytest

from benchmarks.amount import RUNS, Budget, Place, Run, go, main, table, write_pairs, write_part
from eval.records import read
from tests.peers_data import write_family
from tests.tiny_base import save_tiny_base
from unicon.data.pairs import open_pairs

TINY = Budget(pairs=8, steps=4, batch_size=2, num=2, seeds=2, drawing_steps=1)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_family(tmp_path_factory.mktemp("family")) / "scenes"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Rendered scenes stay out of the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def names(folder):
    return {path.stem for path in folder.iterdir()} if folder.exists() else set()


def test_parts_are_nested_and_halves_have_no_partner(scenes, tmp_path):
    whole = write_pairs(scenes, tmp_path / "whole", 8)
    assert len(open_pairs(str(whole), ["depth"])) == 8
    quarter = write_part(whole, tmp_path / "quarter", Run(pairs=0.25))
    half = write_part(whole, tmp_path / "half", Run(pairs=0.5))
    assert names(quarter / "image") == names(quarter / "depth")
    assert len(names(quarter / "image")) == 2
    assert names(quarter / "image") < names(half / "image") < names(whole / "image")
    mixed = write_part(whole, tmp_path / "mixed", Run(pairs=0.25, unpaired=True))
    pictures, maps = names(mixed / "image"), names(mixed / "depth")
    assert pictures & maps == names(quarter / "image")
    assert pictures | maps == names(whole / "image")
    assert len(pictures - maps) == len(maps - pictures) == 3


def test_more_pairs_than_there_are_are_refused(scenes, tmp_path):
    with pytest.raises(ValueError, match="holds 8 scenes, 9 were asked for"):
        write_pairs(scenes, tmp_path / "whole", 9)


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped_and_shows_all_runs(scenes, tmp_path, capsys):
    base, judge = str(save_tiny_base(tmp_path / "base", {})), str(save_tiny_base(tmp_path / "judge"))
    place = Place(out=tmp_path / "out", shards=scenes, base=base, judge=judge, budget=TINY)
    with pytest.raises(ValueError, match="holds no results"):
        table(place)
    assert go(place, seconds=0) == len(RUNS)
    assert go(place) == 0
    found = read(tmp_path / "out" / "results.jsonl")
    assert len(found) == len(RUNS) * TINY.seeds
    assert go(place) == 0
    assert read(tmp_path / "out" / "results.jsonl") == found
    options = ["--out", str(tmp_path / "out"), "--base", base, "--judge", judge, "--tables"]
    sizes = [f"--{name.replace('_', '-')}={getattr(TINY, name)}" for name in Budget.__slots__]
    assert main([*options, *sizes]) == 0
    shown = capsys.readouterr().out
    assert "5% of the pairs + the rest without a partner" in shown
    assert shown.count("±") == len(RUNS) * 3
