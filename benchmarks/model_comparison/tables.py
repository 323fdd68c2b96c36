"""How do the systems compare, by what is recorded?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from eval.metrics.summary import Summary, bootstrap_interval, over_seeds
from eval.peers.peer import DIRECTIONS, Direction
from eval.records import Record

from .place import SCENES, Place
from .systems import NUMBER, OURS, SPECIALISTS, SYSTEMS, THIRDS, TIED, TITLES, Job, System


def write_tables(place: Place) -> Path:
    """Raises ValueError where nothing of this budget was measured."""
    if not place.done("score"):
        raise ValueError(f"{place.folder}: holds no results of this budget; run the comparison first")
    target = place.folder / "table.md"
    target.write_text(f"{table(place)}\n{claims(place)}\n{captions_table(place)}")
    return target


def summary(place: Place, job: Job) -> Summary | None:
    """Over the seeds of sampling; None where it was not measured."""
    found = place.own_scores(job)
    return _over(place, found) if found else None


def _over(place: Place, records: Sequence[Record]) -> Summary:
    return over_seeds([float(r.numbers[NUMBER[place.condition][0]]) for r in records])


def table(place: Place) -> str:
    """Markdown: every system in every direction, what it cost, and what stands beside it."""
    heading, titles = NUMBER[place.condition][1], " | ".join(TITLES[d] for d in DIRECTIONS)
    lines = [
        f"| {heading} / another scene's | trained | GFLOP per item | steps | {titles} |",
        "|---|--:|--:|--:|---|---|---|",
    ]
    costs = {r.settings["system"]: r.numbers for r in place.done("cost")}
    for system in SYSTEMS:
        cells = [_cell(place, system, direction) for direction in DIRECTIONS]
        if system.name in costs and any(cell != "-" for cell in cells):
            cost = costs[system.name]
            about = f"{cost['trained'] / 1e6:.2f}M | {cost['flops'] / 1e9:.2f} | {cost['steps']:.0f}"
            lines.append(f"| {system.title} | {about} | {' | '.join(cells)} |")
    return "\n".join([*lines, *_references(place)]) + "\n"


def _cell(place: Place, system: System, direction: Direction) -> str:
    """Its number, and what it is against another scene's."""
    found = list(place.scores(Job(system=system, direction=direction)).values())
    if not found:
        return "-"
    text = f"{_over(place, found[0])} / {_over(place, found[1]).mean:.3f}"
    return text if direction in system.own else f"({text})"


def _references(place: Place) -> Iterator[str]:
    """Where the ruler ends, and a map that looks at no picture. Both are the same for all systems."""
    rows: dict[str, dict[Direction, Summary]] = {}
    for direction in DIRECTIONS:
        found = place.scores(Job(system=OURS, direction=direction))
        for kind in list(found)[2:]:
            title = kind if kind.startswith("mean") else "the true picture or map"
            rows.setdefault(title, {})[direction] = _over(place, found[kind])
    for title, cells in rows.items():
        yield f"| {title} | | | | {' | '.join(str(cells.get(d, '-')) for d in DIRECTIONS)} |"


def claims(place: Place) -> str:
    """Markdown: our one adapter beside each specialist, with all and with a third of the compute."""
    lines = [
        "| direction | one adapter (ours) | specialist | at equal compute | with a third each |",
        "|---|---|---|---|---|",
    ]
    for full, third in [*zip(SPECIALISTS, THIRDS, strict=True), (TIED, None)]:
        direction = full.own[0]
        mine, *others = (Job(system=s, direction=direction) for s in (OURS, full, third) if s is not None)
        if (ours := summary(place, mine)) is not None:
            told = [*(_against(place, mine, other) for other in others), "-"][:2]
            lines.append(f"| {TITLES[direction]} | {ours} | {full.title} | {' | '.join(told)} |")
    return "\n".join(lines) + "\n"


def _against(place: Place, mine: Job, other: Job) -> str:
    """The other's number, by how much ours is better on the same scenes, and whether that says anything.

    With a 95% bootstrap interval over scenes; one that holds 0 tells no difference.
    """
    found, ours, theirs = summary(place, other), place.per_scene(mine), place.per_scene(other)
    if found is None or not ours or not theirs:
        return "-"
    sign = 1 if place.condition == "edge" else -1
    better = bootstrap_interval([sign * (float(ours[scene]) - float(theirs[scene])) for scene in ours])
    verdict = "ours ahead" if better.low > 0 else "ours behind" if better.high < 0 else "no difference"
    return f"{found}: {verdict}, by {better}"


def captions_table(place: Place) -> str:
    """Markdown: how often a picture's own caption is the nearest of all, where pictures are drawn."""
    drawn: tuple[Direction, ...] = ("generate", "joint")
    lines = [f"| own caption nearest | {' | '.join(TITLES[d] for d in drawn)} |", "|---|---|---|"]
    shares: dict[tuple[str, str], dict[int, float]] = {}
    for r in place.done("text"):
        key = (str(r.settings["system"]), str(r.settings["direction"]))
        shares.setdefault(key, {})[int(r.settings["seed"])] = float(r.numbers["own_first"])
    found = {key: str(over_seeds(list(each.values()))) for key, each in shares.items()}
    for system in SYSTEMS:
        cells = [found.get((system.name, d), "-") for d in drawn]
        told = [c if c == "-" or d in system.own else f"({c})" for c, d in zip(cells, drawn, strict=True)]
        if cells != ["-", "-"]:
            lines.append(f"| {system.title} | {' | '.join(told)} |")
    if (SCENES, "") in found:
        lines.append(f"| {SCENES} | {found[SCENES, '']} | |")
    return "\n".join(lines) + "\n"
