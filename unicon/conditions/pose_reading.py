"""Which people does a pose drawing show, even one that a decoder has blurred?

The other way round of `pose.draw_pose`. Spots of a joint's hue are candidates for that joint. A person is the
tree of candidates with the most evidence, in discs and in the limbs between them, found by dynamic
programming over the limbs (pictorial structures, Felzenszwalb and Huttenlocher 2005); joints may be missing.
People are taken out one by one, and with each the candidates that its drawing explains: limb number n has
the hue of joint number n.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from unicon.conditions.arrays import as_map
from unicon.conditions.pose import COLOURS, LIMBS, disc_radius

Person = dict[int, int]
"""Joint number -> which of that joint's candidates."""

_MOST_PX = 512  # of a drawing's shorter side; time and memory go with its square
_SHARPENING = 0.7
_DISC_BLUR = 0.25  # of the radius of a disc
_MIN_DISC = 0.1  # least mean agreement of a spot with its joint's colour
_RIM, _BRIGHTER = 1.15, 1.35  # radii; times as bright
_MOST_SPOTS = 12  # per joint
_MIDDLE = 0.3  # brightness granted to a joint that others may hide, halfway between them
_DISC_WEIGHT, _DISC_COST = 2.0, 1.2  # a limb, as bright as 0.6 of a disc, is no evidence for a joint
_NEAR_WEIGHT, _LIMB_COST = 0.7, 0.35
_MIN_PERSON = 2.0
_MIN_BRIGHT = 0.75  # of the mean brightness of the brightest person
_EXPLAINED_DISC, _EXPLAINED_LIMB = 3.0, 2.5  # pixels at 128 from a person's joint or limb
_MERE_LIMB, _MERE_BRIGHT = 1.5, 0.8  # pixels; a person's own joint that is darker is no disc
MIN_JOINTS = 4
"""Of a person; fewer are none."""
_WIDEST_GAP = 1.6
_FACE = (0, 14, 15, 16, 17)
# Joints of the face hide each other in small drawings, so any two may lie next to each other.
_TIES = tuple((a, b) for i, a in enumerate(_FACE) for b in _FACE[i + 1 :]) + tuple((1, a) for a in _FACE[1:])
_BONES = LIMBS + _TIES + ((2, 5), (8, 11), (2, 8), (5, 11))
_HIDDEN = ((1, (2, 5), 30.0), (0, (14, 15), 6.0))
"""Neck and nose: the discs of the shoulders and of the eyes cover them in small drawings. (joint, the two
that cover it, most pixels between those at 128)."""
_NEIGHBOURS = {
    joint: [(b if a == joint else a, number) for number, (a, b) in enumerate(LIMBS) if joint in (a, b)]
    for joint in range(18)
}


def read_pose(picture: np.ndarray) -> list[np.ndarray]:
    """Drawing (H, W, 3), uint8 or [0, 1], perhaps blurred -> joints (18, 3) of people, the surest first.

    Joints that are not found have visible 0. A person needs at least 4 joints. Drawings whose shorter side
    is above 512 pixels are read at that size.
    """
    given = as_map(picture, "pose map")
    small = _at_most(given, _MOST_PX)
    scale = np.array([given.shape[i] / small.shape[i] for i in (1, 0)])
    found = _read(small)
    for joints in found:
        # A centre at integer x stands for the middle of [x - 0.5, x + 0.5].
        joints[:, :2] = np.where(joints[:, 2:] > 0, (joints[:, :2] + 0.5) * scale - 0.5, 0)
    return found


def _at_most(picture: np.ndarray, side: int) -> np.ndarray:
    """The picture with its shorter side at most `side` pixels."""
    height, width = picture.shape[:2]
    share = side / min(height, width)
    if share >= 1:
        return picture
    return cv2.resize(picture, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)


def _read(picture: np.ndarray) -> list[np.ndarray]:
    colours = _sharpened(picture)
    spots = _all_spots(colours)
    people = _people(_Evidence.of(colours, spots), spots, _unit(colours))
    _merge_fragments(people, spots)
    found = [as_joints(person, spots) for person in people]
    return sorted((j for j in found if j[:, 2].sum() >= MIN_JOINTS), key=lambda j: -j[:, 2].sum())


# --- what may be a joint ----------------------------------------------------------------------------------


def _unit(picture: np.ndarray) -> float:
    """Pixels of this picture for one of a drawing of 128 pixels."""
    return min(picture.shape[:2]) / 128


def _sharpened(colours: np.ndarray) -> np.ndarray:
    """Undo some of a decoder's blur, which mixes the hues of discs that touch."""
    soft = cv2.GaussianBlur(colours, (0, 0), _unit(colours))
    return np.clip(colours + _SHARPENING * (colours - soft), 0, 1)


def _agreements(colours: np.ndarray) -> np.ndarray:
    """How much each pixel (..., 3) looks like each of the 18 colours (18, ...), in [0, 1].

    Its share of the colour less twice its distance from that share; 0 for all but the most alike colour,
    because neighbouring hues are close.
    """
    targets = COLOURS.astype(np.float32) / 255
    norms = (targets * targets).sum(axis=1)
    shares = np.moveaxis(colours @ targets.T / norms, -1, 0)
    norms = norms.reshape(-1, *[1] * (colours.ndim - 1))
    squares = (colours * colours).sum(axis=-1)[None] - shares**2 * norms
    rests = np.sqrt(np.maximum(squares, 0) / norms)
    alike = np.clip(np.clip(shares, 0, 1.0) - 2 * rests, 0, 1)
    return np.where(squares <= squares.min(axis=0) + 1e-4, alike, 0)


def _all_spots(colours: np.ndarray) -> list[np.ndarray]:
    """Candidates of each joint, (n, 3) as [x, y, brightness]; 1 is as bright as the drawing's discs are.

    Blur darkens all discs alike, so they are measured by the median of each joint's brightest spot.
    """
    radius = disc_radius(*colours.shape[:2])
    found = [spots_in(plane, radius) for plane in _agreements(colours)]
    usual = np.median([spots[0, 2] for spots in found if len(spots)] or [1.0])
    for spots in found:
        spots[:, 2] = np.minimum(spots[:, 2] / usual, 1.3)
    found = _without_rims(found, radius)
    for joint, (first, second), widest in _HIDDEN:
        pairs = [
            (a[:2] + b[:2]) / 2
            for a in found[first]
            for b in found[second]
            if np.hypot(*(a - b)[:2]) < widest * _unit(colours)
        ]
        found[joint] = np.concatenate([found[joint], *([[*p, _MIDDLE]] for p in pairs)])
    return found


def _without_rims(spots: list[np.ndarray], radius: float) -> list[np.ndarray]:
    """Candidates but for rims of brighter discs, where those mix with limbs. Faces crowd: all theirs stay."""
    places = np.concatenate(spots)
    kept = []
    for joint, found in enumerate(spots):
        away = np.hypot(*(found[:, None, :2] - places[None, :, :2]).T).T
        rim = ((away < _RIM * radius) & (places[None, :, 2] > _BRIGHTER * found[:, None, 2])).any(axis=1)
        kept.append(found if joint in _FACE else found[~rim])
    return kept


def spots_in(agreement: np.ndarray, radius: float) -> np.ndarray:
    """Centres and agreement (n, 3) of local maxima, best first."""
    smooth = cv2.GaussianBlur(agreement.astype(np.float32), (0, 0), _DISC_BLUR * radius)
    reach = 2 * int(np.ceil(1.6 * radius)) + 1
    peak = (smooth >= cv2.dilate(smooth, np.ones((reach, reach), np.uint8))) & (smooth > _MIN_DISC)
    spots = [
        (*_centroid(smooth, x, y, int(np.ceil(radius))), float(smooth[y, x])) for y, x in np.argwhere(peak)
    ]
    return np.array(sorted(spots, key=lambda spot: -spot[2])[:_MOST_SPOTS], dtype=float).reshape(-1, 3)


def _centroid(weight: np.ndarray, x: int, y: int, reach: int) -> tuple[float, float]:
    top, left = max(y - reach, 0), max(x - reach, 0)
    patch = weight[top : y + reach + 1, left : x + reach + 1] ** 2
    rows, columns = np.mgrid[0 : patch.shape[0], 0 : patch.shape[1]]
    return float(left + (patch * columns).sum() / patch.sum()), float(
        top + (patch * rows).sum() / patch.sum()
    )


# --- who belongs together ---------------------------------------------------------------------------------


class _Evidence(NamedTuple):
    """What speaks for every candidate and for every limb between two; below 0, against."""

    discs: list[np.ndarray]
    """Per joint, (candidates,)."""
    limbs: list[np.ndarray]
    """Per limb, (candidates of its first joint, candidates of its second)."""

    @classmethod
    def of(cls, colours: np.ndarray, spots: list[np.ndarray]) -> _Evidence:
        lines = _agreements(_pure_hues(colours))
        return cls(
            [_DISC_WEIGHT * found[:, 2] - _DISC_COST for found in spots],
            [
                limb_evidence(lines[number], spots[a][:, :2], spots[b][:, :2])
                for number, (a, b) in enumerate(LIMBS)
            ],
        )


def _pure_hues(colours: np.ndarray) -> np.ndarray:
    """Colours at full brightness, black where the picture is dark."""
    bright = colours.max(axis=-1, keepdims=True)
    return np.where(bright > 0.15, colours / np.maximum(bright, 0.15), 0)


def limb_evidence(line: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Mean agreement with the limb's colour on the way from each start (n, 2) to each end (m, 2), and more
    for nearness: discs cover most of a short limb."""
    along = ends[None] - starts[:, None]
    length = np.maximum(np.hypot(along[..., 0], along[..., 1]), 1e-6)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1) / length[..., None]
    steps, sides = np.linspace(0.15, 0.85, 11), np.array([-1, 0, 1])
    points = starts[:, None, None, None] + steps[:, None, None] * along[:, :, None, None]
    points = np.round(points + sides[:, None] * across[:, :, None, None]).astype(int)
    x, y = (points[..., i].clip(0, line.shape[1 - i] - 1) for i in (0, 1))
    seen = line[y, x].max(axis=-1).mean(axis=-1)
    return seen + _NEAR_WEIGHT * np.exp(-length / (5 * _unit(line))) - _LIMB_COST


def _people(evidence: _Evidence, spots: list[np.ndarray], unit: float) -> list[Person]:
    """One person after another, each with the most evidence that is left."""
    discs = [values.copy() for values in evidence.discs]
    people: list[Person] = []
    while True:
        value, person = max(
            (best_person(root, discs, evidence.limbs) for root in range(18) if len(discs[root])),
            key=lambda found: found[0],
            default=(-np.inf, {}),
        )
        if value < _MIN_PERSON:
            break
        if mistaken := _mere_limbs(person, spots, unit):
            for joint in mistaken:
                discs[joint][person[joint]] = -np.inf
            continue
        people.append(person)
        for joint, explained in enumerate(_explained(person, spots, unit)):
            discs[joint][explained] = -np.inf
    bright = [np.mean([spots[joint][place, 2] for joint, place in p.items()]) for p in people]
    return [p for p, value in zip(people, bright, strict=True) if value > _MIN_BRIGHT * max(bright)]


def best_person(root: int, discs: list[np.ndarray], limbs: list[np.ndarray]) -> tuple[float, Person]:
    """The tree with the most evidence among those that have joint `root`."""
    chosen: dict[int, list[tuple[int, np.ndarray, np.ndarray]]] = {joint: [] for joint in range(18)}

    def gather(joint: int, parent: int) -> np.ndarray:
        total = discs[joint].copy()
        for other, number in _NEIGHBOURS[joint]:
            if other == parent or not len(discs[other]):
                continue
            limb = limbs[number] if LIMBS[number][0] == joint else limbs[number].T
            values = limb + gather(other, joint)
            chosen[joint].append((other, values.argmax(axis=1), values.max(axis=1) > 0))
            total += np.maximum(values.max(axis=1), 0)
        return total

    totals = gather(root, -1)
    person, open_ends = {}, [(root, int(totals.argmax()))]
    for joint, place in open_ends:  # grows while it is walked through
        person[joint] = place
        open_ends += [(other, int(best[place])) for other, best, helps in chosen[joint] if helps[place]]
    return float(totals.max()), person


def _mere_limbs(person: Person, spots: list[np.ndarray], unit: float) -> list[int]:
    """Joints of a person that are no discs but its own limb of the same hue."""
    return [
        joint
        for joint, place in person.items()
        if joint < len(LIMBS)
        and joint not in LIMBS[joint]
        and spots[joint][place, 2] < _MERE_BRIGHT
        and _on_limb(joint, person, spots, _MERE_LIMB * unit)[place]
    ]


def _on_limb(number: int, person: Person, spots: list[np.ndarray], reach: float) -> np.ndarray:
    """Which candidates of joint `number` lie on the person's limb of the same number, and hue."""
    a, b = LIMBS[number]
    if a not in person or b not in person:
        return np.zeros(len(spots[number]), bool)
    away = _distances(spots[number][:, :2], spots[a][person[a], :2], spots[b][person[b], :2])
    return away <= reach


def _explained(person: Person, spots: list[np.ndarray], unit: float) -> list[np.ndarray]:
    """Which candidates of each joint are the person's own disc, or lie on its limb of the same hue."""
    explained = [np.zeros(len(found), bool) for found in spots]
    for joint, place in person.items():
        away = np.hypot(*(spots[joint] - spots[joint][place])[:, :2].T)
        explained[joint] |= away <= _EXPLAINED_DISC * unit
    for number in range(len(LIMBS)):
        explained[number] |= _on_limb(number, person, spots, _EXPLAINED_LIMB * unit)
    return explained


def _distances(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """From points (n, 2) to the line between two others, (n,)."""
    along = end - start
    share = np.clip((points - start) @ along / max(float(along @ along), 1e-6), 0, 1)
    return np.hypot(*(points - start - share[:, None] * along).T)


def _merge_fragments(people: list[Person], spots: list[np.ndarray]) -> None:
    """Unite parts that share no joint and are nearest where a body could connect them."""
    while True:
        pairs = [
            (_gap(a, b, spots), a, b)
            for i, a in enumerate(people)
            for b in people[i + 1 :]
            if not a.keys() & b.keys()
        ]
        gap, a, b = min(pairs, key=lambda pair: pair[0], default=(np.inf, {}, {}))
        if gap > _WIDEST_GAP:
            return
        people[:] = [p for p in people if p is not a and p is not b] + [a | b]


def _gap(a: Person, b: Person, spots: list[np.ndarray]) -> float:
    """Distance between parts of a body at their nearest bones, in half extents of the larger one."""
    places = [{joint: spots[joint][place][:2] for joint, place in part.items()} for part in (a, b)]
    extent = max(float(np.ptp(np.array(list(part.values())), axis=0).max()) for part in places)
    bones = [(i, j) for first, second in _BONES for i, j in ((first, second), (second, first))]
    gaps = [
        float(np.hypot(*(places[0][i] - places[1][j]))) for i, j in bones if i in places[0] and j in places[1]
    ]
    return min(gaps, default=np.inf) / (0.5 * extent + 2)


def as_joints(person: Person, spots: list[np.ndarray]) -> np.ndarray:
    joints = np.zeros((18, 3))
    for joint, place in person.items():
        joints[joint] = (*spots[joint][place][:2], 1.0)
    return joints
