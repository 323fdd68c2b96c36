"""Does a comparison go on where it was stopped, and write down what came out?"""

from __future__ import annotations

import runpy
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from benchmarks.model_comparison.jobs import run
from benchmarks.model_comparison.systems import jobs
from benchmarks.model_comparison.training import RATES
from tests.benchmarks.model_comparison.tiny import TINY, place_in
from tests.programs import ROOT


@pytest.fixture
def main(monkeypatch):
    """Of the script, whose own folder Python puts on the path."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return runpy.run_path(str(ROOT / "benchmarks" / "comparison.py"))["main"]


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped(base, judge, family, main, tmp_path, capsys):
    place = replace(place_in(tmp_path, base, family), judge=judge)
    # One of each kind: ours, a specialist, one that replaces the base, a third.
    kinds = ("joint", "controlnet", "jointnet", "controlnet_third")
    todo = [job for job in jobs() if job.system.name in kinds]
    assert run(place, todo, 0.0) == len(todo)
    assert run(place, todo[:2]) == 0
    trained = {p: p.stat().st_mtime_ns for p in place.folder.glob("*/export/*")}
    assert run(place, todo) == 0
    said = capsys.readouterr().err
    assert said.count("to measure") == len(todo)  # nothing twice
    assert all(path.stat().st_mtime_ns == when for path, when in trained.items())
    assert run(place, todo) == 0
    assert not capsys.readouterr().err
    for job in todo:
        rows = place.own_scores(job)
        assert [r.settings["seed"] for r in rows] == list(range(TINY.seeds))
        whole = float(np.mean([r.numbers["abs_rel"] for r in rows]))
        assert np.mean(list(place.per_scene(job).values())) == pytest.approx(whole)
    rates = {(r.settings["stage"], r.settings["rate"]) for r in place.done("rate")}
    stages = {job.system.stage for job in todo} & set(RATES)
    assert rates == {(stage, rate) for stage in stages for rate in RATES[stage]}
    assert not list(place.folder.glob("trial_*"))
    # Another judge reads the same pictures.
    drawn = {p: p.stat().st_mtime_ns for p in place.folder.glob("drawn/**/*.npz")}
    other = replace(place, budget=replace(TINY, judge_steps=2))
    assert run(other, todo[:1]) == 0
    assert {p: p.stat().st_mtime_ns for p in drawn} == drawn
    one, another = place.scores(todo[0]), other.scores(todo[0])
    assert {kind: len(rows) for kind, rows in one.items()} == {k: len(rows) for k, rows in another.items()}
    arguments = ["--out", str(tmp_path), "--data", str(family), "--base", base, "--judge", judge]
    budget = [part for k, v in asdict(TINY).items() for part in (f"--{k.replace('_', '-')}", str(v))]
    assert main([*arguments, *budget, "--tables"]) == 3  # the other systems are left
    text = (place.folder / "table.md").read_text()
    assert len(place.done("text")) == 1 + TINY.seeds * sum(job.direction != "estimate" for job in todo)
    for row in (
        "| own caption nearest |",
        "| the scenes' own pictures |",
        "| one adapter (ours) |",
        "| ControlNet, a third |",
        "| mean map of",
        "| the true picture",
    ):
        assert row in text
    assert (place.folder / "sheet.png").stat().st_size > 1000


def test_nothing_goes_on_from_what_was_trained_on_another_base_or_other_data(base, judge, family, tmp_path):
    place = place_in(tmp_path / "out", base, family)
    assert run(place, [], 0.0) == 0
    place.note("score", {"abs_rel": 0.1}, {"system": "joint", "direction": "joint"})
    assert len(place.done("score")) == 1
    other = shutil.copytree(family, tmp_path / "other")
    captions = other / "scenes" / "shard_000000" / "captions.json"
    captions.write_text(captions.read_text().replace("ball 3", "cube 3"))
    for changed, text in (
        ({"base": judge}, f"holds results of base {base}, and this run is of {judge}"),
        ({"data": other}, "holds results of data with shards"),
        ({"num_scenes": 4}, "holds results of num_scenes 8, and this run is of 4"),
    ):
        with pytest.raises(ValueError, match=text):
            run(replace(place, **changed), [], 0.0)
    assert not replace(place, base=judge).done("score"), "nor are they shown"
    moved = replace(place, data=shutil.copytree(family, tmp_path / "moved"), judge=judge)
    assert run(moved, [], 0.0) == 0


def test_what_cannot_be_compared(main, tmp_path, capsys):
    with pytest.raises(ValueError, match="holds no results of this budget; run the comparison first"):
        main(["--tables", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        main(["--condition", "pose", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        main(["--directions", "generate,both", "--out", str(tmp_path)])
    assert "'both' is none of generate, estimate, joint" in capsys.readouterr().err
