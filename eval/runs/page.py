"""How is a run shown to a person: one page of tables, plots, best and worst pictures, and provenance?"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eval import pages
from eval.runs.items import Item, Task
from eval.runs.measures.kinds import from_json
from eval.runs.report import as_text, cells
from eval.runs.scores import SHUFFLED, Row, extremes
from eval.runs.store import Store, read_picture
from unicon.sheets import picture

if TYPE_CHECKING:  # a page's style and scale serve comparisons, too, which draw nothing
    from eval.runs.engine import Found
    from eval.runs.scoring import Benchmark

SHOWN = 5
"""Best and worst pictures of each task."""
CELL_PX = 144
STYLE = f"""
.sheet td,.sheet th{{padding:3px;text-align:center;font-size:12px;font-weight:400;color:#555}}
.sheet img{{width:{CELL_PX}px;height:{CELL_PX}px;image-rendering:auto}}
.sheet .who{{text-align:left;min-width:8rem;max-width:14rem;vertical-align:middle}}
"""
MEANING = {
    "estimate": "The map is estimated from the picture and measured against the truth.",
    "generate": "A picture is generated from the map and the caption; the map read back from it is measured "
    "against the truth.",
    "joint": "Picture and map are generated together; the map read back from the picture is measured against "
    "the map generated with it.",
}


def as_html(report: Mapping[str, Any], found: Found, benchmark: Benchmark) -> str:
    """The page; needs the run's pictures."""
    title = f"{report['suite']}: {report['settings']['base']}"
    parts = [f"<h1>{html.escape(title)}</h1>", _summary(report), _command(report)]
    parts.append(_overview(report))
    for task, rows in found.rows.items():
        parts += _section(task, rows, report, found)
    parts += [_likeness(report), _costs(report), _provenance(report)]
    return pages.page(title, parts, style=STYLE)


def _summary(report: Mapping[str, Any]) -> str:
    from eval.protocols.readers import reader_in_words

    settings, data = report["settings"], report["data"]
    generates = any(direction != "estimate" for direction in settings["directions"])
    return pages.facts(
        {
            "base": f"{settings['base']} ({report['weights']['base']})",
            "adapters": ", ".join(
                f"{k} ({report['weights']['adapters'][k]})" for k in settings["conditions"]
            ),
            "pictures": data["num"],
            "seeds": len(report["seeds"]),
            "steps": settings["steps"],
            **({} if settings["temperature"] == 1 else {"temperature": settings["temperature"]}),
            **({} if settings["work_px"] is None else {"worked on at": _pixels(settings["work_px"])}),
            **({"mirror images": "read as well"} if settings["mirrored"] else {}),
            **({"read back by": reader_in_words(settings["judge"])} if generates else {}),
            "measured": f"{report['date'][:10]}, commit {report['commit'][:12]}, {report['seconds']:.0f} s",
        }
    )


def _pixels(sizes: int | Sequence[int]) -> str:
    return ", ".join(map(str, [sizes] if isinstance(sizes, int) else sizes)) + " px"


def _command(report: Mapping[str, Any]) -> str:
    command = html.escape(report["command"])
    return f"<p class='small'>The command, which also continues a run:</p><pre>{command}</pre>"


def _overview(report: Mapping[str, Any]) -> str:
    """The first number of the model in every direction of every condition."""
    rows: dict[str, dict[str, object]] = {}
    for result in report["results"]:
        number = from_json(result["measure"]).numbers[0]
        line = rows.setdefault(result["condition"], {"condition": result["condition"], "by": number.label})
        value = result["numbers"].get(number.name)
        if result["prediction"] == "adapter" and value is not None:
            line.setdefault(result["direction"], as_text(value, "\n"))
    return f"<h2>Overview</h2>{pages.table(list(rows.values()))}"


def _section(task: Task, rows: list[Row], report: Mapping[str, Any], found: Found) -> list[str]:
    stored = [
        r for r in report["results"] if (r["condition"], r["direction"]) == (task.condition, task.direction)
    ]
    conventions = dict.fromkeys(r["convention"] for r in stored if r["prediction"] == "adapter")
    own = next(row for row in rows if row.prediction == "adapter")
    parts = [
        f"<h2>{html.escape(task.condition)}: {task.direction}</h2>",
        f"<p>{MEANING[task.direction]}</p><p class='small'>{html.escape('; '.join(conventions))}. Mean ± "
        "deviation over seeds [95% interval over pictures].</p>",
        pages.table(cells(stored, "\n"), first_is_ours=True),
        _intervals(stored),
        _histogram(own, rows),
    ]
    return [*parts, *_pictures(task, own, found)]


def _intervals(stored: list[dict[str, Any]]) -> str:
    """The first number of every prediction over one axis."""
    first = stored[0]["measure"]
    name = next(iter(stored[0]["numbers"]), None)
    spans = [
        pages.Span(
            label=row["prediction"], middle=number["mean"], low=number["low"], high=number["high"],
            colour=pages.INK if row["prediction"] == "adapter" else pages.GREY,
        )
        for row in stored
        if row["measure"]["kind"] == first["kind"]
        and (number := row["numbers"].get(name)) is not None
        and number["low"] is not None
    ]  # fmt: skip
    label = next((n.label for n in from_json(first).numbers if n.name == name), "")
    return f"<p class='small'>{html.escape(label)}:</p>{pages.intervals(spans)}" if spans else ""


def _histogram(own: Row, rows: list[Row]) -> str:
    """The first number of single pictures: the model's red, those of another picture grey."""
    number = own.measure.numbers[0]
    values = own.per_item(number.name).ravel()
    others = [r for r in rows if r.prediction != "adapter" and r.measure.KIND == own.measure.KIND]
    beside = next((r.per_item(number.name).ravel() for r in others if r.prediction in SHUFFLED), values[:0])
    known, known_beside = values[np.isfinite(values)], beside[np.isfinite(beside)]
    if len(known) < 8:
        return ""
    everything = np.concatenate([known, known_beside])
    low, high = float(everything.min()), float(np.quantile(everything, 0.99))
    bins = min(30, max(6, len(known) // 4))
    edges = np.linspace(low, max(high, low + 1e-9), bins + 1)
    shapes = [
        (np.histogram(v, edges)[0].tolist(), c)
        for v, c in ((known_beside, pages.GREY), (known, pages.INK))
        if len(v)
    ]
    return (
        f"<h3>{html.escape(number.label)} of single pictures</h3>{pages.histograms(shapes, low, high)}"
        "<p class='small'>Red: this model; grey: its answers to other pictures. Each shape is scaled to its "
        "own highest bar; the largest hundredth is beyond the right end.</p>"
    )


# --- pictures ---------------------------------------------------------------------------------------------


def _pictures(task: Task, own: Row, found: Found) -> list[str]:
    number = own.measure.numbers[0]
    values = own.per_item(number.name)
    known = [column[np.isfinite(column)] for column in values.T]
    means = np.array([column.mean() if len(column) else np.nan for column in known])
    best, worst = extremes(means, number.better, SHOWN)
    places = found.roll.places(task)
    return [
        f"<h3>{which} by {html.escape(number.label)}</h3>"
        + _sheet(task, [(places[n], means[n]) for n in some], found)
        for which, some in (("Best", best), ("Worst", worst))
        if some
    ]


def _sheet(task: Task, shown: list[tuple[int, float]], found: Found) -> str:
    columns = shown_columns(task)
    head = "<tr><th></th>" + "".join(f"<th>{html.escape(name)}</th>" for name in columns) + "</tr>"
    lines = []
    for place, value in shown:
        item = found.roll.load(place)
        images = answer_pictures(task, found.store, item, found.roll.entries[place].stem, seed=0)
        drawn = "".join(
            f"<td>{'' if values is None else _image(values, f'{item.name}, {name}')}</td>"
            for name, values in zip(columns, images, strict=True)
        )
        who = f"<b>{value:.3f}</b><br>{html.escape(item.name)}"
        who += f"<br>{html.escape(item.caption)}" if item.caption else ""
        lines.append(f'<tr><td class="who">{who}</td>{drawn}</tr>')
    return f'<div class="wide"><table class="sheet">{head}{"".join(lines)}</table></div>'


def _image(values: np.ndarray, alt: str) -> str:
    return pages.image(picture(values), alt=alt, side_px=2 * CELL_PX)


def shown_columns(task: Task) -> tuple[str, ...]:
    """What `answer_pictures` gives, in words."""
    return {
        "estimate": ("picture", "true map", "estimated"),
        "generate": ("own picture", "map given", "generated", "read back"),
        "joint": ("generated", "map generated with it", "read back"),
    }[task.direction]


def answer_pictures(task: Task, store: Store, item: Item, stem: str, seed: int) -> list[np.ndarray | None]:
    """What was given and what came back."""
    given = item.maps.get(task.condition)
    if task.direction == "estimate":
        return [item.image, given, read_picture(store.estimate(task.condition, "adapter", seed, stem))]
    made = read_picture(store.picture(task, seed, stem))
    read = read_picture(store.read_back(task, seed, stem))
    if task.direction == "generate":
        return [item.image, given, made, read]
    return [made, read_picture(store.drawn_map(task, seed, stem)), read]


# --- the rest ---------------------------------------------------------------------------------------------


def _likeness(report: Mapping[str, Any]) -> str:
    tasks = report["likeness"]["tasks"]
    if not tasks:
        return ""
    rows = [{"task": task, **{k: as_text(v) for k, v in numbers.items()}} for task, numbers in tasks.items()]
    return (
        "<h2>Generated pictures beside the items' own, as sets</h2>"
        f"<p class='small'>Features: {html.escape(report['likeness']['features'])}. Mean ± deviation over "
        f"seeds. Distances fall with N, which is {report['data']['num']} at most: compare with equal N "
        f"alone.</p>{pages.table(rows)}"
    )


def _costs(report: Mapping[str, Any]) -> str:
    rows = []
    for name, cost in report["costs"].items():
        rows.append({"part": name, "seconds": f"{cost['seconds']:.1f}"})
        if cost["num"]:
            each = cost["seconds"] / cost["num"]
            rows[-1] |= {"pictures": str(cost["num"]), "seconds per picture": f"{each:.3f}"}
    total = sum(cost["seconds"] for cost in report["costs"].values())
    rows.append({"part": "all of it", "seconds": f"{total:.1f}"})
    return (
        "<h2>What it cost</h2><p class='small'>Wall-clock time over all attempts at this run; what was kept "
        f"from an earlier one was not made again.</p>{pages.table(rows)}"
    )


def _provenance(report: Mapping[str, Any]) -> str:
    data = {k: v for k, v in report["data"].items() if k != "items"}
    blocks = {
        "settings": report["settings"],
        "data": data,
        "weights": report["weights"],
        "versions": report["versions"],
    }
    tables = "".join(f"<h3>{name}</h3>{pages.facts(values)}" for name, values in blocks.items())
    return f"<h2>Provenance</h2><p>Commit {html.escape(report['commit'])}, {report['date']}.</p>{tables}"
