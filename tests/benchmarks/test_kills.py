"""Is a run that is killed continued bitwise? (20 kills: `benchmarks/kills.py`.)"""

from __future__ import annotations

import runpy

import pytest

from tests.programs import ROOT
from tests.tiny_base import save_tiny_base


@pytest.mark.slow
def test_killed_runs_continue_bitwise(tmp_path):
    script = runpy.run_path(str(ROOT / "benchmarks" / "kills.py"))
    base = save_tiny_base(tmp_path / "tiny")
    same, compared = script["killed_runs"](tmp_path, str(base), kills=2, seed=0, size_px=64)
    assert same == compared >= 2
