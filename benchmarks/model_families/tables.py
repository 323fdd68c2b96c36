"""How are the results shown?"""

from __future__ import annotations

from collections.abc import Sequence

from eval.metrics.summary import markdown_table, over_seeds
from eval.records import Record

from .features import EXTRACTORS
from .pictures import MODELS, RARE

SHOWN = ("rarity", "precision", "recall", "density", "coverage", "realism_median", "frechet", "near_copies")


def tables(records: Sequence[Record]) -> str:
    """Markdown: models by features, rare modes, and rare attributes."""
    parts = []
    for features in EXTRACTORS:
        own = [r for r in records if r.settings["features"] == features]
        models = _rows(own, [f"families/{model}" for model in MODELS], SHOWN, "families/")
        modes = _rows(own, [f"families/modes of {model}" for model in MODELS], None, "families/modes of ")
        for title, rows in ((f"{features} features", models), (f"rare modes by {features} features", modes)):
            if rows:
                parts.append(f"### {title}\n\n{markdown_table(rows, _columns(rows))}")
    rows = []
    for attribute in RARE:
        for features in EXTRACTORS:
            own = [r for r in records if r.name == f"families/rare {attribute}"
                   and r.settings["features"] == features]  # fmt: skip
            if own:
                row = {"attribute": attribute, "features": features, "draws": len(own)}
                names = ("auc_inside", "auc_outside_is_rarest", "outside_of_rare", "outside_of_common")
                rows.append(row | {n: str(over_seeds([float(r.numbers[n]) for r in own])) for n in names})
    if rows:
        parts.append(f"### rare attributes\n\n{markdown_table(rows)}")
    return "\n\n".join(parts)


def _rows(
    records: Sequence[Record], names: Sequence[str], shown: Sequence[str] | None, prefix: str
) -> list[dict[str, object]]:
    rows = []
    for name in names:
        for record in records:
            if record.name == name:
                numbers = {k: v for k, v in record.numbers.items() if shown is None or k in shown}
                kept = numbers if shown is None else {k: numbers[k] for k in shown if k in numbers}
                rows.append({"pictures": name.removeprefix(prefix), **kept})
    return rows


def _columns(rows: Sequence[dict[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))
