"""How are 18 OpenPose joints drawn as a coloured picture, and read back from one?

Joints are float (18, 3) arrays ``[x, y, visible]`` in pixels with pixel centres at integers. Leaves out
finding people in photographs.

Reading works from colours: every joint is a disc of its own hue, every limb a darker line of its own hue.
Each joint's colour gives candidates, and limbs decide which candidates belong to one person.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from unicon.conditions.arrays import as_map

JOINT_NAMES = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
    "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
COLOURS = np.array([
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0),
    (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255),
    (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
], np.uint8)  # fmt: skip
LIMB_BRIGHTNESS = 0.6
_SHIFT = 4  # binary digits after the point in OpenCV's drawing coordinates
_SHARPENING = 0.7
_DISC_BLUR = 0.25  # of the radius of a disc
_MIN_DISC = 0.20  # least mean agreement of a disc with its joint's colour
_MIN_LIMB = 0.30  # least agreement of a line with its limb's colour, plus a bonus for short ones
_MIN_SHARE = 0.75  # of the best disc of the same joint; crossing limbs blend into fainter false ones
_MIN_EVEN = 0.70  # of the median over joints of the brightest agreement; limbs reach 0.6
_DISC_WEIGHT = 0.9
_MIN_JOINTS = 4
_WIDEST_GAP = 1.6
_FACE = (0, 14, 15, 16, 17)
# Joints of the face hide each other in small drawings, so any two may be tied by nearness alone.
_TIES = tuple((a, b) for i, a in enumerate(_FACE) for b in _FACE[i + 1 :]) + tuple((1, a) for a in _FACE[1:])
_BONES = LIMBS + _TIES + ((2, 5), (8, 11), (2, 8), (5, 11))


def check_joints(joints: np.ndarray) -> np.ndarray:
    """Return joints as float64 (18, 3) or raise ``ValueError``."""
    array = np.asarray(joints, dtype=np.float64)
    if array.shape != (18, 3):
        raise ValueError(
            f"joints have shape {array.shape}; expected (18, 3): one [x, y, visible] row per joint"
        )
    if not np.isfinite(array).all():
        raise ValueError("joints hold values that are not finite; expected numbers: set visible to 0 instead")
    return array


def draw_pose(people: Sequence[np.ndarray], size: int | tuple[int, int]) -> np.ndarray:
    """Draw people on black: uint8 (height, width, 3). Limbs are as bright as 60% of a joint.

    ``size`` is the side or (height, width) in pixels. Limb width follows the picture size and suits 128
    pixels.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 8 or width < 8:
        raise ValueError(f"size is {(height, width)}; expected at least 8 x 8 pixels: draw larger")
    canvas = np.zeros((height, width, 3), np.uint8)
    thick = max(1, round(min(height, width) / 52))
    for joints in people:
        _draw_one(canvas, check_joints(joints), thick, _disc_radius(height, width))
    return canvas


def _disc_radius(height: int, width: int) -> float:
    return max(1.2, min(height, width) / 72)


def _draw_one(canvas: np.ndarray, joints: np.ndarray, thick: int, radius: float) -> None:
    scale = 1 << _SHIFT
    points = np.round(joints[:, :2] * scale).astype(int)
    for number, (a, b) in enumerate(LIMBS):
        if joints[a, 2] > 0 and joints[b, 2] > 0:
            colour = tuple(int(c) for c in COLOURS[number] * LIMB_BRIGHTNESS)
            cv2.line(canvas, points[a].tolist(), points[b].tolist(), colour, thick, cv2.LINE_AA, _SHIFT)
    for number in range(18):
        if joints[number, 2] > 0:
            colour = tuple(int(c) for c in COLOURS[number])
            cv2.circle(canvas, points[number].tolist(), int(radius * scale), colour, -1, cv2.LINE_AA, _SHIFT)


def read_pose(picture: np.ndarray) -> list[np.ndarray]:
    """Drawing (H, W, 3), uint8 or [0, 1], perhaps blurred -> joints (18, 3) of people, the surest first.

    Joints that are not found have visible 0. A person needs at least 4 joints.
    """
    raw = as_map(picture, "pose map")
    colours = _sharpened(raw)
    radius = _disc_radius(*colours.shape[:2])
    candidates = [_discs(plane, radius) for plane in _agreements(colours)]
    candidates = _as_bright_as_discs(candidates, _agreements(raw))
    people = _group(colours, candidates)
    found = [_as_joints(person, candidates) for person in people]
    return sorted((j for j in found if j[:, 2].sum() >= _MIN_JOINTS), key=lambda j: -j[:, 2].sum())


def _sharpened(colours: np.ndarray) -> np.ndarray:
    """Undo some of a decoder's blur, which mixes the hues of discs that touch."""
    spread = min(colours.shape[:2]) / 128
    return np.clip(colours + _SHARPENING * (colours - cv2.GaussianBlur(colours, (0, 0), spread)), 0, 1)


def _agreements(colours: np.ndarray) -> np.ndarray:
    """How much each pixel (..., 3) looks like each of the 18 colours (18, ...), in [0, 1].

    Its share of the colour less twice its distance from that share; 0 for all but the most alike colour,
    because neighbouring hues are close.
    """
    targets = COLOURS.astype(np.float32) / 255
    norms = (targets * targets).sum(axis=1)
    shares = np.moveaxis(colours @ targets.T / norms, -1, 0)
    squares = (colours * colours).sum(axis=-1)[None] - shares**2 * norms.reshape(
        -1, *[1] * (colours.ndim - 1)
    )
    rests = np.sqrt(np.maximum(squares, 0) / norms.reshape(-1, *[1] * (colours.ndim - 1)))
    alike = np.clip(np.clip(shares, 0, 1.0) - 2 * rests, 0, 1)
    return np.where(squares <= squares.min(axis=0) + 1e-4, alike, 0)


def _discs(agreement: np.ndarray, radius: float) -> np.ndarray:
    """Centres and scores (n, 3) as [x, y, score] of spots as large as a disc, best first."""
    smooth = cv2.GaussianBlur(agreement.astype(np.float32), (0, 0), _DISC_BLUR * radius)
    reach = 2 * int(np.ceil(1.6 * radius)) + 1
    peak = (smooth >= cv2.dilate(smooth, np.ones((reach, reach), np.uint8))) & (smooth > _MIN_DISC)
    spots = []
    for y, x in np.argwhere(peak):
        spots.append((*_centroid(smooth, x, y, int(np.ceil(radius))), smooth[y, x]))
    best = max((spot[2] for spot in spots), default=0.0)
    kept = sorted((spot for spot in spots if spot[2] > _MIN_SHARE * best), key=lambda spot: -spot[2])
    return np.array(kept, dtype=float).reshape(-1, 3)[:12]


def _as_bright_as_discs(candidates: list[np.ndarray], likeness: np.ndarray) -> list[np.ndarray]:
    """Candidates without those on mere limbs, which are darker than discs however blurred a drawing is."""
    window = np.ones((3, 3), np.uint8)
    bright = [
        cv2.dilate(plane.astype(np.float32), window)[
            found[:, 1].round().astype(int), found[:, 0].round().astype(int)
        ]
        for plane, found in zip(likeness, candidates, strict=True)
    ]
    best = [values.max() for values in bright if len(values)]
    floor = _MIN_EVEN * float(np.median(best)) if best else 0.0
    return [found[values >= floor] for found, values in zip(candidates, bright, strict=True)]


def _centroid(weight: np.ndarray, x: int, y: int, reach: int) -> tuple[float, float]:
    top, left = max(y - reach, 0), max(x - reach, 0)
    patch = weight[top : y + reach + 1, left : x + reach + 1] ** 2
    rows, columns = np.mgrid[0 : patch.shape[0], 0 : patch.shape[1]]
    return float(left + (patch * columns).sum() / patch.sum()), float(
        top + (patch * rows).sum() / patch.sum()
    )


def _limb_score(likeness: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    """Mean agreement with the limb's colour along the line between two joints, and a bonus for nearness."""
    along = end - start
    length = max(float(np.hypot(*along)), 1e-6)
    across = np.array([-along[1], along[0]]) / length
    steps = np.linspace(0.15, 0.85, 11)[:, None, None]
    x, y = np.moveaxis(
        np.round(start + steps * along + across * np.array([-1, 0, 1])[:, None]).astype(int), -1, 0
    )
    x, y = np.clip(x, 0, likeness.shape[1] - 1), np.clip(y, 0, likeness.shape[0] - 1)
    seen = float(likeness[y, x].max(axis=1).mean())
    return seen + 0.4 * float(np.exp(-length / _reach(likeness)))  # discs cover most of a short limb


def _reach(picture: np.ndarray) -> float:
    """A short distance between joints, in pixels."""
    return 5.0 * min(picture.shape[:2]) / 128


def _pure_hues(colours: np.ndarray) -> np.ndarray:
    """Colours at full brightness, black where the picture is dark."""
    bright = colours.max(axis=-1, keepdims=True)
    return np.where(bright > 0.15, colours / np.maximum(bright, 0.15), 0)


def _group(colours: np.ndarray, candidates: list[np.ndarray]) -> list[dict[int, int]]:
    """People as joint number -> candidate: links join candidates greedily, the surest first."""
    if _alone(candidates):
        return [{joint: 0 for joint in range(18) if len(candidates[joint])}]
    people: list[dict[int, int]] = []
    used: set[tuple[int, int, int]] = set()
    for _, first, second in sorted(_links(colours, candidates), key=lambda link: -link[0]):
        ends = {(first[0], second[0], first[1]), (second[0], first[0], second[1])}
        if not ends & used and _join(people, first, second):
            used |= ends
    _merge_fragments(people, candidates)
    return people


def _merge_fragments(people: list[dict[int, int]], candidates: list[np.ndarray]) -> None:
    """Unite parts that share no joint and are nearest where a body could connect them."""
    while True:
        pairs = [
            (_gap(a, b, candidates), a, b)
            for i, a in enumerate(people)
            for b in people[i + 1 :]
            if not a.keys() & b.keys()
        ]
        gap, a, b = min(pairs, key=lambda pair: pair[0], default=(np.inf, {}, {}))
        if gap > _WIDEST_GAP:
            return
        people[:] = [p for p in people if p is not a and p is not b] + [a | b]


def _gap(a: dict[int, int], b: dict[int, int], candidates: list[np.ndarray]) -> float:
    """Distance between parts of a body at their nearest bones, in half extents of the larger one."""
    spots = [{joint: candidates[joint][place][:2] for joint, place in part.items()} for part in (a, b)]
    extent = max(float(np.ptp(np.array(list(part.values())), axis=0).max()) for part in spots)
    bones = [(i, j) for first, second in _BONES for i, j in ((first, second), (second, first))]
    gaps = [
        float(np.hypot(*(spots[0][i] - spots[1][j]))) for i, j in bones if i in spots[0] and j in spots[1]
    ]
    return min(gaps, default=np.inf) / (0.5 * extent + 2)


def _links(
    colours: np.ndarray, candidates: list[np.ndarray]
) -> list[tuple[float, tuple[int, int], tuple[int, int]]]:
    """Possible limbs as (score, (joint, candidate), (joint, candidate))."""
    links, likeness = [], _agreements(_pure_hues(colours))
    for number, (a, b) in enumerate(LIMBS + _TIES):
        for i, start in enumerate(candidates[a]):
            for j, end in enumerate(candidates[b]):
                if number < len(LIMBS):
                    score = _limb_score(likeness[number], start[:2], end[:2])
                else:
                    score = 0.7 * float(np.exp(-np.hypot(*(end - start)[:2]) / (2 * _reach(colours))))
                if score > _MIN_LIMB:
                    links.append((score + _DISC_WEIGHT * (start[2] + end[2]), (a, i), (b, j)))
    return links


def _join(people: list[dict[int, int]], first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Put two candidates into one person; False when that person would have a joint twice."""
    owners = [next((p for p in people if p.get(joint) == place), None) for joint, place in (first, second)]
    merged = {first[0]: first[1], second[0]: second[1]}
    for owner in (owners[0], owners[1] if owners[1] is not owners[0] else None):
        if owner is None:
            continue
        if any(merged.get(joint, place) != place for joint, place in owner.items()):
            return False
        merged.update(owner)
    people[:] = [p for p in people if p is not owners[0] and p is not owners[1]]
    people.append(merged)
    return True


def _alone(candidates: list[np.ndarray]) -> bool:
    """Whether (nearly) every joint was found at most once, so that there is one person."""
    return sum(len(found) > 1 for found in candidates) <= 2


def _as_joints(person: dict[int, int], candidates: list[np.ndarray]) -> np.ndarray:
    joints = np.zeros((18, 3))
    for joint, place in person.items():
        joints[joint] = (*candidates[joint][place][:2], 1.0)
    # In small drawings the discs of the eyes hide the nose, and those of the shoulders the neck.
    for hidden, cover in ((0, (14, 15)), (1, (2, 5))):
        if not joints[hidden, 2] and joints[list(cover), 2].all():
            joints[hidden] = joints[list(cover)].mean(axis=0)
    return joints
