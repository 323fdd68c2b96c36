"""What is a page made of that holds everything in it: tables, pictures and plots, without anything outside?

Plots are drawn as SVG here; a page needs no script and no network. Leaves out what is shown.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

THUMBNAIL_PX = 112
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}
body{color:#222;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}h3{font-size:1rem;margin-top:1.5rem}
.strip{display:flex;gap:4px;overflow-x:auto}.strip figure{margin:0;flex:none}
figcaption{font-size:11px;color:#555;text-align:center}
img{width:112px;height:112px;object-fit:contain;background:#f2f2f2}
table{border-collapse:collapse}td,th{padding:4px 10px 4px 0;text-align:left;vertical-align:top}
.wide{overflow-x:auto}.numbers td,.numbers th{border-bottom:1px solid #e3e3e3;padding:4px 14px 4px 0}
.numbers .right{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.numbers .first td{font-weight:600}.small{color:#555;font-size:13px}
pre{background:#f2f2f2;padding:.6rem .8rem;overflow-x:auto;white-space:pre-wrap;font-size:13px}
svg text{font:12px system-ui,sans-serif;fill:#333}
details{margin:1rem 0}summary{cursor:pointer}
.copy{color:#a00;font-weight:600}.doubt{color:#865500}
"""
INK, GREY = "#c33", "#999"


def page(title: str, parts: Iterable[str], *, style: str = "") -> str:
    """One page without references to anything outside it."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>{html.escape(title)}</title><style>{STYLE}{style}</style></head>'
        "<body>" + "\n".join(parts) + "</body></html>\n"
    )


def image(picture: Image.Image, *, alt: str, side_px: int = THUMBNAIL_PX) -> str:
    """A picture inside the page, no larger than `side_px`; small ones keep their pixels."""
    shown = picture.convert("RGB")
    shown.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return f'<img src="{data_uri(shown)}" alt="{html.escape(alt)}">'


def data_uri(picture: Image.Image, *, quality: int = 82) -> str:
    """A picture as text, JPEG."""
    buffer = BytesIO()
    picture.convert("RGB").save(buffer, format="JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def facts(rows: Mapping[str, object]) -> str:
    """Names and values, a line each."""
    lines = "".join(
        f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items()
    )
    return f"<table>{lines}</table>"


def table(rows: Sequence[Mapping[str, object]], *, first_is_ours: bool = False) -> str:
    """Rows of named cells, of one line or more; columns come in their order of appearance, "-" stands where
    a row has none."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    right = {name: not _is_text([row.get(name) for row in rows]) for name in columns}

    def cell(tag: str, name: str, text: str) -> str:
        return f'<{tag} class="right">{text}</{tag}>' if right[name] else f"<{tag}>{text}</{tag}>"

    head = "".join(cell("th", name, html.escape(name)) for name in columns)
    lines = []
    for number, row in enumerate(rows):
        marked = ' class="first"' if first_is_ours and number == 0 else ""
        cells = "".join(cell("td", name, _lines(str(row.get(name, "-")))) for name in columns)
        lines.append(f"<tr{marked}>{cells}</tr>")
    return f'<div class="wide"><table class="numbers"><tr>{head}</tr>{"".join(lines)}</table></div>'


def _lines(text: str) -> str:
    """The first line of a cell, and smaller those below."""
    first, *more = html.escape(text).split("\n")
    return first + "".join(f'<br><span class="small">{line}</span>' for line in more)


def _is_text(cells: Sequence[object]) -> bool:
    return any(
        isinstance(cell, str) and not cell.lstrip("+-−")[:1].isdigit() and cell != "-" for cell in cells
    )


def histograms(
    counts: Sequence[tuple[Sequence[float], str]], low: float, high: float, *, width: int = 640
) -> str:
    """Shapes (heights, colour) over one axis from `low` to `high`, each scaled to its own highest bar."""
    height = 140

    def bars(values: Sequence[float], colour: str) -> str:
        heights = [float(v) for v in values]
        most, step = max(heights, default=0.0) or 1.0, width / max(len(heights), 1)
        return "".join(
            f'<rect x="{n * step:.1f}" y="{height * (1 - v / most):.1f}" width="{step:.1f}" '
            f'height="{height * v / most:.1f}" fill="{colour}" fill-opacity="0.5"/>'
            for n, v in enumerate(heights)
        )

    return (
        f'<svg viewBox="0 0 {width} {height + 18}" width="{width}" role="img">'
        + "".join(bars(values, colour) for values, colour in counts)
        + f'<line x1="0" y1="{height}" x2="{width}" y2="{height}" stroke="#bbb"/>'
        f'<text x="0" y="{height + 14}">{low:.3g}</text>'
        f'<text x="{width}" y="{height + 14}" text-anchor="end">{high:.3g}</text></svg>'
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One line of `intervals`."""

    label: str
    middle: float
    low: float
    high: float
    colour: str = INK


def intervals(spans: Sequence[Span], *, zero: bool = False, width: int = 640) -> str:
    """A dot and its interval a line, all over one axis; with `zero` a line stands there."""
    left, line = 260, 24
    ends = [v for span in spans for v in (span.low, span.high)] + ([0.0] if zero else [])
    low, high = min(ends), max(ends)
    margin = (high - low) * 0.05 or 0.5
    low, high = 0.0 if 0 <= low < margin else low - margin, high + margin

    def at(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left)

    parts = []
    for number, span in enumerate(spans):
        y = line * number + line / 2
        parts.append(
            f'<text x="0" y="{y + 4:.1f}">{html.escape(span.label)}</text>'
            f'<line x1="{at(span.low):.1f}" x2="{at(span.high):.1f}" y1="{y}" y2="{y}" '
            f'stroke="{span.colour}" stroke-width="2"/>'
            f'<circle cx="{at(span.middle):.1f}" cy="{y}" r="4" fill="{span.colour}"/>'
        )
    bottom = line * len(spans)
    if zero:
        parts.append(f'<line x1="{at(0):.1f}" x2="{at(0):.1f}" y1="0" y2="{bottom}" stroke="#888"/>')
    return (
        f'<svg viewBox="0 0 {width} {bottom + 20}" width="{width}" role="img">{"".join(parts)}'
        f'<line x1="{left}" x2="{width}" y1="{bottom}" y2="{bottom}" stroke="#bbb"/>'
        f'<text x="{left}" y="{bottom + 15}">{low:.3g}</text>'
        f'<text x="{width}" y="{bottom + 15}" text-anchor="end">{high:.3g}</text></svg>'
    )
