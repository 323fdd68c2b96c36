"""Does everybody get the same compute, the highest rate that suits it, and no more time than there is?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.model_comparison.budget import Clock
from benchmarks.model_comparison.systems import OURS, SPECIALISTS, SYSTEMS
from benchmarks.model_comparison.training import chosen, cost, late_loss, learn, trained
from tests.benchmarks.model_comparison.tiny import TINY, place_in


@pytest.mark.slow
def test_everybody_computes_as_much_as_our_adapter(base, family, tmp_path):
    budget = replace(TINY, steps=300, batch_size=24)
    place = place_in(tmp_path, base, family, budget)
    spent = {}
    for system in SYSTEMS:
        counted = cost(place, system).numbers
        spent[system.name] = counted["flops"] * counted["steps"]
    whole = spent["joint"]
    for system in SYSTEMS:
        assert spent[system.name] == pytest.approx(whole * system.share, rel=0.01)
    for both in ("controlnet", "t2i"):
        three = [spent[f"{name}_third"] for name in (both, "marigold", "jointnet")]
        assert sum(three) == pytest.approx(whole, rel=0.01)
    assert len(place.done("cost")) == len(SYSTEMS)  # and each was counted once
    cost(place, OURS)
    assert len(place.done("cost")) == len(SYSTEMS)


def test_without_time_nothing_is_trained(base, family, tmp_path):
    place = place_in(tmp_path, base, family)
    assert trained(place, SPECIALISTS[0], Clock(0.0)) is None
    assert not (place.folder / "controlnet").exists()


def test_a_trial_is_judged_by_its_second_half(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"loss": 9}\n{"loss": 8}\n{"loss": 1}\n{"loss": 2}\n')
    assert late_loss(tmp_path / "metrics.jsonl") == 1.5


def test_of_two_rates_the_higher_is_taken_unless_it_is_clearly_worse():
    assert chosen({1e-3: 0.3469, 3e-4: 0.3468}) == 1e-3
    assert chosen({1e-3: 0.3510, 3e-4: 0.3468}) == 3e-4
    assert chosen({1e-3: 0.2, 3e-4: 0.3}) == 1e-3


def test_a_training_that_fails_says_why(tmp_path):
    place = place_in(tmp_path, family=tmp_path / "none")
    with pytest.raises(ValueError, match="(?s)joint: training ended with 2: .*no shards under"):
        learn(place, OURS, "joint", 2, 1e-3, Clock(60.0))
