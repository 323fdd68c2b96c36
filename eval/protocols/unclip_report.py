"""What do the results of `unicon eval unclip` say: tables, plots, and the paper's orderings one by one?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from adapters.files import write_whole
from eval.metrics.summary import Summary, markdown_table, over_seeds
from eval.protocols.readers import reader_in_words
from eval.records import Record
from unicon.extras import need

RESULTS = "results.jsonl"
COLUMNS = (
    "frechet", "precision", "recall", "diversity", "rarity", "clip_score", "to_picture", "control",
    "judge_frechet", "judge_precision", "judge_recall", "judge_diversity",
)  # fmt: skip
FEATURES = {"": "CLIP", "judge_": "judge"}
"""Of whose features a number is, by how its name begins."""
MONITORED = ("cosine_picture", "cosine_text", "cosine_another_text", "own_picture_first")
KEPT = 0.9
"""Share of its diversity that a way is to keep at the strongest guidance, with z fixed and a map obeyed."""
CONTROL_TOLERANCE = 0.1
"""Share by which the error of control may be larger there, for the map to count as obeyed as before."""


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

    def by_seed(self) -> list[Results]:
        """Each seed's alone."""
        seeds = dict.fromkeys(r.settings["seed"] for r in self.records if "seed" in r.settings)
        return [Results([r for r in self.records if r.settings.get("seed") == seed]) for seed in seeds]

    def num_seeds(self, way: str, guidance: float, mapped: bool) -> int:
        """With how many one set of pictures is there."""
        return sum("way" in r.settings and self._key(r) == (way, guidance, mapped) for r in self.records)

    def of(self, name: str, way: str, guidance: float, mapped: bool) -> Summary | None:
        """One number over seeds; None where it is not there with every seed."""
        rows = [r for r in self.records if "way" in r.settings and self._key(r) == (way, guidance, mapped)]
        found = [float(r.numbers[name]) for r in rows if name in r.numbers]
        return over_seeds(found) if found and len(found) == len(rows) else None

    def mean(self, *key) -> float | None:
        found = self.of(*key)
        return None if found is None else found.mean

    def monitored(self, name: str, way: str, guidance: float) -> float | None:
        """A number of embeddings, over seeds."""
        found = [
            float(r.numbers[name])
            for r in self.records
            if (r.settings.get("monitored"), r.settings.get("prior_guidance")) == (way, guidance)
        ]
        return over_seeds(found).mean if found else None


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
    told, results = records[-1].settings, Results(records)
    seeds = sorted({results.num_seeds(*key) for key in results.keys}) or [0]
    num = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
    own = told.get("caption_guidance")
    along = (
        "" if own is None else f" Where an embedding is told, guidance is its own, the caption's is {own:g}."
    )
    below = float(told.get("guidance_below", 1.0))
    along += "" if below == 1 else f" Guided is at {below:g} of the noise and below alone."
    return (
        f"{told['num']} captions of scenes, {told['draws']} pictures of each, {told['steps']} steps, {num} "
        f"{'seed' if seeds[-1] == 1 else 'seeds'}, beside {told['reals']} true pictures. Features are those "
        "of the base's image encoder, which also gives the embeddings, and of the judge that ships (judge_). "
        f"Map: {told['condition']}, read from pictures by {reader_in_words(str(told['judge']))}; control is "
        f"its error, whether it was given or not.{along}"
    )


def drawn_table(results: Results) -> str:
    """A row for each set of pictures, after one for the true ones."""
    true = [r.numbers for r in results.records if r.settings.get("true")]
    rows: list[dict[str, object]] = []
    for way, guidance, mapped in results.keys:
        numbers = {name: results.of(name, way, guidance, mapped) for name in COLUMNS}
        shown = {name: None if value is None else str(value) for name, value in numbers.items()}
        seeds = str(results.num_seeds(way, guidance, mapped))
        told = {"told": way, "guidance": f"{guidance:g}", "map": "given" if mapped else "-", "seeds": seeds}
        rows.append({**told, **shown})
    if not rows:
        return ""
    names = [name for name in COLUMNS if true and name in true[-1]]
    first = [{"told": "true pictures", **{n: f"{true[-1][n]:.3f}" for n in names}}] if true else []
    return markdown_table([*first, *rows], columns=list(rows[0]))


def monitored_table(records: Sequence[Record]) -> str:
    """How near embeddings are to what they are meant to be."""
    found: dict[tuple[str, float], list[Record]] = {}
    for record in records:
        if "monitored" in record.settings:
            key = str(record.settings["monitored"]), float(record.settings["prior_guidance"])
            found.setdefault(key, []).append(record)
    rows = [
        {"embedding": way, "guidance of the prior": f"{guidance:g}" if way == "prior" else "-",
         "seeds": str(len(each)),
         **{n: str(over_seeds([float(r.numbers[n]) for r in each])) for n in MONITORED}}
        for (way, guidance), each in found.items()
    ]  # fmt: skip
    return markdown_table(rows) if rows else ""


SWAPS = {
    "map": "map (difference, low is good)", "colour": "colour (distance, low is good)",
    "light": "light (share)", "meaning": "meaning (cosine, by the CLIP that gave it)",
}  # fmt: skip


def swap_table(records: Sequence[Record]) -> str:
    """What swaps take from the picture they should, and from the other."""
    found = [r.numbers for r in records if r.settings.get("swap")]
    true = next((r.numbers for r in reversed(records) if r.settings.get("true")), {})
    on_true = {"map": true.get("control"), "light": true.get("light")}

    def over(name: str) -> str | None:
        values = [float(each[name]) for each in found if name in each]
        return str(over_seeds(values)) if values else None

    rows: list[dict[str, object]] = [
        {"swap": text, "of the right one": over(n), "of the other": over(f"{n}_of_the_other"),
         "on true pictures": on_true.get(n), "seeds": str(sum(n in each for each in found))}
        for n, text in SWAPS.items() if over(n) is not None
    ]  # fmt: skip
    if found:
        both = {"swap": "colour and map both nearer to the right one", "of the right one": over("both_right")}
        rows.append({**both, "seeds": str(len(found))})
    return markdown_table(rows) if rows else ""


# --- orderings --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ordering:
    """A statement that holds where in every pair the first number is below the second."""

    text: str
    number: str
    """What is compared."""
    pairs: tuple[tuple[float | None, float | None], ...]


def orderings(results: Results) -> str:
    """The paper's statements beside our numbers, as far as the sets they need are there.

    Compared seed by seed: sets with other seeds do not meet. The numbers are means over them.
    """
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for one in results.by_seed():
        for each in stated(one) if one.scales else ():
            if all(number is not None for pair in each.pairs for number in pair):
                pairs = np.array(each.pairs, dtype=float)
                found.setdefault((each.text, each.number), []).append(pairs)
    rows = []
    for (text, number), seeds in found.items():
        small, large = np.mean(seeds, axis=0).T
        holds = [bool((pairs[:, 0] < pairs[:, 1]).all()) for pairs in seeds]
        rows.append({
            "ordering": text, "number": number, "smaller": "; ".join(f"{v:.3f}" for v in small),
            "larger": "; ".join(f"{v:.3f}" for v in large), "in seeds": f"{sum(holds)} of {len(holds)}",
            "appears": "yes" if bool((small < large).all()) else "no",
        })  # fmt: skip
    return markdown_table(rows) if rows else ""


def stated(results: Results) -> list[Ordering]:
    """The paper's statements, and two of ours, with the numbers that decide them."""
    low, high = results.scales[0], results.scales[-1]
    at = results.mean

    def kept(name: str, way: str, mapped: bool) -> float | None:
        """The number at the strongest guidance, in shares of that at the weakest."""
        first, last = at(name, way, low, mapped), at(name, way, high, mapped)
        return None if low == high or not first or last is None else last / first

    def lost(name: str, way: str, mapped: bool) -> float | None:
        return _less(kept(name, way, mapped))

    def gained(name: str, way: str, mapped: bool) -> float | None:
        share = kept(name, way, mapped)
        return None if share is None else share - 1

    def rise(name: str, way: str) -> float | None:
        first, last = at(name, way, low, False), at(name, way, high, False)
        return None if low == high or first is None or last is None else last - first

    def guided(name: str, guidance: float) -> float | None:
        return results.monitored(name, "prior", guidance)

    found = [
        Ordering("pictures follow the true z more than the prior's", "1 - cosine to the true picture",
                 ((_less(at("to_picture", "oracle", low, False)),
                   _less(at("to_picture", "prior", low, False))),)),
        Ordering("a map is obeyed: control's error is smaller than without it (ours)", "error, true z",
                 ((at("control", "oracle", low, True), at("control", "oracle", low, False)),)),
        # Section 5.2: guidance of the prior was left off, for it hurt.
        Ordering("guiding the prior at 4 leads away from the true z (section 5.2)", "1 - cosine, 1 and 4",
                 ((_less(guided("cosine_picture", 1.0)), _less(guided("cosine_picture", 4.0))),)),
        Ordering("guiding the prior at 4 loses the own picture among all (section 5.2)",
                 "share nearest to it, 4 and 1",
                 ((guided("own_picture_first", 4.0), guided("own_picture_first", 1.0)),)),
    ]  # fmt: skip
    for start, whose in FEATURES.items():
        distance = f"{start}frechet"
        fd = partial(_distance, results, distance, low)
        number, share = f"Fréchet distance, {whose}", f"share lost, {whose}"
        found += [
            Ordering("the prior's z is nearer to true pictures than the text's z (section 5.1: 7.99, 16.55)",
                     number, ((fd("prior"), fd("text")),)),
            Ordering("the prior's z is nearer than captions alone (section 5.1)", number,
                     ((fd("prior"), fd("caption")),)),
            Ordering("the text's z is nearer than captions alone (section 5.1, by eye)", number,
                     ((fd("text"), fd("caption")),)),
            Ordering("the diffusion prior is better than the autoregressive one (10.39, 10.63)", number,
                     ((fd("prior"), fd("prior_ar")),)),
            Ordering(f"guidance {high:g} costs less distance than on the plain base (section 5.3)",
                     f"rise of it, {whose}", ((rise(distance, "prior"), rise(distance, "base")),)),
            *(Ordering(f"more {name} is left at guidance {high:g} than on the plain base (section 5.3)",
                       share, ((lost(start + name, "prior", False), lost(start + name, "base", False)),))
              for name in ("recall", "diversity")),
            Ordering(f"with z fixed and a map, diversity stays at least {KEPT:.0%} at guidance {high:g}, and "
                     f"the map is obeyed as before, within {CONTROL_TOLERANCE:.0%} (ours)",
                     f"{share}; error of control gained",
                     ((lost(f"{start}diversity", "oracle", True), 1 - KEPT + 1e-9),
                      (gained("control", "oracle", True), CONTROL_TOLERANCE + 1e-9))),
        ]  # fmt: skip
    return found


def _distance(results: Results, name: str, guidance: float, way: str) -> float | None:
    """Of pictures without a map."""
    return results.mean(name, way, guidance, False)


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
