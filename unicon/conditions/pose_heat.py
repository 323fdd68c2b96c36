"""Which people do heat maps of joints and limbs show?

What a network says about every pixel (is this a left knee? does a left shin lie here?) becomes people by the
same search as in a drawing (`pose_reading`): a person is the tree of peaks with the most evidence, in joints
and in the limbs between them. People are taken out one by one, and with each the peaks near its joints.
"""

from __future__ import annotations

import numpy as np

from unicon.conditions.pose import LIMBS
from unicon.conditions.pose_reading import MIN_JOINTS, Person, as_joints, best_person, limb_evidence, spots_in

SPREAD_CELLS = 1.2
"""Deviation of a joint's spot in a heat map that is learnt from, in its cells."""
_JOINT_WEIGHT, _JOINT_COST = 3.0, 0.6  # a peak of 0.2 alone speaks neither for a joint nor against it
_MIN_PERSON = 3.0
_OWN_CELLS = 4.0  # peaks this near a person's joint are its own


def read_heat(joints: np.ndarray, limbs: np.ndarray) -> list[np.ndarray]:
    """Heat (18, h, w) of joints and (17, h, w) of `pose.LIMBS`, in [0, 1] -> joints (18, 3) of people, in
    cells, the surest first.

    Joints that are not found have visible 0. Raises ValueError for other shapes.
    """
    if joints.ndim != 3 or joints.shape[0] != 18 or limbs.shape != (len(LIMBS), *joints.shape[1:]):
        raise ValueError(
            f"heat has shapes {joints.shape} and {limbs.shape}; expected (18, h, w) of joints and "
            f"({len(LIMBS)}, h, w) of limbs"
        )
    spots = [spots_in(plane, 2 * SPREAD_CELLS) for plane in joints]
    discs = [_JOINT_WEIGHT * found[:, 2] - _JOINT_COST for found in spots]
    lines = [limb_evidence(limbs[n], spots[a][:, :2], spots[b][:, :2]) for n, (a, b) in enumerate(LIMBS)]
    people: list[Person] = []
    while True:
        value, person = max(
            (best_person(root, discs, lines) for root in range(18) if len(discs[root])),
            key=lambda found: found[0],
            default=(-np.inf, {}),
        )
        if value < _MIN_PERSON:
            break
        people.append(person)
        for joint, place in person.items():
            away = np.hypot(*(spots[joint] - spots[joint][place])[:, :2].T)
            discs[joint][away <= _OWN_CELLS] = -np.inf
    found = [as_joints(person, spots) for person in people]
    return [each for each in found if each[:, 2].sum() >= MIN_JOINTS]


def heat_of(people: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The other way round: people (n, 18, 3) in cells -> heat (18, h, w) of joints and (17, h, w) of limbs,
    float32; what a network learns."""
    rows, columns = (np.arange(side, dtype=np.float32)[:, None] for side in size)
    joints = np.zeros((18, *size), np.float32)
    limbs = np.zeros((len(LIMBS), *size), np.float32)
    for person in people:
        shown = person[:, 2] > 0
        down, across = (np.exp(-0.5 * ((axis - person[:, i]) / SPREAD_CELLS) ** 2).T * shown[:, None]
                        for axis, i in ((rows, 1), (columns, 0)))  # fmt: skip
        joints = np.maximum(joints, down[:, :, None] * across[:, None, :])
        for n, (a, b) in enumerate(LIMBS):
            if shown[a] and shown[b]:
                _draw(limbs[n], person[a, :2], person[b, :2])
    return joints, limbs


def _draw(plane: np.ndarray, start: np.ndarray, end: np.ndarray) -> None:
    """A soft line of about two cells, laid over what is there."""
    along = end - start
    length = max(float(np.hypot(*along)), 1e-6)
    low = np.maximum(np.floor(np.minimum(start, end) - 3), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(start, end) + 4), plane.shape[::-1]).astype(int)
    if (high <= low).any():
        return
    x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    share = (((x - start[0]) * along[0] + (y - start[1]) * along[1]) / length**2).clip(0, 1)
    away = np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1])
    part = plane[low[1] : high[1], low[0] : high[0]]
    np.maximum(part, np.exp(-0.5 * away**2), out=part)
