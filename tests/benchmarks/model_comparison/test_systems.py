"""Is compared what is stated, and can everything be set?"""

from __future__ import annotations

from dataclasses import asdict

from benchmarks.model_comparison.budget import OPTIONS, Budget
from benchmarks.model_comparison.systems import OURS, SPECIALISTS, SYSTEMS, THIRDS, Job, jobs
from benchmarks.model_comparison.training import RATES
from eval.peers.peer import DIRECTIONS
from train.config import RunConfig
from train.recipes import FAMILIES


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
    assert [option[2:].replace("-", "_") for option in OPTIONS] == list(asdict(Budget()))
