"""Which one map stands for several estimates of it, and how sure is it?

The median of every value, and the members' deviation. Of edges the mean: a value says how likely there is
one, and a line that is a pixel away in each member is in none of their median. Where values alone mean
nothing, what they mean is combined: vectors of normals, and the joints of poses (`pose_ensembles`), whose
drawings would lose every limb that is not in one place in most of them. Ensembles of depth with a scale each
of their own are `eval.metrics.depth_ensemble`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unicon.conditions import normals, pose
from unicon.conditions.pose_ensembles import AgreedPerson, agreed_people
from unicon.conditions.pose_reading import read_pose

GREY = ("depth", "edge")
"""Conditions whose map holds one number per pixel, the mean of its channels."""
TOGETHER = {"edge": "mean", **dict.fromkeys(pose.NAMES, "joints")}
"""How estimates of a condition are combined that are not by their median. Part of what says which settings
made a map."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Combined:
    """What several estimates of one map say together."""

    map: np.ndarray
    """(H, W, 3) float32 in [0, 1]."""
    uncertainty: np.ndarray
    """(H, W) float32: the standard deviation of the members' values, mean over channels; 0 of one member."""
    people: list[AgreedPerson] | None = None
    """Of poses that were combined; the map is their drawing."""


def combined(members: np.ndarray, condition: str) -> Combined:
    """One map of some (M, H, W, 3) in [0, 1]; of a single one itself, of `GREY` conditions the grey."""
    if condition in GREY:
        grey = members.mean(-1)
        middle = grey.mean(0) if TOGETHER.get(condition) == "mean" else np.median(grey, axis=0)
        together = np.repeat(middle[..., None], 3, axis=-1)
        return Combined(map=together.astype(np.float32), uncertainty=_deviation(grey))
    spread = _deviation(members).mean(-1)
    if len(members) == 1:
        return Combined(map=members[0].astype(np.float32), uncertainty=spread)
    if condition in pose.NAMES:
        people = agreed_people([read_pose(member) for member in members])
        drawn = pose.draw_pose([person.joints for person in people], members.shape[1:3])
        return Combined(map=drawn.astype(np.float32) / 255, uncertainty=spread, people=people)
    if condition in normals.NAMES:
        members = np.stack([normals.normal_to_map(normals.map_to_normal(member)) for member in members])
        middle = normals.normal_to_map(normals.map_to_normal(np.median(members, axis=0)))
        return Combined(map=middle, uncertainty=spread)
    return Combined(map=np.median(members, axis=0).astype(np.float32), uncertainty=spread)


def _deviation(members: np.ndarray) -> np.ndarray:
    """Standard deviation over the first axis, of a sample."""
    if len(members) == 1:
        return np.zeros(members.shape[1:], np.float32)
    return members.std(0, ddof=1).astype(np.float32)
