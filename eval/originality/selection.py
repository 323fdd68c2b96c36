"""Which of many samples are worth keeping: the rarest that pass for real and are true to what was asked?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eval.originality.assessment import Assessment
from eval.originality.truth import Truth
from eval.rarity import Rarity

OUTSIDE, KEPT, LESS_RARE = "outside the manifold", "kept", "less rare"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """A rule that samples pass or do not."""

    reason: str
    """What those are that do not pass: "near-copies"."""
    passes: np.ndarray
    """(M,) bool."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Of M samples, those that were kept."""

    places: np.ndarray
    """Of the kept, rarest first; fewer than asked for where fewer qualify."""
    asked: int
    verdicts: tuple[str, ...]
    """(M,) for each sample why it was not kept (the first reason of several), or "kept"."""
    dropped: Mapping[str, int]
    """How many for each reason, in the order in which reasons were asked."""

    def __str__(self) -> str:
        kept = len(self.places)
        few = "" if kept == self.asked else f", {self.asked} were asked for"
        why = "; ".join(f"{num} {reason}" for reason, num in self.dropped.items())
        return f"kept {kept} of {len(self.verdicts)}{few}" + (f": {why}" if why else "")


def keep_rarest(rarity: Rarity, num: int, gates: Sequence[Gate] = ()) -> Selection:
    """The `num` rarest samples in the manifold that pass all gates.

    Realism of the denser half of the balls is no gate: it is at least 1 only where rarity is at most the
    median radius, so that common pictures alone would be left. Raises ValueError for a gate of other shape.
    """
    check_number(num)
    verdicts = np.where(rarity.in_manifold, KEPT, OUTSIDE).astype(object)
    for gate in gates:
        if np.shape(gate.passes) != verdicts.shape:
            raise ValueError(
                f"gate {gate.reason!r} has shape {np.shape(gate.passes)} for {len(verdicts)} samples; give "
                "one value for each"
            )
        verdicts[(verdicts == KEPT) & ~np.asarray(gate.passes, dtype=bool)] = gate.reason
    good = [place for place in rarity.rarest if verdicts[place] == KEPT]
    verdicts[good[num:]] = LESS_RARE
    counts = Counter(verdicts)
    return Selection(
        places=np.array(good[:num], dtype=np.int64), asked=num, verdicts=tuple(verdicts),
        dropped={
            reason: counts[reason] for reason in (OUTSIDE, *(gate.reason for gate in gates), LESS_RARE)
            if counts[reason]
        },
    )  # fmt: skip


def rarest_true(found: Assessment, num: int, truths: Iterable[Truth] = ()) -> Selection:
    """Of assessed pictures the `num` rarest that are no near-copies and true to all that is given; of outputs
    of one prompt that repeat each other the rarest."""
    copies = Gate(
        reason="near-copies of training pictures", passes=~np.array([r.is_copy for r in found.rows])
    )
    gates = [copies, *(Gate(reason=t.reason, passes=t.is_true) for t in truths)]
    good = np.logical_and.reduce([gate.passes for gate in gates])
    once = Gate(reason="near-copies of a rarer one of the same prompt", passes=~_repeats(found, good))
    return keep_rarest(found.rarity, num, [*gates, once])


def _repeats(found: Assessment, good: np.ndarray) -> np.ndarray:
    """(M,) bool: those that are near-copies of a rarer good one."""
    places = {row.name: place for place, row in enumerate(found.rows)}
    alike: dict[int, set[int]] = {}
    for place, row in enumerate(found.rows):
        if row.is_repeat and row.same_prompt is not None:
            other = places[(row.same_prompt.look or row.same_prompt.meaning).name]
            alike.setdefault(place, set()).add(other)
            alike.setdefault(other, set()).add(place)
    repeats, taken = np.zeros(len(found.rows), dtype=bool), set()
    for place in map(int, found.rarity.rarest):
        repeats[place] = not taken.isdisjoint(alike.get(place, ()))
        if good[place] and not repeats[place]:
            taken.add(place)
    return repeats


def check_number(num: int) -> None:
    """ValueError for a number to keep below 1."""
    if num < 1:
        raise ValueError(f"number to keep is {num}; expected at least 1")
