"""How is an assessment written for a person: one page with everything in it, and a table for programs?"""

from __future__ import annotations

import csv
import html
from collections.abc import Callable, Sequence
from dataclasses import asdict
from io import StringIO

from eval import pages
from eval.features import Pictures
from eval.manifold.histogram import Histogram, histogram
from eval.originality.assessment import Assessment, Row

SHOWN = 24
"""Pictures in each of the three rows, from one end to the other."""
LISTED = 200
"""Pictures in the list, the most suspicious first; the table holds all."""
COLUMNS = (
    "name", "rarity", "realism", "look_distance", "look_share", "look_nearest", "meaning_distance",
    "meaning_share", "meaning_nearest", "is_copy_by_look", "is_copy_by_meaning", "disagreement", "truncation",
)  # fmt: skip


def as_csv(found: Assessment) -> str:
    """A line for each generated picture, in their order; empty cells where there is no value."""
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in found.rows:
        cells = {**asdict(row), "disagreement": row.disagreement}
        writer.writerow({name: "" if cells[name] is None else cells[name] for name in COLUMNS})
    return text.getvalue()


def as_html(found: Assessment, generated: Pictures, training: Pictures, title: str) -> str:
    """One page without references to anything outside it."""
    shown = _Thumbnails(generated, training)
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        _summary(found),
        _histogram(histogram(found.rarity)),
        *_strips(found, shown),
        _list(found, shown),
    ]
    return pages.page(title, parts)


class _Thumbnails:
    """Pictures as HTML, by name."""

    def __init__(self, generated: Pictures, training: Pictures):
        self.generated = (generated, {name: n for n, name in enumerate(generated.names)})
        self.training = (training, {name: n for n, name in enumerate(training.names)})

    def of_generated(self, name: str) -> str:
        return self._image(self.generated, name)

    def of_training(self, name: str) -> str:
        return self._image(self.training, name)

    def _image(self, pictures: tuple[Pictures, dict[str, int]], name: str) -> str:
        return pages.image(pictures[0].load(pictures[1][name]), alt=name)


def _summary(found: Assessment) -> str:
    one = found.rarity.summary
    doubtful = sum(bool(row.disagreement) for row in found.rows)
    recall = "too few generated pictures" if found.recall is None else f"{found.recall:.3f}"
    mean = "no picture is in it" if one.mean is None else f"{one.mean:.4g}"
    facts = {
        "generated, training pictures": f"{one.num_fake}, {one.num_real}",
        "features by meaning": f"{one.features}, k = {one.k}",
        "in the manifold (precision)": f"{found.precision:.3f}",
        "recall": recall,
        "coverage": f"{found.coverage:.3f}",
        "mean rarity of those in the manifold": mean,
        "mean radius of training pictures": f"{one.real_mean:.4g}",
        "training pictures with k or more copies": str(one.num_zero_radii),
        f"near-copies by look, at a false alarm rate of {found.look.level:g}": str(found.num_copies),
        "meaning and look disagree": str(doubtful),
    }
    return pages.facts(facts)


def _histogram(counts: Histogram) -> str:
    """Two shapes over one axis: radii of training pictures grey, rarities of generated ones red."""
    shapes = [(counts.real.tolist(), pages.GREY), (counts.fake.tolist(), pages.INK)]
    return (
        "<h2>Rarity of generated pictures (red) beside radii of training pictures (grey)</h2>"
        + pages.histograms(shapes, float(counts.edges[0]), float(counts.edges[-1]))
        + f"<p>{counts.num_outside} generated pictures lie outside the manifold and are in no bar. Each "
        "shape is scaled to its own highest bar.</p>"
    )


def _strips(found: Assessment, shown: _Thumbnails) -> list[str]:
    """The same pictures three times, in three orders."""
    orders: tuple[tuple[str, Callable[[Row], float | None]], ...] = (
        ("by rarity, the rarest first", lambda row: row.rarity),
        ("by truncation, the least truncated first", lambda row: row.truncation),
        ("by realism, the most realistic first", lambda row: row.realism),
    )
    sample = _spread(sorted(found.rows, key=lambda row: -(row.rarity or 0)), SHOWN)
    parts = []
    for title, value in orders:
        known = [(v, row) for row in sample if (v := value(row)) is not None]
        if not known:
            parts.append(f"<h2>Sorted {title}</h2><p>not known for these pictures</p>")
            continue
        known.sort(key=lambda pair: -pair[0])
        figures = "".join(
            f"<figure>{shown.of_generated(row.name)}<figcaption>{v:.3g}</figcaption></figure>"
            for v, row in known
        )
        missing = len(sample) - len(known)
        note = f" ({missing} of {len(sample)} have no value)" if missing else ""
        parts.append(f'<h2>Sorted {title}{note}</h2><div class="strip">{figures}</div>')
    return parts


def _spread(rows: Sequence[Row], num: int) -> list[Row]:
    """At most `num`, both ends included."""
    if len(rows) <= num:
        return list(rows)
    return [rows[round(n * (len(rows) - 1) / (num - 1))] for n in range(num)]


def _list(found: Assessment, shown: _Thumbnails) -> str:
    ordered = sorted(found.rows, key=lambda row: row.look_share)[:LISTED]
    head = "<tr><th>generated</th><th>nearest by look</th><th>nearest by meaning</th><th></th></tr>"
    lines = []
    for row in ordered:
        verdict = '<span class="copy">near-copy</span><br>' if row.is_copy else ""
        if row.disagreement:
            verdict += f'<span class="doubt">{row.disagreement}</span><br>'
        rarity = "outside the manifold" if row.rarity is None else f"rarity {row.rarity:.4g}"
        lines.append(
            f"<tr><td>{shown.of_generated(row.name)}<br>{html.escape(row.name)}</td>"
            f"<td>{shown.of_training(row.look_nearest)}<br>{html.escape(row.look_nearest)}</td>"
            f"<td>{shown.of_training(row.meaning_nearest)}<br>{html.escape(row.meaning_nearest)}</td>"
            f"<td>{verdict}{rarity}, realism {row.realism:.3g}<br>look {row.look_distance:.3f}: "
            f"{row.look_share:.1%} of training pictures have as near a neighbour<br>meaning "
            f"{row.meaning_distance:.3f}: {row.meaning_share:.1%}</td></tr>"
        )
    more = len(found.rows) - len(ordered)
    note = f"<p>{more} more, less suspicious, are in the table.</p>" if more else ""
    title = "<h2>Nearest training pictures, the most suspicious first</h2>"
    return f"{title}<table>{head}{''.join(lines)}</table>{note}"
