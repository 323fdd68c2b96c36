"""Are numbers that no training can use refused by name, before anything is loaded?"""

from __future__ import annotations

import dataclasses
import math

import pytest

from train.config import RunConfig
from train.objectives.joint import JointConfig
from train.objectives.pairs import PairsConfig
from train.objectives.style import StyleConfig
from train.ranges import LESS_THAN_1, POSITIVE, SHARE, check
from train.recipes import FAMILIES

JOINT = ("clean_image", "clean_condition", "caption_dropout", "bare_photos")


@pytest.mark.parametrize(
    ("config", "name"),
    [
        *((JointConfig(condition="depth"), name) for name in JOINT),
        *((PairsConfig(), name) for name in (*JOINT, "bad_share")),
        (StyleConfig(), "caption_dropout"),
    ],
)
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_shares_lie_between_0_and_1(config, name, value):
    with pytest.raises(ValueError, match=rf"{name} is {value}; it must lie in \[0, 1\]"):
        dataclasses.replace(config, **{name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_pairs": -1}, "validation_pairs is -1; it must not be negative"),
        ({"validation_steps": 0}, "validation_steps is 0; it must be at least 1"),
        ({"resolution": -64}, "resolution is -64; it must not be negative"),
        ({"longest": -1}, "longest is -1; it must not be negative"),
        ({"crops": 0}, "crops is 0; it must be at least 1"),
        ({"clean_image": 0.7, "clean_condition": 0.7}, r"clean_image 0.7 \+ clean_condition 0.7 must be at"),
    ],
)
def test_numbers_of_pairs(changes, message):
    with pytest.raises(ValueError, match=message):
        PairsConfig(**changes)


def shares_of_recipes():
    """Every field of every recipe that its name calls a share."""
    configs = {
        type(stage.objective): stage.objective
        for stages in FAMILIES.values()
        for stage in stages.values()
        if isinstance(stage, RunConfig)
    }
    for config in configs.values():
        for field in dataclasses.fields(config):
            if field.name.endswith(("share", "shares", "dropout")):
                yield pytest.param(config, field.name, id=f"{type(config).__name__}.{field.name}")


@pytest.mark.parametrize(("config", "name"), list(shares_of_recipes()))
def test_shares_of_every_recipe(config, name):
    value = (1.5,) if isinstance(getattr(config, name), tuple) else 1.5
    with pytest.raises(ValueError, match=rf"{name} is .*1.5.*; (it|each) must lie in \[0, 1"):
        dataclasses.replace(config, **{name: value})


@dataclasses.dataclass
class Numbers:
    one: float = 0.5
    some: tuple[float, ...] = (0.0, 1.0)


def test_ranges_and_their_ends():
    check(Numbers(), SHARE, "one", "some")
    with pytest.raises(ValueError, match=r"some is \(0.0, 1.0\); each must lie in \[0, 1\)"):
        check(Numbers(), LESS_THAN_1, "one", "some")
    with pytest.raises(ValueError, match="one is inf; it must be positive and finite"):
        check(Numbers(one=math.inf), POSITIVE, "one")
