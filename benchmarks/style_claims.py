"""Is a style learnt best at high noise, as Choi et al. (2024, arXiv 2411.14793) say, on a base we can hold?

    python benchmarks/style_claims.py [--out runs/style_claims] [--stop-after MINUTES] [--styles ink,neon]
    python benchmarks/style_claims.py --tables     # of what is there so far

Three styles that the mini base has never seen are learnt from one picture each, as published (300 steps of 4
at 1e-4), by every law normal(mean, deviation) with means 0, -2.2, -4, -4.6, -6 and deviations 1, 2, 3, by
uniform levels and by Stable Diffusion 3's, at rank 4 and 32. One seed; three for the corners, the two other
laws, our default and what the paper's claims compare. Each is measured on prompts and depth maps of scenes
that nothing was trained on:

- `style`: cosine of the image encoder's features with the mean of other pictures in the style (the paper's
  CLIP-I); `colour` and `light` are distances (`eval.emergence`);
- `prompt`: cosine of the picture's and the caption's features (CLIP-T), `retrieved`: how often the own
  caption is the nearest of all;
- `control`: mean absolute difference of the given depth map and the one read back from the picture.

Running it again goes on: each result is a line of results.jsonl, a style half learnt continues. It says how
long the rest will take. `--share 1/2` and `--share 2/2` fill one folder from two processes, each with every
second training. (Not under `unicon eval`: measurements there do not train.)
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eval.emergence import StyleDistance, image_features
from eval.metrics.summary import over_seeds
from eval.records import Record, append, read
from eval.runs.settings import digest_of_base, digests_of_adapters
from train.command import main as train
from unicon.bases import base_size
from unicon.data.scenes import SceneConfig, exact_map, render
from unicon.data.scenes.config import HELD_OUT_STYLES
from unicon.data.scenes.styles import WORDS
from unicon.pictures import as_pictures
from unicon.pipeline import UniConPipeline
from unicon.sheets import picture

STYLES = ("watercolour", "ink", "neon")
MEANS, DEVIATIONS, RANKS = (0.0, -2.2, -4.0, -4.6, -6.0), (1.0, 2.0, 3.0), (4, 32)
CORNERS = tuple(product((0.0, -6.0), (1.0, 3.0)))
DEFAULT = (-4.6, 2.0)
OTHERS = {"uniform": "uniform", "sd3": "logit_normal(0, 1, 3)"}
"""Laws to compare with; the second is Stable Diffusion 3's, shifted by 3 as at 1024 px."""
SEEDS = (0, 1, 2)
REFERENCE_SEED, STYLED_SEED = 810_000, 820_000
"""First seeds of the pictures that are learnt from, and of those that say what the style is. Scenes that are
drawn after have seeds from 0, as all evaluation scenes."""
RESULTS = "results.jsonl"
NAMES = ("style", "prompt", "retrieved", "control", "colour", "light")


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much is spent on each style; part of every result."""

    steps: int = 300
    references: int = 1
    num: int = 16
    """Prompts and maps."""
    styled: int = 32
    """Pictures that say what the style is."""
    drawing_steps: int = 20
    guidance_scale: float = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One training."""

    style: str
    law: str
    rank: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.style}_{self.law}_r{self.rank}_s{self.seed}".translate(str.maketrans("(), ", "____"))


def normal(mean: float, deviation: float) -> str:
    return f"normal({mean:g}, {deviation:g})"


LOW, HIGH = RANKS
PAPERS = normal(-6, 2)
CLAIMS = (
    ("noisier laws learn more of the style", (PAPERS, HIGH, "style"), (normal(0, 2), HIGH, "style")),
    ("a deviation of 1 is too narrow", (PAPERS, HIGH, "style"), (normal(-6, 1), HIGH, "style")),
    (f"rank {LOW} at -6 beats SD3's law at rank {HIGH}", (PAPERS, LOW, "style"), ("sd3", HIGH, "style")),
    ("it beats SD3's law at the same rank", (PAPERS, HIGH, "style"), ("sd3", HIGH, "style")),
    ("it beats uniform levels at the same rank", (PAPERS, HIGH, "style"), ("uniform", HIGH, "style")),
    (
        "our default on VP schedules beats SD3's law, too",
        (normal(*DEFAULT), HIGH, "style"),
        ("sd3", HIGH, "style"),
    ),
    ("the prompt is heeded a little less", ("sd3", HIGH, "prompt"), (PAPERS, HIGH, "prompt")),
    ("ours to ask: control suffers no more", ("sd3", HIGH, "control"), (PAPERS, HIGH, "control")),
)
"""What the paper says, and the two numbers (law, rank, number) of which the first should be larger."""


def cells(styles: Sequence[str] = STYLES) -> list[Cell]:
    """All trainings: those of one seed first, and of these the ones that the claims need, so that a part of
    them is a whole picture already."""
    grid = [normal(m, d) for m, d in product(MEANS, DEVIATIONS)]
    repeated = [*OTHERS, *(normal(m, d) for m, d in (*CORNERS, DEFAULT))]
    found = [
        Cell(style=style, law=law, rank=rank, seed=seed)
        for seed, law, rank, style in product(SEEDS, [*OTHERS, *grid], RANKS, styles)
        if seed == 0 or law in repeated or (law, rank) in needed()
    ]
    return sorted(found, key=lambda cell: (cell.seed, (cell.law, cell.rank) not in needed()))


def needed() -> set[tuple[str, int]]:
    """Laws and ranks that the claims compare."""
    return {side[:2] for _, *sides in CLAIMS for side in sides}


def phrase(style: str) -> str:
    """As in the paper."""
    return f"in {style} style"


# --- pictures ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scenes:
    """Pictures (n, 3, H, W), depth maps and captions without words about the style."""

    pictures: Tensor
    maps: Tensor
    captions: tuple[str, ...]


def scenes(first: int, num: int, style: str, size_px: int) -> Scenes:
    """Scenes of these seeds, finished in that style."""
    config = SceneConfig(size=size_px, styles=(style,), second_view=False)
    rendered = [render(seed, config) for seed in range(first, first + num)]
    return Scenes(
        pictures=as_pictures([picture(scene.image) for scene in rendered], "scenes"),
        maps=as_pictures([picture(exact_map(scene, "depth")) for scene in rendered], "maps"),
        captions=tuple(
            scene.caption.removeprefix(words)
            for scene in rendered
            for words in [next((w for w in WORDS[style] if scene.caption.startswith(w)), "")]
        ),
    )


def write_references(folder: Path, style: str, num: int, size_px: int) -> Path:
    """What is learnt from, as a user would have it: pictures with captions."""
    if folder.exists():
        return folder
    found = scenes(REFERENCE_SEED, num, style, size_px)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    for number, (image, caption) in enumerate(zip(found.pictures, found.captions, strict=True)):
        pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(temporary / f"{number}.png")
        (temporary / f"{number}.txt").write_text(caption)
    try:
        return temporary.rename(folder)
    except OSError:  # another process was faster; its pictures are the same
        shutil.rmtree(temporary)
        return folder


# --- measuring --------------------------------------------------------------------------------------------


class Ruler:
    """What drawings in one style are measured with; made once for all its trainings."""

    def __init__(self, pipe: UniConPipeline, style: str, budget: Budget):
        """Raises ValueError for a base without an image encoder, or a depth adapter."""
        encoder = image_features(pipe)
        if encoder is None or "depth" not in pipe.adapters:
            raise ValueError("this base has no image encoder or no depth adapter to measure with; use mini")
        self.pipe, self.style, self.budget, self.encoder = pipe, style, budget, encoder
        size_px = base_size(pipe.unet, pipe.vae).own_px
        self.test = scenes(0, budget.num, "photo", size_px)
        styled = scenes(STYLED_SEED, budget.styled, style, size_px)
        self.likeness = StyleDistance.to(styled.pictures, self.test.pictures, encoder)
        self.centre = torch.nn.functional.normalize(encoder(styled.pictures).mean(0), dim=-1)
        self.captions = self._text_features()

    @torch.no_grad()
    def _text_features(self) -> Tensor:
        return self.pipe.embed_texts(list(self.test.captions)).z

    def drawn(self, words: str) -> dict[str, float]:
        """Of the pipeline as it is, with those words behind every prompt."""
        prompts = [f"{caption}, {words}" if words else caption for caption in self.test.captions]
        settings = {
            "num_inference_steps": self.budget.drawing_steps,
            "guidance_scale": self.budget.guidance_scale,
            "output_type": "pt",
        }
        alone = self.pipe(prompts, generator=torch.Generator().manual_seed(0), **settings).images
        under = self.pipe(
            prompts, depth=self.test.maps, generator=torch.Generator().manual_seed(1), **settings
        ).images
        return self.measured(alone.cpu(), under.cpu())

    @torch.no_grad()
    def measured(self, alone: Tensor, under: Tensor) -> dict[str, float]:
        """Pictures of the prompts alone, and under their depth maps, both (n, 3, H, W)."""
        features = self.encoder(alone).cpu()
        likeness = features @ self.captions.cpu().T
        read_back = self.pipe(
            image=under,
            outputs=["depth"],
            num_inference_steps=self.budget.drawing_steps,
            generator=torch.Generator().manual_seed(2),
            output_type="pt",
        ).conditions["depth"]
        own = torch.arange(len(alone))
        far = self.likeness(alone)
        return {
            "style": float((features @ self.centre.cpu()).mean()),
            "prompt": float(likeness.diagonal().mean()),
            "retrieved": float((likeness.argmax(1) == own).float().mean()),
            "control": float((read_back.cpu().float() - self.test.maps).abs().mean()),
            "colour": far["colour"],
            "light": far["light"],
        }

    def references(self) -> dict[str, dict[str, float]]:
        """What the numbers are without learning, and of scenes that were rendered in the style."""
        size_px = self.test.pictures.shape[-1]
        rendered = scenes(0, self.budget.num, self.style, size_px).pictures
        return {
            "base": self.drawn(""),
            "base, told the words": self.drawn(phrase(self.style)),
            "rendered in the style": self.measured(rendered, rendered),
            "rendered as a photo": self.measured(self.test.pictures, self.test.pictures),
        }


# --- the sweep --------------------------------------------------------------------------------------------


def run(
    out: Path,
    base: str,
    todo: Sequence[Cell],
    budget: Budget,
    stop_after: float = math.inf,
    share: tuple[int, int] = (1, 1),
) -> int:
    """Train and measure what is not done yet of this share (K, N), every N-th from the K-th on; how many are
    left when the time is over."""
    mine = slice(share[0] - 1, None, share[1])
    started, spent, rulers = time.monotonic(), [], {}
    pipe = UniConPipeline.from_pretrained(base, adapters=["depth"])
    pipe.set_progress_bar_config(disable=True)
    weights = fingerprint(pipe)
    known = done(out, budget, weights)
    for style in list(dict.fromkeys(cell.style for cell in todo))[mine]:
        if not any(r.settings.get("style") == style and "what" in r.settings for r in known):
            rulers[style] = Ruler(pipe, style, budget)
            for what, numbers in rulers[style].references().items():
                note(out, numbers, {"style": style, "what": what, "weights": weights}, budget)
    finished = {tuple(r.settings[n] for n in ("style", "law", "rank", "seed")) for r in learnt(known)}
    left = [c for c in todo[mine] if (c.style, c.law, c.rank, c.seed) not in finished]
    for number, cell in enumerate(left):
        over = time.monotonic() - started
        if over > stop_after:
            return len(left) - number
        begun = time.monotonic()
        file = learn(out, base, cell, budget, base_size(pipe.unet, pipe.vae).own_px)
        if cell.style not in rulers:
            rulers[cell.style] = Ruler(pipe, cell.style, budget)
        pipe.load_style(file, "learnt")
        try:
            numbers = rulers[cell.style].drawn("")  # the style brings its words itself
        finally:
            pipe.unload_style("learnt")
        note(out, numbers, {**asdict(cell), "weights": weights}, budget)
        spent.append(time.monotonic() - begun)
        rest = (len(left) - number - 1) * sum(spent) / len(spent)
        print(
            f"{cell.name}: {', '.join(f'{n} {numbers[n]:.3f}' for n in NAMES[:4])} ({spent[-1]:.0f} s; "
            f"{len(left) - number - 1} left, about {rest / 3600:.1f} h)",
            file=sys.stderr,
        )
    return 0


def learn(out: Path, base: str, cell: Cell, budget: Budget, size_px: int) -> Path:
    """The style's file; of its training nothing else is kept."""
    references = write_references(
        out / f"references_{budget.references}" / cell.style, cell.style, budget.references, size_px
    )
    folder = out / "styles" / f"{cell.name}_{budget.steps}"
    arguments = {
        "data": references, "base": base, "title": "learnt", "phrase": phrase(cell.style),
        "levels": OTHERS.get(cell.law, cell.law), "rank": cell.rank, "seed": cell.seed, "steps": budget.steps,
        "validate_every": 0, "checkpoint_every": 100, "mixed_precision": "no", "out": folder,
    }  # fmt: skip
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        status = train(["style", *(part for k, v in arguments.items() for part in (f"--{k}", str(v)))])
    if status:
        raise ValueError(f"{cell.name}: training ended with {status}: {said.getvalue()[-500:]}")
    shutil.rmtree(folder / "style" / "checkpoints", ignore_errors=True)
    return folder / "style" / "export" / "learnt.safetensors"


def note(out: Path, numbers: Mapping[str, float], settings: Mapping[str, object], budget: Budget) -> None:
    append(
        out / RESULTS,
        Record(name="style_claims", numbers=dict(numbers), settings={**settings, **asdict(budget)}),  # pyright: ignore[reportArgumentType]
    )


def fingerprint(pipe: UniConPipeline) -> str:
    """Changes with the base and the adapter that draws and reads, so that results of others are not taken for
    these. Older results have none."""
    text = f"{digest_of_base(pipe)} {digests_of_adapters(pipe)['depth']}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def done(out: Path, budget: Budget, weights: str | None = None) -> list[Record]:
    """Results of this budget, of these weights or, if not said, of those of the newest result."""
    path = out / RESULTS
    found = read(path) if path.exists() else []
    found = [r for r in found if all(r.settings.get(name) == value for name, value in asdict(budget).items())]
    if weights is None and found:
        weights = str(found[-1].settings.get("weights", ""))
    return [r for r in found if r.settings.get("weights", "") == weights]


def learnt(records: Sequence[Record]) -> list[Record]:
    """Those of styles, without those of what they stand beside."""
    return [r for r in records if "law" in r.settings]


# --- tables -----------------------------------------------------------------------------------------------


def tables(records: Sequence[Record]) -> str:
    """Markdown: the numbers by law and rank, the mean over styles, and over seeds where there are several."""
    lines = ["| law | rank | seeds | style | prompt | retrieved | control |", "|---|---|---|---|---|---|---|"]
    for what in dict.fromkeys(r.settings["what"] for r in records if "what" in r.settings):
        rows = [r for r in records if r.settings.get("what") == what]
        lines.append(f"| {what} | - | - | {' | '.join(_cell(rows, name) for name in NAMES[:4])} |")
    chosen = learnt(records)
    for law, rank in sorted(_pairs(chosen), key=_place):
        rows = [r for r in chosen if (r.settings["law"], r.settings["rank"]) == (law, rank)]
        seeds = len({r.settings["seed"] for r in rows})
        numbers = " | ".join(_cell(rows, name) for name in NAMES[:4])
        lines.append(f"| {law} | {rank} | {seeds} | {numbers} |")
    return "\n".join(lines) + "\n"


def _cell(rows: Sequence[Record], name: str) -> str:
    """Mean over styles of one seed each, and its deviation over seeds."""
    by_seed: dict[object, list[float]] = {}
    for row in rows:
        by_seed.setdefault(row.settings.get("seed", 0), []).append(float(row.numbers[name]))
    return str(over_seeds([sum(values) / len(values) for values in by_seed.values()]))


def _pairs(records: Sequence[Record]) -> set[tuple[str, int]]:
    return {(str(r.settings["law"]), int(r.settings["rank"])) for r in records}


def claims(records: Sequence[Record]) -> str:
    """The paper's claims beside our numbers, over the styles and seeds that both sides have; markdown."""
    found: dict[tuple[str, int], dict[tuple[str, int], Record]] = {}
    for record in learnt(records):
        told = record.settings
        trained = found.setdefault((str(told["law"]), int(told["rank"])), {})
        trained[str(told["style"]), int(told["seed"])] = record
    lines = ["| claim | larger | smaller | difference | holds in |", "|---|---|---|---|---|"]
    for text, more, less in CLAIMS:
        both = found.get(more[:2], {}).keys() & found.get(less[:2], {}).keys()
        if not both:
            continue
        sides, said = [], []
        for law, rank, name in (more, less):
            sides.append(np.array([found[law, rank][each].numbers[name] for each in sorted(both)]))
            said.append(f"{name} {law}, rank {rank}: {sides[-1].mean():.3f}")
        gaps = sides[0] - sides[1]
        holds = f"{(gaps > 0).sum()} of {len(gaps)}"
        lines.append(f"| {text} | {said[0]} | {said[1]} | {gaps.mean():+.3f} | {holds} |")
    return "\n".join(lines) + "\n"


def _place(key: tuple[str, int]) -> tuple:
    law, rank = key
    return (
        rank,
        law not in OTHERS,
        [-float(n) for n in law.strip("normal()").split(",")] if "(" in law else [],
    )


def plot(records: Sequence[Record], path: Path) -> None:
    """Likeness to the style against error of control and prompt fidelity; a dot for each law and rank."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), dpi=120, layout="constrained")
    chosen = learnt(records)
    for axes, other in zip(figure.subplots(1, 2), ("control", "prompt"), strict=True):
        for law, rank in sorted(
            {(str(r.settings["law"]), int(r.settings["rank"])) for r in chosen}, key=_place
        ):
            rows = [r for r in chosen if (r.settings["law"], r.settings["rank"]) == (law, rank)]
            x, y = (float(np.mean([r.numbers[name] for r in rows])) for name in (other, "style"))
            axes.scatter(x, y, s=30 if rank == max(RANKS) else 12, color="C1" if law in OTHERS else "C0")
            axes.annotate(law.removeprefix("normal"), (x, y), fontsize=5)
        axes.set_xlabel({"control": "error of control", "prompt": "prompt fidelity"}[other])
        axes.set_ylabel("likeness to the style")
    figure.savefig(path)


def write_tables(out: Path, budget: Budget) -> Iterator[Path]:
    records = done(out, budget)
    if not records:
        raise ValueError(f"{out}: holds no results of this budget; run the sweep first")
    (out / "table.md").write_text(f"{tables(records)}\n{claims(records)}")
    yield out / "table.md"
    if learnt(records):
        plot(records, out / "style_claims.png")
        yield out / "style_claims.png"


def share(text: str) -> tuple[int, int]:
    """Raises argparse.ArgumentTypeError for what is not `K/N` with 1 <= K <= N."""
    first, _, every = text.partition("/")
    if not (first.isdecimal() and every.isdecimal() and 1 <= int(first) <= int(every)):
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N with K from 1 to N, such as 1/2")
    return int(first), int(every)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/style_claims"))
    parser.add_argument("--base", default="mini")
    parser.add_argument("--styles", default=",".join(STYLES), help=f"of {', '.join(HELD_OUT_STYLES)}")
    parser.add_argument("--stop-after", type=float, default=math.inf, metavar="MINUTES")
    parser.add_argument("--first", type=int, default=None, metavar="N", help="only the first N trainings")
    parser.add_argument(
        "--share", type=share, default=(1, 1), metavar="K/N", help="every N-th, from the K-th on"
    )
    parser.add_argument("--tables", action="store_true", help="of what is there; nothing is trained")
    for name, value in asdict(Budget()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    args = parser.parse_args(argv)
    budget = Budget(**{name: getattr(args, name) for name in asdict(Budget())})
    styles = args.styles.split(",")
    if unknown := [style for style in styles if style not in HELD_OUT_STYLES]:
        parser.error(f"--styles: {unknown[0]!r} is none of {', '.join(HELD_OUT_STYLES)}")
    left = 0
    if not args.tables:
        args.out.mkdir(parents=True, exist_ok=True)
        todo = cells(styles)[: args.first]
        left = run(args.out, args.base, todo, budget, args.stop_after * 60, args.share)
    print(*write_tables(args.out, budget), sep="\n")
    print(f"{left} trainings left; run the same command again" if left else "all of it is there")
    return 3 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
