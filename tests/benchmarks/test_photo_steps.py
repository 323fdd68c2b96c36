"""Are steps and ensembles of photographs measured as the suites measure them, each once?"""

from __future__ import annotations

import json

import pytest

from benchmarks import photo_steps as photos
from eval.__main__ import main as evaluate
from eval.records import Record, read
from tests.eval import suite_data
from tests.programs import ROOT
from tests.tiny_base import save_tiny_base


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(autouse=True)
def _beside_the_script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def arguments(base, tmp_path, *more):
    options = ["--base", str(base), "--dtype", "float32", "--steps", "1,2", "--sizes", "1,3"]
    return photos.parse([*options, "--timed", "1", "--out", str(tmp_path / "photos.jsonl"), *map(str, more)])


@pytest.mark.slow
def test_every_set_is_measured_once_and_shown(base, tmp_path):
    sets = {name: getattr(suite_data, name)(tmp_path / name) for name in photos.SUITES}
    options = [part for name, folder in sets.items() for part in (f"--{name}", folder)]
    args = arguments(base, tmp_path, "--num", 2, *options)
    photos.run(args)
    found = read(args.out)
    assert len(found) == 6
    assert {"abs_rel/1", "abs_rel/3", "seconds/1", "seconds/3"} <= found[0].numbers.keys()
    photos.run(args)
    assert read(args.out) == found
    shown = list(photos.tables(found))
    assert len(shown) == 3
    assert "ensemble of 3" in shown[0]
    assert [table.split(" of ")[0] for table in shown] == [
        "photo_steps/nyu: abs_rel", "photo_steps/bsds: ods", "photo_steps/lsp: pck_bbox"
    ]  # fmt: skip


def test_one_estimate_is_what_the_suite_measures(base, tmp_path):
    data = suite_data.nyu(tmp_path / "nyu")
    args = arguments(base, tmp_path, "--nyu", data)
    photos.run(args)
    out = tmp_path / "suite"
    options = ["--base", str(base), "--data", str(data), "--steps", "2", "--seeds", "1", "--out", str(out)]
    assert evaluate(["nyu_depth", *options]) == 0
    rows = json.loads((out / "report.json").read_text())["results"]
    (suite,) = (row for row in rows if row["prediction"] == "adapter")
    (ours,) = (r.numbers["abs_rel/1"] for r in read(args.out) if r.settings["steps"] == 2)
    assert ours == pytest.approx(suite["numbers"]["abs_rel"]["mean"], abs=2e-4)  # maps are kept in 16 bits


@pytest.mark.parametrize(
    ("name", "values", "fewest"),
    [
        ("abs_rel", {1: 0.30, 2: 0.21, 50: 0.20}, 2),
        ("abs_rel", {1: 0.30, 2: 0.22, 50: 0.20}, 50),
        ("ods", {1: 0.58, 2: 0.50, 50: 0.60}, 1),
    ],
)
def test_the_fewest_steps_that_are_as_good(name, values, fewest):
    def record(value):
        return Record(name="photo_steps/x", numbers={f"{name}/1": value}, settings={})

    said = photos.verdict({steps: [record(value)] for steps, value in values.items()}, name, 1)
    assert said.endswith(f": {fewest}.")
