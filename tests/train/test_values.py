"""Are the values of a run read as they are typed, and bad ones named with what would do?"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.train.line import config
from train.config import LoopConfig, RunConfig, override


def test_overrides_reach_both_sections():
    run = override(config(), {"steps": "7", "slope": "3", "loop.learning_rate": "1", "betas": "[0.5, 0.9]"})
    assert (run.loop.steps, run.objective.slope, run.loop.betas) == (7, 3.0, (0.5, 0.9))


@dataclass(frozen=True, kw_only=True, slots=True)
class KindsConfig:
    mirrored: bool = False
    num: int = 3
    rate: float = 0.5
    sizes: tuple[int, ...] = (4, 8)
    shares: tuple[float, float] = (0.9, 0.99)
    words: tuple[str, ...] = ("a dog", "a cat")
    text: str = ""


KINDS = RunConfig(name="kinds", objective=KindsConfig(), loop=LoopConfig(steps=1, batch_size=1))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("mirrored", "True", True),
        ("mirrored", "FALSE", False),
        ("num", "1e4", 10_000),
        ("num", "8.0", 8),
        ("num", "9007199254740993", 2**53 + 1),
        ("rate", "2", 2.0),
        ("rate", ".5", 0.5),
        ("sizes", "[16, 3.2e1]", (16, 32)),
        ("shares", "[0, 1]", (0.0, 1.0)),
        ("words", '["a house"]', ("a house",)),
        ("text", "3", "3"),
    ],
)
def test_values_as_they_are_written(name, text, value):
    found = getattr(override(KINDS, {name: text}).objective, name)
    assert found == value
    kinds = [type(each) for each in (found if isinstance(found, tuple) else (found,))]
    assert kinds == [type(each) for each in (value if isinstance(value, tuple) else (value,))]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("mirrored", "yes", "true or false"),
        ("mirrored", "1", "true or false"),
        ("num", "1.5", "a whole number, such as --num 3"),
        ("num", "true", "a whole number, such as --num 3"),
        ("num", "inf", "a whole number, such as --num 3"),
        ("rate", "fast", "a number, such as --rate 0.5"),
        ("rate", "true", "a number, such as --rate 0.5"),
        ("sizes", "[4, true]", "a list, such as --sizes '[4, 8]'"),
        ("shares", "0.9,0.99", "a list, such as --shares '[0.9, 0.99]'"),
        ("shares", "0.9", "a list, such as --shares '[0.9, 0.99]'"),
        ("shares", "[0.9]", "a list, such as --shares '[0.9, 0.99]'"),
        ("shares", '["0.9", 1]', "a list, such as --shares '[0.9, 0.99]'"),
        ("words", "a dog", 'a list, such as --words \'["a dog", "a cat"]\''),
        ("words", "[1]", 'a list, such as --words \'["a dog", "a cat"]\''),
    ],
)
def test_values_of_another_kind_are_answered_with_one_that_fits(name, text, expected):
    with pytest.raises(ValueError, match=re.escape(f"--{name} got {text!r}; expected {expected}")):
        override(KINDS, {name: text})


@pytest.mark.parametrize(
    "assignments, message",
    [
        ({"stepz": "3"}, "did you mean --steps"),
        ({"validate_every": "-1"}, "validate_every must be a whole number of at least 0, got -1"),
        ({"optimizer": "prodigy"}, "which finds its own: give --learning_rate 1"),
        ({"steps": "many"}, "--steps got 'many'; expected a whole number, such as --steps 12"),
        ({"optimizer": "muon", "mixed_precision": "fp16"}, "unscaled twice; choose bf16 or no"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; known: adamw, muon, adamw8bit, prodigy"),
        ({"steps": "0"}, "steps must be a whole number of at least 1, got 0"),
        ({"learning_rate": "-1"}, "learning_rate must be a number above 0, got -1.0"),
        ({"learning_rate": "NaN"}, "learning_rate must be a number above 0, got nan"),
        ({"clip_norm": "-1"}, "clip_norm must be a number of at least 0, got -1.0"),
        ({"weight_decay": "-0.1"}, "weight_decay must be a number of at least 0, got -0.1"),
        ({"betas": "[0.9, 1]"}, "each of betas must be a number of at least 0 and below 1, got 1"),
        ({"ema_decay": "1"}, "ema_decay must be a number of at least 0 and below 1, got 1.0"),
        ({"decay": "cosin"}, "decay is 'cosin'; did you mean cosine?"),
        ({"decay_share": "2"}, "decay_share must be a number from 0 to 1, got 2.0"),
        ({"mixed_precision": "fp8"}, "choose auto, no, bf16 or fp16"),
    ],
)
def test_bad_overrides_are_named(assignments, message):
    with pytest.raises(ValueError, match=message):
        override(config(), assignments)
