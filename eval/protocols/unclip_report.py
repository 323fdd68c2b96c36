"""What do the results of `unicon eval unclip` say: tables, plots, and the paper's orderings one by one?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from adapters.files import write_whole
from eval.metrics.summary import Summary, markdown_table, over_seeds
from eval.records import Record
from unicon.extras import need

RESULTS = "results.jsonl"
COLUMNS = ("frechet", "precision", "recall", "diversity", "rarity", "clip_score", "to_picture", "control")
MONITORED = ("cosine_picture", "cosine_text", "cosine_another_text", "own_picture_first")
KEPT = 0.9
"""Share of its diversity that a way is to keep at the strongest guidance, with z fixed and a map obeyed."""


class Results:
    """Numbers by way, guidance and whether a map was given; means over seeds."""

    def __init__(self, records: Sequence[Record]):
        self.records = records
        drawn = [r for r in records if "way" in r.settings]
        self.keys = sorted({self._key(r) for r in drawn}, key=lambda key: (key[2], key[0], key[1]))
        self.scales = sorted({key[1] for key in self.keys})

    @staticmethod
    def _key(record: Record) -> tuple[str, float, bool]:
        settings = record.settings
        return str(settings["way"]), float(settings["guidance"]), bool(settings["mapped"])

    def of(self, name: str, way: str, guidance: float, mapped: bool) -> Summary | None:
        """One number over seeds; None where it is not there with every seed."""
        rows = [r for r in self.records if "way" in r.settings and self._key(r) == (way, guidance, mapped)]
        found = [float(r.numbers[name]) for r in rows if name in r.numbers]
        return over_seeds(found) if found and len(found) == len(rows) else None

    def mean(self, *key) -> float | None:
        found = self.of(*key)
        return None if found is None else found.mean


def write_report(out: Path, records: Sequence[Record]) -> str:
    """Write `table.md` and, of drawn pictures, `tradeoff.png`; the text of the former."""
    results = Results(records)
    parts = [
        said(records),
        drawn_table(results),
        monitored_table(records),
        swap_table(records),
        orderings(results),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    write_whole(out / "table.md", lambda path: path.write_text(text, encoding="utf-8"))
    if results.keys:
        write_whole(out / "tradeoff.png", lambda path: plot(results, path))
    return text


def said(records: Sequence[Record]) -> str:
    """How much was drawn."""
    told = records[-1].settings
    seeds = len({r.settings["seed"] for r in records if "way" in r.settings})
    return (
        f"{told['num']} captions of scenes, {told['draws']} pictures of each, {told['steps']} steps, {seeds} "
        f"seeds, beside {told['reals']} true pictures; features are those of the base's image encoder, map: "
        f"{told['condition']}."
    )


def drawn_table(results: Results) -> str:
    """A row for each set of pictures."""
    rows = []
    for way, guidance, mapped in results.keys:
        numbers = {name: results.of(name, way, guidance, mapped) for name in COLUMNS}
        shown = {name: None if value is None else str(value) for name, value in numbers.items()}
        rows.append({"told": way, "guidance": f"{guidance:g}", "map": "given" if mapped else "-", **shown})
    return markdown_table(rows) if rows else ""


def monitored_table(records: Sequence[Record]) -> str:
    """How near embeddings are to what they are meant to be."""
    ways = dict.fromkeys(str(r.settings["monitored"]) for r in records if "monitored" in r.settings)
    rows = []
    for way in ways:
        found = [r.numbers for r in records if r.settings.get("monitored") == way]
        rows.append(
            {"embedding": way, **{n: str(over_seeds([float(f[n]) for f in found])) for n in MONITORED}}
        )
    return markdown_table(rows) if rows else ""


def swap_table(records: Sequence[Record]) -> str:
    """What swaps take from the picture they should, and from the other."""
    found = [r.numbers for r in records if r.settings.get("swap")]
    names = [n for n in found[0] if f"{n}_of_the_other" in found[0]] if found else []

    def over(name: str) -> str:
        values = [float(each[name]) for each in found if name in each]
        return str(over_seeds(values)) if values else "-"

    rows = [
        {"swap": f"{n} (difference, low is good)" if n == "map" else n, "of the right one": over(n),
         "of the other": over(f"{n}_of_the_other")}
        for n in names
    ]  # fmt: skip
    rows += [{"swap": "meaning and map both right", "of the right one": over("both_right")}] if found else []
    return markdown_table(rows) if rows else ""


def orderings(results: Results) -> str:
    """The paper's statements beside our numbers, as far as the sets they need are there."""
    if not results.scales:
        return ""
    low, high = results.scales[0], results.scales[-1]
    at = results.mean

    def kept(name: str, way: str, mapped: bool) -> float | None:
        """The number at the strongest guidance, in shares of that at the weakest."""
        first, last = at(name, way, low, mapped), at(name, way, high, mapped)
        return None if low == high or not first or last is None else last / first

    def rise(way: str) -> float | None:
        first, last = at("frechet", way, low, False), at("frechet", way, high, False)
        return None if low == high or first is None or last is None else last - first

    fd: Callable[[str], float | None] = lambda way: at("frechet", way, low, False)  # noqa: E731
    stated = [
        ("the prior's z is nearer to true pictures than the text's as z (section 5.1: 7.99, 16.55)",
         "Fréchet distance", fd("prior"), fd("text")),
        ("it is nearer than captions alone (section 5.1)", "Fréchet distance", fd("prior"), fd("caption")),
        ("the diffusion prior is better than the autoregressive one (10.39, 10.63)", "Fréchet distance",
         fd("prior"), fd("prior_ar")),
        ("pictures follow the true z more than the prior's", "1 - cosine to the true picture",
         _less(at("to_picture", "oracle", low, False)), _less(at("to_picture", "prior", low, False))),
        (f"guidance {high:g} costs less distance than on the plain base (section 5.3)", "rise of it",
         rise("prior"), rise("base")),
        (f"more recall is left at guidance {high:g} than on the plain base (section 5.3)", "share lost",
         _less(kept("recall", "prior", False)), _less(kept("recall", "base", False))),
        (f"more diversity is left at guidance {high:g} than on the plain base (section 5.3)", "share lost",
         _less(kept("diversity", "prior", False)), _less(kept("diversity", "base", False))),
        (f"with z fixed and a map, diversity stays at least {KEPT:.0%} (ours)", "share lost",
         _less(kept("diversity", "oracle", True)), 1 - KEPT + 1e-9),
    ]  # fmt: skip
    rows = [
        {
            "ordering": text, "number": number, "smaller": f"{small:.3f}", "larger": f"{large:.3f}",
            "appears": "yes" if small < large else "no",
        }
        for text, number, small, large in stated
        if small is not None and large is not None
    ]  # fmt: skip
    return markdown_table(rows) if rows else ""


def _less(share: float | None) -> float | None:
    return None if share is None else 1 - share


def plot(results: Results, path: Path) -> None:
    """Fidelity against diversity, a line along guidance for each way; without and with a map."""
    need("matplotlib", extra="eval")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), dpi=120, layout="constrained")
    ways = list(dict.fromkeys(key[0] for key in results.keys))
    for row, mapped in zip(figure.subplots(2, 2), (False, True), strict=True):
        for axes, fidelity in zip(row, ("frechet", "clip_score"), strict=True):
            for number, way in enumerate(ways):
                points = [
                    (results.mean("diversity", way, s, mapped), results.mean(fidelity, way, s, mapped), s)
                    for s in results.scales
                ]
                points = [p for p in points if p[0] is not None and p[1] is not None]
                if points:
                    x, y, _ = np.array(points, dtype=float).T
                    axes.plot(x, y, marker="o", color=f"C{number}", label=way)
                    for px, py, scale in points:
                        axes.annotate(
                            f"{scale:g}", (px, py), fontsize=7, xytext=(3, 3), textcoords="offset points"
                        )
            axes.set_xlabel("diversity of one caption's draws")
            axes.set_ylabel(
                {"frechet": "Fréchet distance (low is good)", "clip_score": "CLIP score"}[fidelity]
            )
            axes.set_title("with the true map" if mapped else "without a map", fontsize=9)
            if fidelity == "frechet":
                axes.invert_yaxis()  # good is up in all four
    figure.axes[0].legend(fontsize=8)
    figure.savefig(path, format="png")
