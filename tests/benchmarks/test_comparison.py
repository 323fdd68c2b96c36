"""Does the comparison give everybody the same compute, go on where it was stopped, and say what came out?"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.comparison import (
    BUDGET,
    OURS,
    RATES,
    SCENES,
    SPECIALISTS,
    SYSTEMS,
    THIRDS,
    Budget,
    Clock,
    Job,
    Kept,
    Place,
    System,
    captions_table,
    chosen,
    claims,
    jobs,
    late_loss,
    main,
    run,
    table,
)
from eval.peers.peer import DIRECTIONS
from eval.protocols.drawing import Drawings
from eval.protocols.readers import Readings
from tests.peers_data import write_family
from tests.tiny_base import save_tiny_base
from train.config import RunConfig
from train.recipes import FAMILIES

TINY = Budget(steps=4, batch_size=2, trial_share=0.5, num=2, seeds=2, drawing_steps=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return str(save_tiny_base(tmp_path_factory.mktemp("base") / "tiny", {}))


@pytest.fixture(scope="module")
def judge(tmp_path_factory) -> str:
    """The same base, with the adapters that read maps."""
    return str(save_tiny_base(tmp_path_factory.mktemp("judge") / "tiny"))


@pytest.fixture(scope="module")
def family(tmp_path_factory) -> Path:
    return write_family(tmp_path_factory.mktemp("family"))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Rendered scenes stay out of the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def place_in(out: Path, base: str = "mini", family: Path = Path("none"), budget: Budget = TINY) -> Place:
    return Place(out=out, data=family, base=base, condition="depth", judge=base, budget=budget, num_scenes=8)


def test_the_systems_are_those_that_are_stated():
    assert {s.stage for s in SYSTEMS} == {n for n, s in FAMILIES["peers"].items() if isinstance(s, RunConfig)}
    assert set(RATES) <= {s.stage for s in SYSTEMS}
    assert [s.own for s in SPECIALISTS] == [("generate",), ("generate",), ("estimate",), ("joint",)]
    assert [(s.stage, s.own, s.share) for s in THIRDS] == [(s.stage, s.own, 1 / 3) for s in SPECIALISTS]
    todo = jobs()
    assert len(set(todo)) == len(todo) == 3 + 4 + 4 + 1 + 4  # replaced ones last, by two systems
    assert todo[-1] == Job(system=SYSTEMS[-1], direction="estimate")
    assert {job.direction for job in todo if job.system == OURS} == set(DIRECTIONS)


def test_every_part_of_the_budget_is_an_option():
    assert [option[2:].replace("-", "_") for option in BUDGET] == list(asdict(Budget()))


def test_everybody_computes_as_much_as_our_adapter(base, family, tmp_path):
    budget = replace(TINY, steps=300, batch_size=24)
    place = place_in(tmp_path, base, family, budget)
    spent = {}
    for system in SYSTEMS:
        cost = place.cost(system).numbers
        spent[system.name] = cost["flops"] * cost["steps"]
    whole = spent["joint"]
    for system in SYSTEMS:
        assert spent[system.name] == pytest.approx(whole * system.share, rel=0.01)
    for both in ("controlnet", "t2i"):
        three = [spent[f"{name}_third"] for name in (both, "marigold", "jointnet")]
        assert sum(three) == pytest.approx(whole, rel=0.01)
    assert len(place.done("cost")) == len(SYSTEMS)  # and each was counted once
    place.cost(OURS)
    assert len(place.done("cost")) == len(SYSTEMS)


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped(base, judge, family, tmp_path, capsys):
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
        rows = place.scores(job)
        assert [r.settings["seed"] for r in rows[: TINY.seeds]] == list(range(TINY.seeds))
        whole = float(np.mean([r.numbers["abs_rel"] for r in rows[: TINY.seeds]]))
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
    assert len(place.scores(todo[0])) == len(other.scores(todo[0]))
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


def test_without_time_nothing_is_trained(base, family, tmp_path):
    place = place_in(tmp_path, base, family)
    assert place.trained(SPECIALISTS[0], Clock(0.0)) is None
    assert not (place.folder / "controlnet").exists()


class Coin:
    """Reads and draws something else every time."""

    name = "coin"

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def read(self, pictures, condition, keys, seed) -> Readings:
        return Readings(maps=self.rng.random((len(pictures), 4, 4, 3)).astype(np.float16))

    def generate(self, scenes, condition, seed) -> Drawings:
        return Drawings(pictures=self.rng.integers(0, 255, (2, 4, 4, 3), dtype=np.uint8))

    def joint(self, scenes, condition, seed) -> Drawings:
        maps = self.rng.random((2, 4, 4, 3)).astype(np.float16)
        return Drawings(pictures=self.generate(scenes, condition, seed).pictures, maps=maps)


def test_what_was_drawn_is_kept(tmp_path):
    coin, pictures = Coin(), np.zeros((2, 4, 4, 3), np.uint8)
    kept = Kept(reader=coin, drawer=coin, folder=tmp_path / "a")
    assert kept.name == "coin"
    first = kept.read(pictures, "depth", [7, 8], 0).maps
    assert np.array_equal(kept.read(pictures, "depth", [7, 8], 0).maps, first)
    for keys, seed in (([9, 8], 0), ([7, 8], 1)):
        assert not np.array_equal(kept.read(pictures, "depth", keys, seed).maps, first)
    other = Kept(reader=coin, drawer=coin, folder=tmp_path / "b")
    drawn, both = kept.generate(None, "depth", 0), other.joint(None, "depth", 0)
    assert np.array_equal(kept.generate(None, "depth", 0).pictures, drawn.pictures)
    assert np.array_equal(other.joint(None, "depth", 0).maps, both.maps)


# --- tables -----------------------------------------------------------------------------------------------


def noted(place: Place, system: System, direction: str, *values: float) -> None:
    rows = {"adapter": values, "another": [0.5] * len(values)}
    if direction == "estimate":
        rows["mean map of the training set"] = [0.4]
    rows["the exact map"] = [0.01]
    mean = sum(values) / len(values)
    about = {"system": system.name, "direction": direction}
    place.note("scenes", {str(n): mean + 0.01 * n for n in range(3)}, about)
    for prediction, numbers in rows.items():
        for seed, value in enumerate(numbers):
            about = {"system": system.name, "direction": direction, "seed": seed, "prediction": prediction}
            place.note("score", {"abs_rel": value}, about)


def test_tables_are_made_of_records(tmp_path):
    place = place_in(tmp_path)
    for system in SYSTEMS:
        about = {"system": system.name, "stage": system.stage}
        place.note("cost", {"flops": 7e9, "trained": 650_000, "steps": 200}, about)
    noted(place, OURS, "estimate", 0.15, 0.17)
    noted(place, SPECIALISTS[2], "estimate", 0.25, 0.27)
    noted(place, THIRDS[2], "estimate", 0.16, 0.17)
    noted(place, SPECIALISTS[3], "generate", 0.3, 0.3)
    said = table(place)
    assert "| one adapter (ours) | 0.65M | 7.00 | 200 | - | 0.160 ± 0.014 / 0.500 | - |" in said
    assert "| JointNet-style | 0.65M | 7.00 | 200 | (0.300 ± 0.000 / 0.500) | - | - |" in said
    assert "ControlNet" not in said  # nothing was measured of it
    assert "| mean map of the training set | | | | - | 0.400 | - |" in said
    assert "| the true picture or map | | | | - | 0.010 | - |" in said
    (row,) = claims(place).splitlines()[2:]
    assert row == (
        "| image to map | 0.160 ± 0.014 | Marigold-style | 0.260 ± 0.014: ours ahead, by "
        "0.100 [0.100, 0.100] | 0.165 ± 0.007: ours ahead, by 0.005 [0.005, 0.005] |"
    )
    noted(place, SPECIALISTS[2], "estimate", 0.05, 0.06)  # the newest counts
    assert "0.055 ± 0.007: ours behind, by -0.105" in claims(place)
    about = {"system": THIRDS[2].name, "direction": "estimate"}
    place.note("scenes", {"0": 0.1, "1": 0.17, "2": 0.25}, about)  # better on some scenes, worse on others
    assert "0.165 ± 0.007: no difference, by" in claims(place)


def test_of_edges_more_is_better(tmp_path):
    place = replace(place_in(tmp_path), condition="edge")
    for system, value in ((OURS, 0.8), (SPECIALISTS[0], 0.7)):
        about = {"system": system.name, "direction": "generate", "seed": 0, "prediction": "adapter"}
        place.note("score", {"f1": value}, about)
        place.note("scenes", {"0": value, "1": value}, about)
    assert "| map to image | 0.800 | ControlNet | 0.700: ours ahead, by 0.100 [" in claims(place)


def test_captions_are_told_over_seeds(tmp_path):
    place = place_in(tmp_path)
    for system, direction, values in (("joint", "joint", (0.1, 0.3)), ("jointnet", "generate", (0.2, 0.2))):
        for seed, value in enumerate(values):
            about = {"system": system, "direction": direction, "seed": seed}
            place.note("text", {"cosine": 0.5, "own_first": value}, about)
    place.note("text", {"cosine": 0.5, "own_first": 0.9}, {"system": SCENES, "direction": "", "seed": 0})
    assert captions_table(place).splitlines()[2:] == [
        "| one adapter (ours) | - | 0.200 ± 0.141 |",
        "| JointNet-style | (0.200 ± 0.000) | - |",
        "| the scenes' own pictures | 0.900 | |",
    ]


def test_a_trial_is_judged_by_its_second_half(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"loss": 9}\n{"loss": 8}\n{"loss": 1}\n{"loss": 2}\n')
    assert late_loss(tmp_path / "metrics.jsonl") == 1.5


def test_of_two_rates_the_higher_is_taken_unless_it_is_clearly_worse():
    assert chosen({1e-3: 0.3469, 3e-4: 0.3468}) == 1e-3
    assert chosen({1e-3: 0.3510, 3e-4: 0.3468}) == 3e-4
    assert chosen({1e-3: 0.2, 3e-4: 0.3}) == 1e-3


def test_what_cannot_be_compared(tmp_path, capsys):
    with pytest.raises(ValueError, match="holds no results of this budget; run the comparison first"):
        main(["--tables", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        main(["--condition", "pose", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        main(["--directions", "generate,both", "--out", str(tmp_path)])
    assert "'both' is none of generate, estimate, joint" in capsys.readouterr().err
    with pytest.raises(ValueError, match="(?s)joint: training ended with 2: .*no shards under"):
        place_in(tmp_path, family=tmp_path / "none").learn(OURS, "joint", 2, 1e-3, Clock(60.0))
