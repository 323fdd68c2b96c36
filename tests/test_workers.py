"""Is a plain `pytest` shared by the cores, and by no more processes than that?"""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from tests.conftest import MOST_WORKERS, pytest_cmdline_main

WHOLE, NAMED = pytest.Config.ArgsSource.TESTPATHS, pytest.Config.ArgsSource.ARGS


@pytest.fixture(autouse=True)
def environment(monkeypatch) -> None:
    """One that no worker and no thread count is in, whoever runs these tests."""
    left_out = ("PYTEST_XDIST_WORKER", "OMP_NUM_THREADS")
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if k not in left_out})


def workers(source=WHOLE, **told) -> int | None:
    """How many are started for that command line."""
    usual = {"collectonly": False, "usepdb": False, "capture": "fd", "numprocesses": None, "dist": "no"}
    option = SimpleNamespace(**{**usual, **told})
    pytest_cmdline_main(SimpleNamespace(args_source=source, option=option))  # pyright: ignore[reportArgumentType]
    return option.numprocesses


def test_all_tests_are_shared_by_the_cores():
    assert workers() == min(os.cpu_count() or 1, MOST_WORKERS)
    assert os.environ["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    "told",
    [{"source": NAMED}, {"usepdb": True}, {"capture": "no"}, {"collectonly": True}],
    ids=lambda told: next(iter(told)),
)
def test_what_is_looked_at_alone_stays_in_one_process(told):
    assert workers(**told) is None


def test_a_number_that_is_asked_for_is_kept():
    assert workers(numprocesses=1) == 1


def test_a_worker_starts_no_workers(monkeypatch):
    monkeypatch.setitem(os.environ, "PYTEST_XDIST_WORKER", "gw0")
    assert workers() is None
