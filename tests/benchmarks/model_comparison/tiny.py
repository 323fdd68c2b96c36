"""What is the smallest comparison?"""

from __future__ import annotations

from pathlib import Path

from benchmarks.model_comparison.budget import Budget
from benchmarks.model_comparison.place import Place

TINY = Budget(steps=4, batch_size=2, trial_share=0.5, num=2, seeds=2, drawing_steps=1)


def place_in(out: Path, base: str = "mini", family: Path = Path("none"), budget: Budget = TINY) -> Place:
    return Place(out=out, data=family, base=base, condition="depth", judge=base, budget=budget, num_scenes=8)
