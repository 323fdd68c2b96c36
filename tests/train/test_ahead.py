"""Are pairs decoded in other threads, ahead of their use, and does nothing else change by it?"""

from __future__ import annotations

import threading
import time

import pytest

from tests.data.test_pairs import write_folders
from tests.tiny_base import save_tiny_base
from train.config import LoopConfig
from train.objectives.pairs import PairsConfig
from train.pairs import ahead as module
from train.pairs.ahead import THREADS, Ahead, ahead
from train.pairs.encoding import PairEncoder
from train.randomness import DataOrder, LookAhead, Share
from train.stepping import Stepper, mean_of


def test_things_come_in_their_order_whoever_is_first():
    def slow_at_first(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number

    assert list(ahead(slow_at_first, range(20))) == list(range(20))
    assert list(ahead(slow_at_first, [])) == []


def test_few_are_taken_before_they_are_asked_for():
    """A stream is not read to its end, and what goes wrong is told where it stands."""
    taken = []

    def numbers():
        for number in range(1000):
            taken.append(number)
            yield number

    made = ahead(lambda number: 1 // (number - 2), numbers())
    assert (next(made), next(made)) == (-1, -1)
    assert len(taken) <= 2 * THREADS + 3
    with pytest.raises(ZeroDivisionError):
        next(made)
    assert list(made) == []


def test_what_was_not_begun_is_left_when_nothing_is_expected_any_more():
    begun, goes_on = [], threading.Event()

    def make(number: int) -> int:
        begun.append(number)
        goes_on.wait(60)
        return -number

    made = Ahead(make)
    made.expect(range(20))
    made.clear()
    goes_on.set()
    made._pool.shutdown()
    assert len(begun) <= THREADS


def test_what_is_passed_over_or_comes_unexpected_is_made_all_the_same(monkeypatch):
    monkeypatch.setattr(module, "NUM_AHEAD", 2)
    made = Ahead(lambda number: -number)
    made.expect([1, 2, 3, 3, 4, 5, 6])
    assert [made.take(number) for number in (1, 9, 3, 3, 6, 5)] == [-1, -9, -3, -3, -6, -5]


def test_the_end_of_a_training_ends_what_is_told_of_it():
    told = []
    order = LookAhead(DataOrder(0, 2, 8), Share(0, 1, 0, 2), told.append, steps=3)
    for step in range(3):
        order.items(step)
    assert [len(items) for items in told] == [2, 2, 2]
    order.close()
    assert len(told[3]) == 0


def test_pairs_of_the_next_step_are_decoded_while_this_one_is_taken(tmp_path, monkeypatch):
    seen: list[tuple[str, bool]] = []
    see = PairEncoder.see

    def recorded(self, entry, condition):
        seen.append((entry.key, threading.current_thread() is threading.main_thread()))
        return see(self, entry, condition)

    base, data = save_tiny_base(tmp_path / "tiny"), write_folders(tmp_path / "data")
    config = PairsConfig(condition="depth", data=str(data), base=str(base), rank=2, cache="")
    loop = LoopConfig(steps=3, batch_size=2, warmup_steps=1, mixed_precision="no")
    monkeypatch.setattr(module, "NUM_AHEAD", 1)  # fewer than a step's pairs

    def losses(alone: bool) -> list[float]:
        stepper = Stepper(config.build(tmp_path), loop)
        if alone:
            stepper.order = stepper.order.order
        return [mean_of(stepper(step)["loss"]) for step in range(3)]

    expected = losses(alone=True)
    monkeypatch.setattr(PairEncoder, "see", recorded)
    assert losses(alone=False) == expected
    assert {key for key, _ in seen} == set("abc")
    assert len(seen) == 6, "two in each of three steps, and none after the last"
    assert not any(is_main for _, is_main in seen)
