"""Which systems are compared, in which directions, and by which number?"""

from __future__ import annotations

from dataclasses import dataclass

from eval.peers.peer import DIRECTIONS, Direction

NUMBER = {"depth": ("abs_rel", "AbsRel"), "edge": ("f1", "F1")}
"""What each condition is measured in, and its heading. AbsRel is better low, F1 high."""
TITLES: dict[Direction, str] = {"generate": "map to image", "estimate": "image to map", "joint": "both"}


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """One trained model."""

    name: str
    stage: str
    """Of the recipe `peers`."""
    title: str
    own: tuple[Direction, ...]
    replaces: bool = False
    """Whether it does the other directions by replacement."""
    share: float = 1.0
    """Of the budget."""

    @property
    def directions(self) -> tuple[Direction, ...]:
        return DIRECTIONS if self.replaces and self.share == 1 else self.own


OURS = System(name="joint", stage="joint", title="one adapter (ours)", own=DIRECTIONS)
SPECIALISTS = (
    System(name="controlnet", stage="controlnet", title="ControlNet", own=("generate",)),
    System(name="t2i", stage="t2i", title="T2I-Adapter", own=("generate",)),
    System(name="marigold", stage="marigold", title="Marigold-style", own=("estimate",)),
    System(name="jointnet", stage="jointnet", title="JointNet-style", own=("joint",), replaces=True),
)
THIRDS = tuple(
    System(
        name=f"{system.name}_third",
        stage=system.stage,
        title=f"{system.title}, a third",
        own=system.own,
        share=1 / 3,
    )
    for system in SPECIALISTS
)
TIED = System(name="tied", stage="tied", title="adapter on tied levels", own=("joint",), replaces=True)
SYSTEMS = (OURS, *SPECIALISTS, *THIRDS, TIED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One system in one direction."""

    system: System
    direction: Direction


def jobs() -> list[Job]:
    """All that is measured, what decides the claim first."""
    own = [Job(system=s, direction=d) for s in SYSTEMS for d in s.own]
    return own + [Job(system=s, direction=d) for s in SYSTEMS for d in s.directions if d not in s.own]
