"""How have the numbers of held-out pairs gone so far, at a glance?

A plot of the rows of `validation.jsonl`, drawn where matplotlib is installed: every number as a line, and the
same with another pair's side as a dashed one. Where the two do not part, that side is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from adapters.files import write_whole
from train.validation import OF_ANOTHER

COLUMNS = 2


def draw_curves(rows: Sequence[Mapping[str, float]], target: Path) -> None:
    """Write a PNG of rows with a `step` each; nothing without matplotlib."""
    if find_spec("matplotlib") is None:
        return
    from matplotlib.figure import Figure

    names = [name for name in rows[-1] if name != "step" and not name.endswith(OF_ANOTHER)]
    height = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(4 * COLUMNS, 2.6 * height), dpi=100, layout="constrained")
    panels = figure.subplots(height, COLUMNS, squeeze=False).flat
    for axes, name in zip(panels, names, strict=False):
        for key, style in ((name, "-"), (f"{name}{OF_ANOTHER}", "--")):
            points = [(row["step"], row[key]) for row in rows if key in row]
            if points:
                axes.plot(*zip(*points, strict=True), style, marker=".", label=key)
        axes.set_xlabel("step")
        axes.legend(fontsize=7)
    for axes in list(figure.axes)[len(names) :]:
        axes.remove()
    write_whole(target, lambda path: figure.savefig(path, format="png"))
