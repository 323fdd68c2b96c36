"""How is an assessment written for a person: one page with everything in it?"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import numpy as np

from eval import pages
from eval.manifold.histogram import Histogram, histogram
from eval.originality.assessment import Assessment, Row
from eval.originality.nearest import Near, Nearest
from eval.originality.report import Report
from eval.pictures import Pictures

SHOWN = 24
"""Pictures in each of the three rows, from one end to the other, and of the kept."""
LISTED = 200
"""Pictures in the list, the most suspicious first; the table holds all."""
PROMPTS, OF_PROMPT = 12, 8
"""Prompts that are shown, and outputs of each."""


def as_html(
    report: Report,
    title: str,
    *,
    generated: Pictures,
    training: Pictures | None = None,
    references: Pictures | None = None,
) -> str:
    """One page without references to anything outside it; of sets that are not given names alone."""
    found = report.found
    shown = _Thumbnails(generated=generated, training=training, references=references)
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        _summary(report),
        _histogram(histogram(found.rarity)),
        *_kept(report, shown),
        *_strips(found, shown),
        *_prompts(found, shown),
        _list(report, shown),
    ]
    return pages.page(title, parts)


class _Thumbnails:
    """Pictures as HTML, by set and name."""

    def __init__(self, **sets: Pictures | None):
        self.sets = {
            kind: (pictures, {name: n for n, name in enumerate(pictures.names)})
            for kind, pictures in sets.items()
            if pictures is not None
        }

    def bare(self, kind: str, name: str) -> str:
        """The picture alone; nothing where the set has no pictures."""
        if kind not in self.sets:
            return ""
        pictures, places = self.sets[kind]
        return pages.image(pictures.load(places[name]), alt=name)

    def named(self, kind: str, name: str) -> str:
        """With its name below."""
        picture = self.bare(kind, name)
        return f"{picture}<br>{html.escape(name)}" if picture else html.escape(name)


def _summary(report: Report) -> str:
    found = report.found
    one = found.rarity.summary
    recall = "too few generated pictures" if found.recall is None else f"{found.recall:.3f}"
    mean = "no picture is in it" if one.mean is None else f"{one.mean:.4g}"
    space = "meaning (training pictures are not given)" if found.look is None else "look"
    facts = {
        "generated, training pictures": f"{one.num_generated}, {one.num_real}",
        "features by meaning": f"{one.features}, k = {one.k}",
        "in the manifold (precision)": f"{found.precision:.3f}",
        "recall": recall,
        "coverage": f"{found.coverage:.3f}",
        "mean rarity of those in the manifold": mean,
        "mean radius of training pictures": f"{one.real_mean:.4g}",
        "training pictures with k or more copies": str(one.num_zero_radii),
        f"near-copies by {space}, at a false alarm rate of {found.meaning.level:g}": str(found.num_copies),
    }
    if found.look is not None:
        facts["meaning and look disagree"] = str(sum(bool(row.training.disagreement) for row in found.rows))
    if found.prompts:
        several = [row.same_prompt for rows in found.prompts.values() for row in rows]
        collapsed = sum(all(row.is_repeat for row in rows) for rows in found.prompts.values())
        facts[f"prompts with several outputs (by {report.grouped_by})"] = str(len(found.prompts))
        facts["near-copies of another output of the same prompt"] = (
            f"{found.num_repeats} of {len(several)}; in {collapsed} prompts all are"
        )
        facts["nearest other output of the same prompt"] = _typical(several)
    if given := [row.reference for row in found.rows if row.reference is not None]:
        facts["near-copies of their reference"] = f"{sum(each.is_copy for each in given)} of {len(given)}"
        facts["distance to the reference"] = _typical(given)
    for truth in report.truths.values():
        num = int((~truth.is_true).sum())
        facts[f"not true to their {truth.to}"] = (
            f"{num}: {truth.reason.partition('(')[2].rstrip(')')}, by {truth.by}"
        )
    if report.selection is not None:
        facts["selection"] = str(report.selection)
    return pages.facts(facts)


def _typical(nearest: Sequence[Nearest | None]) -> str:
    """Medians of distances in both spaces."""
    known = [each for each in nearest if each is not None]
    spaces = {"look": [each.look for each in known], "meaning": [each.meaning for each in known]}
    told = []
    for space, found in spaces.items():
        if near := [each for each in found if each is not None]:
            distance, share = (
                float(np.median([getattr(each, n) for each in near])) for n in ("distance", "share")
            )
            told.append(f"{space} {distance:.3f} ({share:.0%} of training pictures have as near a neighbour)")
    return f"median {'; '.join(told)}"


def _histogram(counts: Histogram) -> str:
    """Two shapes over one axis: radii of training pictures grey, rarities of generated ones red."""
    shapes = [(counts.real.tolist(), pages.GREY), (counts.generated.tolist(), pages.INK)]
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
        missing = len(sample) - len(known)
        note = f" ({missing} of {len(sample)} have no value)" if missing else ""
        strip = _strip(shown, [(row, f"{v:.3g}") for v, row in known])
        parts.append(f"<h2>Sorted {title}{note}</h2>{strip}")
    return parts


def _spread(rows: Sequence[Row], num: int) -> list[Row]:
    """At most `num`, both ends included."""
    if len(rows) <= num:
        return list(rows)
    return [rows[round(n * (len(rows) - 1) / (num - 1))] for n in range(num)]


def _kept(report: Report, shown: _Thumbnails) -> list[str]:
    if report.selection is None:
        return []
    rows = [report.found.rows[place] for place in report.selection.places[:SHOWN]]
    title = f"<h2>Kept, the rarest first</h2><p>{html.escape(str(report.selection))}</p>"
    return [title + _strip(shown, [(row, f"{row.rarity:.3g}") for row in rows])]


def _prompts(found: Assessment, shown: _Thumbnails) -> list[str]:
    """Outputs of one prompt beside each other."""
    if not found.prompts:
        return []
    parts = [
        "<h2>Outputs of one prompt, those that repeat themselves most first</h2><p>Below each: its distance "
        f"to the nearest other, by {'meaning' if found.look is None else 'look'}.</p>"
    ]
    for prompt, rows in list(found.prompts.items())[:PROMPTS]:
        repeats = sum(row.is_repeat for row in rows)
        nearest = sorted(rows, key=lambda row: _first(row.same_prompt).distance)[:OF_PROMPT]
        strip = _strip(shown, [(row, f"{_first(row.same_prompt).distance:.3f}") for row in nearest])
        parts.append(
            f"<h3>{html.escape(prompt)}</h3><p>{repeats} of {len(rows)} are near-copies of another</p>{strip}"
        )
    more = len(found.prompts) - PROMPTS
    return [*parts, f"<p>{more} more prompts are in the table.</p>"] if more > 0 else parts


def _first(nearest: Nearest | None) -> Near:
    """What is judged by: the look, where there is one."""
    assert nearest is not None
    return nearest.look or nearest.meaning


def _strip(shown: _Thumbnails, rows: Sequence[tuple[Row, str]]) -> str:
    figures = "".join(
        f"<figure>{shown.bare('generated', row.name)}<figcaption>{text}</figcaption></figure>"
        for row, text in rows
    )
    return f'<div class="strip">{figures}</div>'


def _list(report: Report, shown: _Thumbnails) -> str:
    found = report.found
    ordered = sorted(enumerate(found.rows), key=lambda pair: _first(pair[1].training).share)[:LISTED]
    columns: dict[str, Callable[[Row], str]] = {
        "nearest by look": lambda row: _shown(shown, "training", row.training.look),
        "nearest by meaning": lambda row: _shown(shown, "training", row.training.meaning),
        "nearest of the same prompt": lambda row: _shown(
            shown, "generated", None if row.same_prompt is None else _first(row.same_prompt)
        ),
        "reference": lambda row: _shown(
            shown, "references", None if row.reference is None else row.reference.meaning
        ),
    }
    asked = {
        "nearest by look": found.look is not None, "nearest by meaning": True,
        "nearest of the same prompt": bool(found.prompts),
        "reference": any(row.reference is not None for row in found.rows),
    }  # fmt: skip
    columns = {name: cell for name, cell in columns.items() if asked[name]}
    head = "".join(f"<th>{name}</th>" for name in ("generated", *columns, ""))
    lines = []
    for n, row in ordered:
        cells = [shown.named("generated", row.name), *(cell(row) for cell in columns.values())]
        cells.append(_told(report, n, row))
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    more = len(found.rows) - len(ordered)
    note = f"<p>{more} more, less suspicious, are in the table.</p>" if more else ""
    title = (
        "<h2>Nearest training pictures, the most suspicious first</h2><p>Distances, and in brackets the "
        "share of training pictures whose own nearest other is as near or nearer.</p>"
    )
    return f'{title}<div class="wide"><table><tr>{head}</tr>{"".join(lines)}</table></div>{note}'


def _shown(shown: _Thumbnails, kind: str, near: Near | None) -> str:
    return "-" if near is None else shown.named(kind, near.name)


def _told(report: Report, n: int, row: Row) -> str:
    """Everything about one picture, in words."""
    lines = []
    marks = {"near-copy": row.is_copy, "repeats another output of its prompt": row.is_repeat}
    lines += [f'<span class="copy">{mark}</span>' for mark, is_so in marks.items() if is_so]
    doubts = [row.training.disagreement] if row.training.disagreement else []
    doubts += [
        f"not true to its {html.escape(truth.to)}" for truth in report.truths.values() if not truth.is_true[n]
    ]
    lines += [f'<span class="doubt">{doubt}</span>' for doubt in doubts]
    rarity = "outside the manifold" if row.rarity is None else f"rarity {row.rarity:.4g}"
    lines.append(f"{rarity}, realism {row.realism:.3g}")
    named = (("training", row.training), ("same prompt", row.same_prompt), ("reference", row.reference))
    for what, nearest in named:
        if nearest is not None:
            spaces = (("look", nearest.look), ("meaning", nearest.meaning))
            told = [f"{space} {near.distance:.3f} ({near.share:.1%})" for space, near in spaces if near]
            lines.append(f"{what}: {', '.join(told)}")
    known = [(truth.number, truth.scores[n]) for truth in report.truths.values()]
    lines += [f"{html.escape(number)} {score:.3g}" for number, score in known if not np.isnan(score)]
    if row.prompt is not None:
        lines.append(html.escape(row.prompt))
    return "<br>".join(lines)
