"""Is a run that is killed continued bitwise? (20 kills: `benchmarks/kills.py`.)"""

from __future__ import annotations

import sys

import pytest

from benchmarks import kills
from tests.programs import Forked
from tests.tiny_base import save_tiny_base


class Forks(kills.Launcher):
    """Starts the same command without its imports, which took longer than all the steps."""

    def __call__(self, name: str, *more: str) -> Forked:
        assert self.command[:3] == [sys.executable, "-m", "train"]
        arguments = [*self.command[3:], "--out", str(self.folder / name), *more]
        return Forked("train", arguments, self.folder / f"{name}.log")


@pytest.mark.slow
def test_killed_runs_continue_bitwise(tmp_path):
    base = save_tiny_base(tmp_path / "tiny")
    same, compared = kills.killed_runs(tmp_path, str(base), kills=2, seed=0, size_px=64, launcher=Forks)
    assert same == compared >= 2
