"""Are numbers that no training can use refused by name, before anything is loaded?"""

from __future__ import annotations

import dataclasses
import math

import pytest

from train.config import RunConfig
from train.objectives.joint import JointConfig
from train.objectives.pairs import PairsConfig
from train.objectives.style import StyleConfig
from train.recipes import FAMILIES
from unicon.ranges import LESS_THAN_1, POSITIVE, SHARE, Range

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
    with pytest.raises(ValueError, match=f"{name} must be a number from 0 to 1, got {value}"):
        dataclasses.replace(config, **{name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_pairs": -1}, "validation_pairs must be a whole number of at least 0, got -1"),
        ({"validation_steps": 0}, "validation_steps must be a whole number of at least 1, got 0"),
        ({"resolution": -64}, "resolution must be a whole number of at least 0, got -64"),
        ({"longest": -1}, "longest must be a whole number of at least 0, got -1"),
        ({"crops": 0}, "crops must be a whole number of at least 1, got 0"),
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
    with pytest.raises(ValueError, match=f"{name} must be a number .* 1, got 1.5"):
        dataclasses.replace(config, **{name: value})


@dataclasses.dataclass
class Numbers:
    one: float = 0.5
    some: tuple[float, ...] = (0.0, 1.0)


def test_ranges_and_their_ends():
    SHARE.check_fields(Numbers(), "one", "some")
    with pytest.raises(ValueError, match="each of some must be a number of at least 0 and below 1, got 1.0"):
        LESS_THAN_1.check_fields(Numbers(), "one", "some")
    with pytest.raises(ValueError, match="one must be a number above 0, got inf"):
        POSITIVE.check_fields(Numbers(one=math.inf), "one")
    with pytest.raises(ValueError, match="one must be a number above 0, got 0"):
        POSITIVE.check_fields(Numbers(one=0), "one")
    with pytest.raises(ValueError, match="^one must be a whole number from 0 to 2, got 1.0; in pixels$"):
        Range(least=0, most=2, whole=True, hint="in pixels").check("one", 1.0)
