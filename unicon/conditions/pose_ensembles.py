"""Which people do several estimates of one pose agree on?

People of different estimates are matched by the mean distance of their joints. A joint that at least half of
the estimates show is there, in the median of its places; a person that less than half show is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unicon.conditions.pose_reading import MIN_JOINTS

MOST_APART = 0.5
"""Mean distance of the joints of one person in two estimates, at most, in sides of the larger one's box."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AgreedPerson:
    """A person that most estimates show."""

    joints: np.ndarray
    """(18, 3): x, y and the share of the estimates that show the joint; all 0 where less than half do."""
    spread_px: np.ndarray
    """(18,): root mean square distance of the estimates' joints from this one, pixels; 0 without a joint."""


def agreed_people(estimates: Sequence[Sequence[np.ndarray]]) -> list[AgreedPerson]:
    """The people of some estimates, each a list of joints (18, 3), `visible` above 0 where there is one.

    Most agreed on first. As in `pose_reading`, a person needs 4 joints.
    """
    found = [_agreed(group, len(estimates)) for group in _matched(estimates)]
    people = [person for person in found if np.count_nonzero(person.joints[:, 2]) >= MIN_JOINTS]
    return sorted(people, key=lambda person: -person.joints[:, 2].sum())


def _matched(estimates: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
    """The same person's joints in every estimate that shows it: nearest pairs first, one per estimate."""
    groups: list[list[np.ndarray]] = []
    for people in estimates:
        middles = [_places(group) for group in groups]
        pairs = [(_apart(m, _places([p])), g, n) for g, m in enumerate(middles) for n, p in enumerate(people)]
        owner: dict[int, int] = {}
        for apart, group, number in sorted(pairs):
            if apart <= MOST_APART and number not in owner and group not in owner.values():
                owner[number] = group
        for number, person in enumerate(people):
            if number in owner:
                groups[owner[number]].append(person)
            else:
                groups.append([person])
    return groups


def _places(group: Sequence[np.ndarray]) -> np.ndarray:
    """(18, 2): the median of each joint's places; NaN where nobody has it."""
    stack = np.stack(group)
    places, shown = np.full((18, 2), np.nan), (stack[..., 2] > 0).any(axis=0)
    seen = np.where(stack[..., 2:] > 0, stack[..., :2], np.nan)
    places[shown] = np.nanmedian(seen[:, shown], axis=0)
    return places


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Mean distance of the joints both have, in sides of the larger one's box; infinite without any."""
    both = np.isfinite(one[:, 0]) & np.isfinite(other[:, 0])
    if not both.any():
        return np.inf
    side = max(float(np.ptp(p[np.isfinite(p[:, 0])], axis=0).max()) for p in (one, other))
    return float(np.hypot(*(one - other)[both].T).mean()) / max(side, 1.0)


def _agreed(group: Sequence[np.ndarray], num_estimates: int) -> AgreedPerson:
    joints, spread = np.zeros((18, 3)), np.zeros(18)
    for number in range(18):
        places = np.array([person[number, :2] for person in group if person[number, 2] > 0])
        if 2 * len(places) >= num_estimates:
            middle = np.median(places, axis=0)
            joints[number] = (*middle, len(places) / num_estimates)
            spread[number] = np.sqrt(np.square(places - middle).sum(axis=-1).mean())
    return AgreedPerson(joints=joints, spread_px=spread)
