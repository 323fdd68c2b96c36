"""Which of unCLIP's orderings appear on a base we can hold (Ramesh et al. 2022, sections 5.1 to 5.3)?

Pictures of scenes' captions are drawn in five ways: by the plain base; by the decoder adapter told nothing
(`caption`), the caption's own embedding as if it were a picture's (`text`), the prior's embedding (`prior`,
`prior_ar`), and that of the true picture (`oracle`); each at several guidance scales, with and without the
true depth map. Of every way: distance from the true pictures, precision, recall and rarity; diversity of
several draws of one caption, whose embedding stays the same; how near they are to caption and true picture;
and how far the map that a judge reads from them is from the true one, given or not. The embeddings come from
the base's CLIP, so distance, precision, recall and diversity are also measured on features of another network
(`unclip_look`). Swaps are measured besides (`unclip_swap`), and so are embeddings of a prior that is guided.

    unicon eval unclip --out runs/unclip --stop-after 60     # again to go on
    unicon eval unclip --out runs/unclip --tables            # of what is there so far

Every result is one line of `results.jsonl`; the same command goes on where it was stopped. Guidance in the
ways told an embedding is by caption and embedding alike, as the paper drops both; with --caption-guidance it
is by the embedding, beside that scale of the caption. A prior whose pictures are drawn is not guided.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eval.digests import digest, digest_of, digest_of_base, digests_of_adapters
from eval.emergence import image_features
from eval.features import FeatureSet
from eval.metrics import likeness
from eval.metrics.embeddings import embedding_scores
from eval.protocols.distributions import distances
from eval.protocols.readers import digest_of_reader, generators, load_judge
from eval.protocols.scene_set import SceneSet
from eval.protocols.unclip_look import JudgeFeatures, LightReader, lights_of
from eval.protocols.unclip_report import RESULTS
from eval.protocols.unclip_swap import Truth, scored, swaps
from eval.records import Record, append, read
from unicon.pipeline import UniConPipeline
from unicon.prior import PriorSettings
from unicon.prior_ar import ArPriorSettings
from unicon.sampling.noise import NoiseSource
from unicon.sources import MINI

WAYS = ("base", "caption", "text", "prior", "prior_ar", "oracle")
PRIORS: dict[str, PriorSettings | ArPriorSettings] = {"prior": PriorSettings(), "prior_ar": ArPriorSettings()}
TOLD = ("text", "prior", "prior_ar", "oracle")
"""Ways whose pictures are told an embedding."""
PRIOR_GUIDANCE = (1.0, 2.0, 4.0)
"""At which the diffusion prior's embeddings are looked at; pictures are drawn of those at 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much is drawn; part of every result."""

    num: int = 64
    """Captions."""
    draws: int = 4
    """Pictures of each caption."""
    reals: int = 512
    """True pictures that sets are compared with; the captions' own are among them."""
    steps: int = 20
    condition: str = "depth"
    caption_guidance: float | None = None
    """Scale of the caption in ways that are told an embedding; None: that of the embedding."""
    guidance_below: float = 1.0
    """Most noise, a fraction of the grid, at which is guided; 1: always."""

    def __post_init__(self) -> None:
        if self.draws < 2 or self.num < 4 or self.reals <= self.num:
            raise ValueError(
                f"num is {self.num}, draws is {self.draws}, reals is {self.reals}; expected at least 4 "
                "captions, 2 pictures of each, and more true pictures than captions (the others teach the "
                "reader of light)"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One set of pictures."""

    way: str
    guidance: float
    mapped: bool
    """Whether the true map is given."""
    seed: int


def cells(ways: Sequence[str], scales: Sequence[float], seeds: int) -> list[Cell]:
    """All of them, those of one seed first, so that a part is a whole picture already."""
    order = product(range(seeds), scales, (False, True), ways)
    return [Cell(way=way, guidance=scale, mapped=mapped, seed=seed) for seed, scale, mapped, way in order]


class Bench:
    """The scenes, their embeddings, and what is measured of pictures of them."""

    def __init__(
        self, pipe: UniConPipeline, scenes: SceneSet, budget: Budget, batch_size: int, judge: str = MINI
    ):
        """`judge` reads maps, as `eval.protocols.readers.load_judge` takes it. Raises ValueError for a base
        without an image encoder."""
        self.encoder = image_features(pipe)
        if self.encoder is None:
            raise ValueError(
                "this base has no image encoder to measure with; use mini, or a base saved with one"
            )
        self.pipe, self.budget, self.batch_size, self.judge = pipe, budget, batch_size, judge
        self.weights = fingerprint(pipe, judge)
        self.reader = load_judge(judge, pipe, budget.steps, batch_size)
        self.own = scenes.take(range(budget.num))
        self.captions = self.own.captions
        self.maps = self.own.maps(budget.condition)
        pictures, lights = _pictures(scenes.images), lights_of(scenes.seeds.tolist())
        self.lights = LightReader.fitted(pictures[budget.num :], lights[budget.num :])
        self.judge_features = JudgeFeatures.of(pictures, pipe.device)
        self.real = self._features(pictures)
        self.judge_real = self.judge_features(pictures)
        self.true = self.real[: budget.num]
        self.text = pipe.embed_texts(self.captions).z.cpu()
        self.truth = Truth(
            seeds=self.own.seeds.tolist(), pictures=pictures[: budget.num], z=self.true,
            maps=torch.from_numpy(self.maps).movedim(-1, 1).float(), lights=lights[: budget.num],
        )  # fmt: skip

    @torch.no_grad()
    def _features(self, pictures: Tensor) -> Tensor:
        """Unit embeddings (n, width), on the CPU."""
        assert self.encoder is not None, "__init__ has seen to it"
        return torch.cat([self.encoder(part).cpu() for part in pictures.split(self.batch_size)])

    # --- priors -------------------------------------------------------------------------------------------

    def imagined(self, way: str, seed: int, guidance: float = 1.0) -> Tensor:
        """A prior's embeddings of the captions; guidance is the diffusion prior's."""
        noise = NoiseSource.from_generator(generators(self.own.seeds.tolist(), seed, way), len(self.captions))
        settings = PRIORS[way]
        if isinstance(settings, PriorSettings):
            settings = replace(settings, guidance_scale=guidance)
        return self.pipe.imagine(self.captions, settings, noise).cpu()

    def told(self, way: str, seed: int, guidance: float = 1.0) -> Tensor | None:
        """What a way's pictures are told."""
        if way in PRIORS:
            return self.imagined(way, seed, guidance)
        return {"text": self.text, "oracle": self.true}.get(way)

    def monitored(self, way: str, seed: int, guidance: float = 1.0) -> dict[str, float]:
        """How near a way's embeddings are to what they are meant to be."""
        z = self.told(way, seed, guidance)
        assert z is not None, "only ways that are told something are monitored"
        return embedding_scores(*(each.float().numpy() for each in (z, self.true, self.text)))

    # --- pictures -----------------------------------------------------------------------------------------

    def measured(self, cell: Cell) -> dict[str, float]:
        """All numbers of a set of pictures."""
        drawn = self.drawn(cell)
        found = self._features(drawn)
        own = found.unflatten(0, (self.budget.num, self.budget.draws))
        seen = self.judge_features(drawn).reshape(self.budget.num, self.budget.draws, -1)
        by_judge = _apart(self.judge_real, seen[:, 0], "the judge", cell.seed)
        return {
            **_apart(self.real.numpy(), own[:, 0].numpy(), "the base's CLIP", cell.seed),
            "diversity": diversity(own),
            **{f"judge_{name}": value for name, value in by_judge.items()},
            "judge_diversity": likeness.diversity(_by_caption(seen), "euclidean").mean,
            "clip_score": float((own * self.text[:, None]).sum(-1).mean()),
            "to_picture": float((own * self.true[:, None]).sum(-1).mean()),
            "control": self._control(drawn),
        }

    def of_true_pictures(self) -> dict[str, float]:
        """What the readers say about the captions' own pictures: no drawing can be expected to do better."""
        read, truth = self.lights(self.truth.pictures), self.truth.lights
        return {
            "control": self._control(self.truth.pictures),
            "clip_score": float((self.true * self.text).sum(-1).mean()),
            "light": float(np.mean([a == b for a, b in zip(read, truth, strict=True)])),
        }

    def drawn(self, cell: Cell) -> Tensor:
        """Pictures (num * draws, 3, H, W), those of one caption in a row."""
        z, n = self.told(cell.way, cell.seed), self.budget.draws
        at_once = max(1, self.batch_size // n)
        parts = []
        for first in range(0, self.budget.num, at_once):
            rows = slice(first, first + at_once)
            keys = [int(seed) * n + draw for seed in self.own.seeds[rows] for draw in range(n)]
            out: Any = self.pipe(
                self.captions[rows],
                conditions={self.budget.condition: list(self.maps[rows])} if cell.mapped else {},
                outputs=["image"],
                like=_like(cell.way, z, rows),
                num_inference_steps=self.budget.steps,
                guidance_scale=self._caption_guidance(cell),
                like_guidance_scale=cell.guidance if cell.way in TOLD else 1.0,
                guidance_interval=(0.0, self.budget.guidance_below if self._guides(cell) else 1.0),
                num_images_per_prompt=n,
                # The same noise in every way: they differ in what they are told alone.
                generator=generators(keys, cell.seed, "unclip"),
                output_type="pt",
            )
            parts.append(out.images.float().cpu())
        return torch.cat(parts)

    def _guides(self, cell: Cell) -> bool:
        return cell.guidance != 1 or self._caption_guidance(cell) != 1

    def _caption_guidance(self, cell: Cell) -> float:
        own = self.budget.caption_guidance
        return cell.guidance if own is None or cell.way not in TOLD else own

    def swapped(self, seed: int) -> dict[str, float]:
        """What each scene shows in the map of the next."""
        drawn = swaps(
            self.pipe, self.truth, condition=self.budget.condition, steps=self.budget.steps, seed=seed,
            batch_size=self.batch_size,
        )  # fmt: skip
        return scored(drawn, self._features(drawn), self._read(drawn), self.truth, self.lights)

    def _read(self, drawn: Tensor) -> Tensor:
        """Maps (n, 3, H, W) of pictures (n, 3, H, W), of one caption in a row."""
        pixels = (drawn.clamp(0, 1) * 255).round().byte().movedim(1, -1).numpy()
        keys = np.repeat(self.own.seeds, len(drawn) // self.budget.num).tolist()
        read = self.reader.read(pixels, self.budget.condition, keys, 0).maps
        return torch.from_numpy(read).movedim(-1, 1).float()

    def _control(self, drawn: Tensor) -> float:
        """Mean absolute difference of the true maps and those read back, in shares of their range."""
        true = self.truth.maps.repeat_interleave(len(drawn) // self.budget.num, 0)
        return float((self._read(drawn) - true).abs().mean())


def _pictures(pixels: np.ndarray) -> Tensor:
    """(n, H, W, 3) uint8 -> (n, 3, H, W) in [0, 1]."""
    return torch.from_numpy(pixels).movedim(-1, 1).float() / 255


def _apart(real: np.ndarray, drawn: np.ndarray, source: str, seed: int) -> dict[str, float]:
    """How far features of drawn pictures are from those of true ones.

    One drawing of each caption: several of one are no independent samples.
    """
    sets = [
        FeatureSet(values=rows, names=tuple(map(str, range(len(rows)))), source=source)
        for rows in (real, drawn)
    ]
    numbers = distances(*sets, ks=[3], seed=seed)
    kept = ("frechet", "kid", "precision", "recall", "density", "coverage", "rarity")
    return {name: float(numbers[name]) for name in kept if name in numbers}


def _by_caption(own: Any) -> dict[str, np.ndarray]:
    return {str(number): np.asarray(draws) for number, draws in enumerate(own)}


def _like(way: str, z: Tensor | None, rows: slice) -> Any:
    """`like` of a call."""
    if way == "base":
        return None
    return False if z is None else z[rows]


def diversity(own: Tensor) -> float:
    """Mean of 1 - cosine over pairs of draws of one caption; own (captions, draws, width)."""
    return likeness.diversity(_by_caption(own)).mean


# --- running ----------------------------------------------------------------------------------------------


def done(out: Path, budget: Budget, weights: str | None = None) -> list[Record]:
    """Results of this budget, of these weights or, if not said, of those of the newest result."""
    path = out / RESULTS
    found = read(path) if path.exists() else []
    usual = asdict(Budget())  # what older results do not say
    found = [r for r in found if all(r.settings.get(n, usual[n]) == v for n, v in asdict(budget).items())]
    if weights is None and found:
        weights = str(found[-1].settings["weights"])
    return [r for r in found if r.settings["weights"] == weights]


def fingerprint(pipe: UniConPipeline, judge: str = MINI) -> str:
    """Changes with everything that draws or measures, and with its number format, so that results of other
    weights are not taken for these."""
    parts = {"base": digest_of_base(pipe), **digests_of_adapters(pipe)}
    if pipe.decoder is not None:
        parts["decoder adapter"] = f"{pipe.decoder.config} {digest_of(pipe.decoder)}"
    parts |= {f"reader {name}": str(digest_of_reader(name)) for name in (MINI, judge)}
    return digest(f"{pipe.unet.dtype} {sorted(parts.items())}")


def run(bench: Bench, out: Path, todo: Sequence[Cell], stop_after: float = math.inf) -> int:
    """Measure what is not there yet; how many sets are left when the time is over."""
    started, spent = time.monotonic(), []
    records = done(out, bench.budget, bench.weights)
    for settings in _monitoring(todo):
        if not any(settings.items() <= r.settings.items() for r in records):
            way, seed, guidance = settings["monitored"], settings["seed"], settings["prior_guidance"]
            _note(out, bench, bench.monitored(way, seed, guidance), settings)
    if not any(r.settings.get("true") for r in records):
        _note(out, bench, bench.of_true_pictures(), {"true": True})
    for seed in dict.fromkeys(cell.seed for cell in todo):
        if not any(r.settings.get("swap") and r.settings["seed"] == seed for r in records):
            _note(out, bench, bench.swapped(seed), {"swap": True, "seed": seed})
    fields = tuple(asdict(todo[0]))
    finished = {tuple(r.settings[f] for f in fields) for r in records if "way" in r.settings}
    left = [cell for cell in todo if tuple(asdict(cell).values()) not in finished]
    for number, cell in enumerate(left):
        if time.monotonic() - started > stop_after:
            return len(left) - number
        begun = time.monotonic()
        numbers = bench.measured(cell)
        _note(out, bench, numbers, asdict(cell))
        spent.append(time.monotonic() - begun)
        rest = (len(left) - number - 1) * sum(spent) / len(spent)
        shown = ", ".join(f"{name} {numbers[name]:.3f}" for name in ("frechet", "diversity", "clip_score"))
        print(f"{_said(cell)}: {shown} ({len(left) - number - 1} left, {rest / 60:.0f} min)", file=sys.stderr)
    return 0


def _monitoring(todo: Sequence[Cell]) -> Iterator[dict[str, Any]]:
    """Whose embeddings are looked at, with which seed and guidance of the prior; those that are not drawn
    have one."""
    for way, seed in dict.fromkeys((cell.way, cell.seed) for cell in todo):
        if way in PRIORS or (way in TOLD and seed == 0):
            for guidance in PRIOR_GUIDANCE if way == "prior" else (1.0,):
                yield {"monitored": way, "seed": seed, "prior_guidance": guidance}


def _said(cell: Cell) -> str:
    return f"{cell.way}, guidance {cell.guidance:g}{', map' if cell.mapped else ''}, seed {cell.seed}"


def _note(out: Path, bench: Bench, numbers: Mapping[str, float], settings: Mapping[str, Any]) -> None:
    told = {**settings, **asdict(bench.budget), "weights": bench.weights, "judge": bench.judge}
    append(out / RESULTS, Record(name="unclip", numbers=dict(numbers), settings=told))


def ways_of(pipe: UniConPipeline, wanted: Sequence[str] | None = None) -> tuple[str, ...]:
    """Those for which the pipeline has all parts, or of them the `wanted`. ValueError without a decoder
    adapter, and for one that is wanted and has no prior."""
    if pipe.decoder is None:
        raise ValueError("there is no decoder adapter to measure: give --decoder FOLDER")
    found = tuple(way for way in WAYS if way not in PRIORS or getattr(pipe, way) is not None)
    if missing := [way for way in wanted or () if way not in found]:
        raise ValueError(f"--told {missing[0]}: this base has no such prior; give --prior FOLDER")
    return tuple(way for way in found if wanted is None or way in wanted)
