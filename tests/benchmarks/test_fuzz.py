"""Do broken files give a result or an error that names them, and does the fuzzer see what it should?"""

from __future__ import annotations

import random

import pytest

from benchmarks import fuzz
from tests.programs import FORKING


@pytest.mark.slow
def test_a_few_broken_files_do_no_harm(tmp_path):
    tally = fuzz.fuzz(tmp_path, 40, seed=1, limit_s=60, starting=FORKING)
    assert tally.failures == []
    assert sum(tally.outcomes.values()) == 40


def test_cases_follow_from_the_seed_and_differ_from_the_whole_file():
    content = dict(fuzz.pictures())["a.png"]
    first = [fuzz.mutated(content, random.Random(seed), "a.png") for seed in range(30)]
    assert first == [fuzz.mutated(content, random.Random(seed), "a.png") for seed in range(30)]
    assert sum(broken != content for broken, _ in first) > 25
    assert len({how for _, how in first}) > 4


@pytest.mark.parametrize(
    "answer, problem",
    [
        ({"outcome": "result", "text": "", "left": ""}, None),
        ({"outcome": "ValueError", "text": "x/a.png: is damaged", "left": ""}, None),
        ({"outcome": "ValueError", "text": "is damaged", "left": ""}, "the error does not name the file"),
        ({"outcome": "IndexError", "text": "x/a.png", "left": ""}, "IndexError: x/a.png"),
        ({"outcome": "hang", "text": "nothing", "left": ""}, "hang: nothing"),
        ({"outcome": "result", "text": "", "left": "another list"}, "left behind: another list"),
    ],
)
def test_what_counts_as_a_failure(tmp_path, answer, problem):
    found = fuzz.problem_of(answer, tmp_path / "a.png")
    assert (found is None) == (problem is None)
    assert problem is None or str(found).startswith(problem)


@pytest.mark.slow
def test_a_loader_that_dies_or_hangs_is_started_again(tmp_path, monkeypatch):
    """The loader's process is stopped, then killed, before it is asked: it cannot answer."""
    import os
    import signal

    loader = fuzz.Loader(fuzz.Seeds.make(tmp_path / "whole").base, FORKING)
    assert loader.ask("picture", str(tmp_path / "none.png"), 120)["outcome"] == "ValueError"
    os.kill(loader.process.pid, signal.SIGSTOP)
    assert loader.ask("picture", str(tmp_path / "none.png"), 0.5)["outcome"] == "hang"
    assert loader.ask("picture", str(tmp_path / "none.png"), 120)["outcome"] == "ValueError"
    os.kill(loader.process.pid, signal.SIGKILL)
    loader.process.join()
    assert loader.ask("picture", str(tmp_path / "none.png"), 120)["outcome"] == "crash"
    loader.stop()
