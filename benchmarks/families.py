"""Do models of several families make something new, by the same measures, and which rare modes do they make?

    python benchmarks/families.py --scenes runs/mini/scenes [--out runs/families]
    python benchmarks/families.py --make VAE,GAN --out runs/families    # their pictures alone
    python benchmarks/families.py --tables        # of what is there so far

A VAE and a GAN are trained on scenes for some minutes each, in the latents of the mini base, so that all
models share one decoder; beside them stand the base itself (text alone) and the picture halves of its joint
samples. All are compared with the same training pictures, in several features: the mini image encoder's, the
judge's, and the base's own UNet's. What the numbers of perfect and of faulty models are is told by scenes
that no model has seen, the same through the decoder, copies, and rooms alone.

Then rarity itself: 1% of the training pictures get an attribute that the others lack (a kind of object, a
light, a style), and fresh pictures with and without it are ranked, over several draws. And modes: ground and
sky of a field are named in captions, exactly; a classifier (logistic regression on features) finds them in
what was made, and a mode counts as recovered where it is found more often than false alarms explain.

Running it again goes on where it was stopped. (Not under `unicon eval`: measurements there do not train.)
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from adapters.files import write_array, write_arrays
from eval.features import Extractor, FeatureSet, read_features, square
from eval.judge import load_judge_network, pooled
from eval.manifold.manifold import Manifold
from eval.metrics.ranking import auc
from eval.metrics.summary import markdown_table, over_seeds
from eval.originality.copies import judge as judge_copies
from eval.originality.look import describe, nearest_look
from eval.protocols.distributions import distances
from eval.protocols.drawing import Painter, as_bytes
from eval.protocols.readers import judge_folder
from eval.protocols.scene_set import scene_set
from eval.protocols.setup import load_pipeline
from eval.records import Record, append, read
from eval.runs.settings import digest_of_reader
from train.config import LoopConfig, RunConfig
from train.loop import fit
from train.objectives.base import Draws, Objective
from train.shards import open_shards
from unicon.data.scenes import SceneConfig, render
from unicon.latents import decode, encode
from unicon.pictures import as_array, as_pictures
from unicon.pipeline import UniConPipeline

RESULTS = "results.jsonl"
SHOWN = ("rarity", "precision", "recall", "density", "coverage", "realism_median", "frechet", "near_copies")
FEATURES = ("mini", "judge", "unet")
OF_MODES = ("mini", "judge")
"""In which modes are found, which needs features of all scenes: the UNet's take too long."""
RARE = {"kind": "held_out_kinds", "light": "held_out_lights", "style": "watercolour"}
"""Attributes that training scenes lack: two splits of the evaluation's scenes, and a style."""
STYLE_SEED = 850_000
CLEAN_TIMESTEP = 150
"""What the mini UNet is told about pictures without noise (`train.objectives.base_unet`)."""
PIECE = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much is spent; part of every result."""

    num: int = 120
    """Pictures of each model."""
    reference: int = 1000
    """Training pictures that all are compared with."""
    training: int = 3600
    """Scenes that the VAE and the GAN learn from."""
    steps: int = 10
    """Of the base's and the joint model's sampling."""
    vae_steps: int = 500
    gan_steps: int = 400
    rare: int = 100
    """Fresh pictures with a rare attribute, and twice as many without."""
    draws: int = 10

    def of_scenes(self) -> dict[str, int]:
        """What decides about scenes alone, whatever models are trained and sampled."""
        return {name: getattr(self, name) for name in ("reference", "training", "rare")}


# --- two small models -------------------------------------------------------------------------------------


class Block(nn.Module):
    """Adds nothing at first."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.leaky_relu(self.first(F.leaky_relu(x, 0.2)), 0.2))


class FromCode(nn.Module):
    """Codes (n, width) to latents (n, C, 16, 16)."""

    def __init__(self, code: int, channels: int, widths: tuple[int, int, int] = (96, 64, 48)):
        super().__init__()
        self.first = nn.Linear(code, 16 * widths[0])
        self.up = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(widths, widths[1:], strict=False))
        self.blocks = nn.ModuleList(Block(width) for width in widths)
        self.last = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        x = self.blocks[0](self.first(code).unflatten(1, (-1, 4, 4)))
        for up, block in zip(self.up, list(self.blocks)[1:], strict=True):
            x = block(F.interpolate(up(x), scale_factor=2.0, mode="bilinear"))
        return self.last(F.leaky_relu(x, 0.2))


class ToCode(nn.Module):
    """Latents (n, C, 16, 16) to numbers (n, width)."""

    def __init__(self, width: int, channels: int, widths: tuple[int, int, int] = (48, 64, 96)):
        super().__init__()
        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(widths, widths[1:], strict=False))
        self.blocks = nn.ModuleList(Block(each) for each in widths)
        self.last = nn.Linear(16 * widths[-1], width)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.blocks[0](self.first(latents))
        for down, block in zip(self.down, list(self.blocks)[1:], strict=True):
            x = block(F.avg_pool2d(down(x), 2))
        return self.last(F.leaky_relu(x, 0.2).flatten(1))


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """A VAE or a GAN of latents."""

    kind: str
    code: int = 128
    num: int = 4096

    def build(self, folder: Path) -> OfLatents:
        """The objective, on the first `num` latents of a file."""
        latents = np.load(folder / "latents.npy", mmap_mode="r")
        return {"vae": Vae, "gan": Gan}[self.kind](self, latents[: self.num])


class OfLatents(Objective):
    """What both share: latents of deviation 1, and codes that pictures are made from."""

    def __init__(self, config: ModelConfig, latents: np.ndarray):
        super().__init__()
        self.config, self.latents = config, latents
        torch.manual_seed(0)
        channels = latents.shape[1]
        self.made = FromCode(config.code, channels)
        self.own = ToCode(2 * config.code if config.kind == "vae" else 1, channels)

    @property
    def num_items(self) -> int:
        return len(self.latents)

    def draw(self, generator: torch.Generator, items: Tensor) -> Draws:
        return Draws(code=torch.randn(len(items), self.config.code, generator=generator))

    def _real(self, items: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(self.latents[items], dtype=np.float32)).to(self.device)

    @torch.no_grad()
    def sample(self, num: int, seed: int) -> Tensor:
        """Latents."""
        generator = torch.Generator().manual_seed(seed)
        return self.made(torch.randn(num, self.config.code, generator=generator))

    def export(self, folder: Path) -> None:
        save_file({k: v.contiguous() for k, v in self.made.state_dict().items()}, folder / "made.safetensors")


class Vae(OfLatents):
    """With the decoder's deviation learnt (Rybkin et al. 2021), so that nothing weighs its two terms."""

    def __init__(self, config: ModelConfig, latents: np.ndarray):
        super().__init__(config, latents)
        self.log_deviation = nn.Parameter(torch.zeros(()))

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        real = self._real(items)
        mean, log_variance = self.own(real).chunk(2, dim=1)
        log_variance = log_variance.clamp(-12, 6)
        code = mean + (log_variance / 2).exp() * draws["code"].to(self.device)
        square = (self.made(code) - real).square().flatten(1)
        surprise = (square / (2 * self.log_deviation).exp() / 2 + self.log_deviation).sum(1)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return (surprise + divergence) / square.shape[1], {"square": square.mean(1), "nats": divergence}


class Gan(OfLatents):
    """Relativistic, with zero-centred penalties on both sides (Huang et al. 2024, "R3GAN").

    Both players step at once: the generator's loss sees the critic's weights as they are, detached.
    """

    penalty = 1.0

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        real = self._real(items)
        made = self.made(draws["code"].to(self.device))
        of_real, of_made = self.own(real)[:, 0], self.own(made.detach())[:, 0]
        penalty = self._penalty(real, made.detach())
        frozen = {name: p.detach() for name, p in self.own.named_parameters()}
        fooled = torch.func.functional_call(self.own, frozen, (made,))[:, 0]
        critic = F.softplus(of_made - of_real) + 0.5 * self.penalty * penalty
        maker = F.softplus(of_real.detach() - fooled)
        return critic + maker, {"critic": critic, "maker": maker, "penalty": penalty}

    def _penalty(self, real: Tensor, made: Tensor) -> Tensor:
        """Squared slopes of the critic, per picture (n,): of every fourth, which count for four."""
        few = [each[::4].clone().requires_grad_() for each in (real, made)]
        slopes = torch.autograd.grad(sum(self.own(each).sum() for each in few), few, create_graph=True)
        penalty = torch.zeros(len(real), device=real.device)
        penalty[::4] = 4 * sum(slope.square().flatten(1).sum(1) for slope in slopes)
        return penalty


def trained(kind: str, out: Path, budget: Budget) -> OfLatents:
    """Trained now, or before."""
    config = ModelConfig(kind=kind, num=budget.training)
    steps = budget.vae_steps if kind == "vae" else budget.gan_steps
    loop = LoopConfig(
        steps=steps, batch_size=32, learning_rate=1e-3 if kind == "vae" else 3e-4, weight_decay=0.0,
        betas=(0.9, 0.99) if kind == "vae" else (0.0, 0.99), clip_norm=1000.0, ema_decay=0.998,
        decay_share=0.3, mixed_precision="no", checkpoint_every=250,
    )  # fmt: skip
    objective, run = config.build(out), out / f"{kind}-{steps}"
    if not (run / "export").exists():
        fit(objective, RunConfig(name=kind, objective=config, loop=loop), run)
    objective.made.load_state_dict(load_file(run / "export" / "made.safetensors"))
    return objective.eval()


# --- pictures ---------------------------------------------------------------------------------------------


class Sets:
    """All sets of pictures, (n, H, W, 3) uint8, each made once and kept below a folder."""

    def __init__(self, out: Path, shards: Path, budget: Budget, cache_folder: str | None, workers: int):
        self.out, self.budget = out, budget
        self.scenes = open_shards(shards)
        self.render = partial(scene_set, cache_folder=cache_folder, workers=workers)
        if len(self.scenes) < budget.training + budget.num:
            raise ValueError(
                f"{shards} holds {len(self.scenes)} scenes; expected {budget.training} to learn from and "
                f"{budget.num} that are not: render more (unicon train mini-fast/scenes)"
            )

    @property
    def pipe(self) -> UniConPipeline:
        return _pipeline()

    @property
    def fresh(self) -> range:
        """Scenes that neither the VAE nor the GAN learn from."""
        return range(self.budget.training, len(self.scenes))

    def real(self, items: Sequence[int]) -> np.ndarray:
        return self.scenes.gather("image", np.asarray(items))

    def reference(self) -> np.ndarray:
        return self.real(range(self.budget.reference))

    def of(self, name: str) -> np.ndarray:
        """By its name in `MODELS`."""
        return MODELS[name](self)

    def held_out(self) -> np.ndarray:
        return self.real(self.fresh[: self.budget.num])

    def copies(self) -> np.ndarray:
        chosen = np.random.default_rng(0).choice(self.budget.reference, self.budget.num, replace=False)
        return self.real(chosen)

    def rooms(self) -> np.ndarray:
        indoors = [n for n in self.fresh if "room" in self.scenes.captions[n]]
        return self.real(indoors[: self.budget.num])

    def decoded(self) -> np.ndarray:
        """Held-out scenes through the compressor."""
        scenes = self.held_out()
        return self._kept("through the decoder", lambda s: self._decoded(self._encoded(scenes[s])))

    def sampled(self, kind: str) -> np.ndarray:
        @cache
        def latents() -> Tensor:
            scale = self.scaled_latents()
            return trained(kind, self.out, self.budget).sample(self.budget.num, 0) / scale

        steps = self.budget.vae_steps if kind == "vae" else self.budget.gan_steps
        return self._kept(f"{kind}-{steps}", lambda span: self._decoded(latents()[span]))

    def scaled_latents(self) -> float:
        """Write those of the training scenes, of deviation 1; what they were multiplied by."""
        path = self.out / "latents.npy"
        if not path.is_file():
            spans = range(0, self.budget.training, 64)
            parts = [self._encoded(self.real(range(n, min(n + 64, self.budget.training)))) for n in spans]
            whole = torch.cat(parts).numpy()
            write_array(self.out / "scale.npy", np.array(1 / whole.std()))
            write_array(path, (whole / whole.std()).astype(np.float16))
        return float(np.load(self.out / "scale.npy"))

    def drawn(self, is_joint: bool) -> np.ndarray:
        """From captions of scenes that no training has seen."""
        scenes = self.render("standard", self.budget.num)
        painter = Painter(pipe=self.pipe, steps=self.budget.steps)

        def make(span: slice) -> np.ndarray:
            if is_joint:
                return painter.joint(scenes.take(range(*span.indices(len(scenes)))), "depth", 0).pictures
            generators = [torch.Generator().manual_seed(int(seed)) for seed in scenes.seeds[span]]
            made = self.pipe(
                scenes.captions[span], num_inference_steps=self.budget.steps, generator=generators,
                output_type="np",
            ).images  # fmt: skip
            return as_bytes(made)

        return self._kept(f"{'joint' if is_joint else 'base'}-{self.budget.steps}", make)

    def captions(self) -> list[str]:
        return self.render("standard", self.budget.num).captions

    def rare(self, attribute: str) -> np.ndarray:
        """Pictures with an attribute that training scenes lack."""
        num = self.budget.rare + round(0.01 * self.budget.reference)
        if attribute != "style":
            return self.render(RARE[attribute], num).images
        config = SceneConfig(styles=(RARE["style"],), second_view=False)
        return self._kept(
            "style",
            lambda span: np.stack([render(STYLE_SEED + n, config).image for n in range(num)[span]]),
            num,
        )

    def _kept(self, name: str, make: Callable[[slice], np.ndarray], num: int | None = None) -> np.ndarray:
        """Pieces of a set, made where they are not there."""
        num, parts = num or self.budget.num, []
        for start in range(0, num, PIECE):
            stop = min(start + PIECE, num)
            path = self.out / "pictures" / name / f"{start:06d}-{stop:06d}.npz"
            if not path.is_file():
                print(f"{name}: {start} of {num}", file=sys.stderr)
                write_arrays(path, {"images": make(slice(start, stop))}, compressed=True)
            with np.load(path) as packed:
                parts.append(packed["images"])
        return np.concatenate(parts)

    @torch.no_grad()
    def _encoded(self, pictures: np.ndarray) -> Tensor:
        return encode(self.pipe.vae, as_pictures(pictures, "scenes"))

    @torch.no_grad()
    def _decoded(self, latents: Tensor) -> np.ndarray:
        return as_bytes(as_array(decode(self.pipe.vae, latents)))


@cache
def _pipeline() -> UniConPipeline:
    return load_pipeline("mini", "cpu", "auto", ["depth"])


MODELS: dict[str, Callable[[Sets], np.ndarray]] = {
    "held-out scenes": Sets.held_out,
    "the same, through the decoder": Sets.decoded,
    "copier": Sets.copies,
    "rooms alone": Sets.rooms,
    "VAE": lambda sets: sets.sampled("vae"),
    "base": lambda sets: sets.drawn(is_joint=False),
    "joint with depth": lambda sets: sets.drawn(is_joint=True),
    "GAN": lambda sets: sets.sampled("gan"),
}


# --- features ---------------------------------------------------------------------------------------------


def of_mini(pictures: np.ndarray) -> np.ndarray:
    """The mini image encoder's."""
    extractor = _extractor()
    return extractor.of_pixels(
        np.stack([square(Image.fromarray(each), extractor.side_px) for each in pictures])
    )[0]


@cache
def _extractor() -> Extractor:
    return Extractor()


@torch.inference_mode()
def of_judge(pictures: np.ndarray) -> np.ndarray:
    """Means and deviations over the picture of what the judge that ships sees, at two resolutions."""
    return pooled(*_judge_network().features(as_pictures(pictures, "pictures")))


@cache
def _judge_network():
    folder = judge_folder("mini")
    assert folder is not None
    return load_judge_network(folder)


@torch.inference_mode()
def of_unet(pictures: np.ndarray) -> np.ndarray:
    """The same of the base's UNet, at its lowest resolution and where its last transformer reads."""
    pipe, seen = _pipeline(), []
    blocks = (pipe.unet.mid_block, pipe.unet.up_blocks[-1].attentions[-1])
    hooks = [block.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for block in blocks]
    try:
        latents = encode(pipe.vae, as_pictures(pictures, "pictures")).to(pipe.unet.dtype)
        text = pipe.encode_prompts([""]).expand(len(latents), -1, -1).to(pipe.unet.dtype)
        pipe.unet(latents, CLEAN_TIMESTEP, text)
    finally:
        for hook in hooks:
            hook.remove()
    return pooled(*seen)


OF_SCENES = ("reference", "fresh", "all training", "all fresh", *(f"rare {name}" for name in RARE))
"""Sets that are no model's."""
EXTRACTORS = {"mini": of_mini, "judge": of_judge, "unet": of_unet}


class Embedded:
    """Features of sets, each found once."""

    def __init__(self, sets: Sets, out: Path):
        self.sets, self.out = sets, out

    def __call__(self, features: str, name: str, pictures: Callable[[], np.ndarray]) -> np.ndarray:
        """(n, D) float32 in deviations of the reference's; the mini encoder's, which lie on a sphere, as
        they are."""
        values = self._values(features, name, pictures)
        if features == "mini":
            return values
        reference = self._values(features, "reference", self.sets.reference)
        return (values - reference.mean(0)) / (reference.std(0) + 1e-6)

    def _values(self, features: str, name: str, pictures: Callable[[], np.ndarray]) -> np.ndarray:
        budget = self.sets.budget
        kept = (budget.of_scenes() if name in OF_SCENES else asdict(budget)).values()
        whose = f"judge-{digest_of_reader('mini')}" if features == "judge" else features
        folder = self.out / f"features-{'-'.join(map(str, kept))}"
        path = folder / f"{whose}_{name.replace(' ', '_')}.npz"
        if not path.is_file():
            print(f"{features} features: {name}", file=sys.stderr)
            images = pictures()
            parts = [EXTRACTORS[features](images[n : n + 32]) for n in range(0, len(images), 32)]
            names = tuple(map(str, range(len(images))))
            FeatureSet(values=np.concatenate(parts), names=names, source=features).save(path)
        return read_features(path).values


# --- what is measured -------------------------------------------------------------------------------------


def model_numbers(embedded: Embedded, model: str, features: str) -> dict[str, float]:
    """Of one model, in one kind of features."""
    sets = embedded.sets
    both = [
        FeatureSet(values=rows, names=tuple(map(str, range(len(rows)))), source=features)
        for rows in (
            embedded(features, "reference", sets.reference),
            embedded(features, model, lambda: sets.of(model)),
        )
    ]
    numbers = {name: float(value) for name, value in distances(both[0], both[1], ks=(3,)).items()}
    return numbers | {"near_copies": near_copies(sets, model)}


@cache
def near_copies(sets: Sets, model: str) -> float:
    """Share of its pictures that are copies of training pictures by look."""
    pictures, own = looks(sets)
    found = judge_copies(*nearest_look(describe(_images(sets.of(model))), pictures), own)
    return float(found.is_copy.mean())


@cache
def looks(sets: Sets):
    """Of the reference, and how near each of it has another."""
    known = describe(_images(sets.reference()))
    return known, nearest_look(known, known, same=True)[0]


def _images(pictures: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(each) for each in pictures]


def ranking(embedded: Embedded, attribute: str, features: str, draw: int) -> dict[str, float]:
    """How well rarity ranks fresh pictures with an attribute of 1% of the reference, in one draw."""
    sets, budget = embedded.sets, embedded.sets.budget
    rng = np.random.default_rng(draw)
    reference = embedded(features, "reference", sets.reference)
    odd = embedded(features, f"rare {attribute}", lambda: sets.rare(attribute))
    num_common = min(2 * budget.rare, len(sets.fresh))
    common = embedded(features, "fresh", lambda: sets.real(sets.fresh[:num_common]))
    odd = odd[rng.permutation(len(odd))]
    num_planted = max(1, round(0.01 * len(reference)))
    kept = rng.permutation(len(reference))[num_planted:]
    real = np.concatenate([reference[kept], odd[:num_planted]])
    found = Manifold(real).compare(np.concatenate([common, odd[num_planted:]]), recall=False)[0]
    is_rare = np.arange(len(found.rarity)) >= num_common
    inside = ~np.isnan(found.rarity)
    # A picture outside of all balls is farther from training pictures than any inside.
    whole = np.where(inside, found.rarity, np.inf)
    return {
        "auc_inside": auc(found.rarity[inside & is_rare], found.rarity[inside & ~is_rare]),
        "auc_outside_is_rarest": auc(whole[is_rare], whole[~is_rare]),
        "outside_of_rare": float((~inside)[is_rare].mean()),
        "outside_of_common": float((~inside)[~is_rare].mean()),
        "num_planted": num_planted, "num_rare": int(is_rare.sum()), "num_common": num_common,
    }  # fmt: skip


# --- modes ------------------------------------------------------------------------------------------------

ELSEWHERE = "elsewhere"
"""A room or a table."""
RARE_MODE = 0.015
"""A mode with at most this share of the training scenes is rare."""


def mode_of(caption: str) -> str | None:
    """Ground and sky of a field, `ELSEWHERE`, or None where the caption names no place."""
    if found := re.search(r" on (?:an? )?((?:\w+ )?\w+) under an? (\w+) sky", caption):
        return f"{found[1]}, {found[2]} sky"
    return ELSEWHERE if re.search(r" (in a room|on an? [\w ]*table)\b", caption) else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """Logistic regression on features."""

    modes: list[str]
    weights: Tensor
    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, modes: Sequence[str], decay: float = 1e-3) -> Classifier:
        """Fitted by LBFGS; `decay` times half the squared weights is added to the mean cross-entropy."""
        names = sorted(set(modes))
        mean, deviation = features.mean(0), features.std(0) + 1e-6
        x = F.pad(torch.from_numpy((features - mean) / deviation).float(), (0, 1), value=1.0)
        y = torch.tensor([names.index(mode) for mode in modes])
        weights = torch.zeros(x.shape[1], len(names), requires_grad=True)
        optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = F.cross_entropy(x @ weights, y) + 0.5 * decay * weights[:-1].square().sum()
            value.backward()
            return value

        optimizer.step(loss)  # pyright: ignore[reportArgumentType]
        return cls(modes=names, weights=weights.detach(), mean=mean, deviation=deviation)

    def __call__(self, features: np.ndarray) -> list[str]:
        """The likeliest mode of each."""
        x = F.pad(torch.from_numpy((features - self.mean) / self.deviation).float(), (0, 1), value=1.0)
        return [self.modes[n] for n in (x @ self.weights).argmax(1).tolist()]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModeFinder:
    """A classifier and its errors, measured on scenes that it has not seen."""

    classifier: Classifier
    shares: dict[str, float]
    """Of each mode among the training scenes whose place is named."""
    found: dict[str, float]
    """Share of a mode's scenes that are found; those of rare modes only with an example."""
    false_alarms: dict[str, float]
    """Share of other scenes that are taken for it, with half a scene added (none seen is not none)."""
    accuracy: float

    @property
    def rare(self) -> list[str]:
        return [mode for mode, share in self.shares.items() if share <= RARE_MODE and mode != ELSEWHERE]


def find_modes(embedded: Embedded, features: str) -> ModeFinder:
    """Learnt from the scenes that models learn from; errors on the others."""
    sets = embedded.sets
    learnt, fresh = range(sets.budget.training), sets.fresh
    known = {n: mode for n, caption in enumerate(sets.scenes.captions) if (mode := mode_of(caption))}
    values = [
        embedded(features, "all training", lambda: sets.real(learnt)),
        embedded(features, "all fresh", lambda: sets.real(fresh)),
    ]
    own, other = [n for n in learnt if n in known], [n for n in fresh if n in known]
    classifier = Classifier.of(values[0][own], [known[n] for n in own])
    counts = Counter(known[n] for n in own)
    said = classifier(values[1][[n - fresh.start for n in other]])
    true = [known[n] for n in other]
    modes = classifier.modes
    return ModeFinder(
        classifier=classifier,
        shares={mode: counts[mode] / len(own) for mode in modes},
        found={
            mode: sum(s == mode for s, t in zip(said, true, strict=True) if t == mode) / true.count(mode)
            for mode in modes
            if mode in true
        },
        false_alarms={
            mode: (sum(s == mode for s, t in zip(said, true, strict=True) if t != mode) + 0.5)
            / (len(true) - true.count(mode) + 1)
            for mode in modes
        },
        accuracy=sum(s == t for s, t in zip(said, true, strict=True)) / len(true),
    )


def chance_of(count: int, num: int, share: float) -> float:
    """That `num` tries, each a hit by `share`, give `count` hits or more."""
    return 1 - sum(math.comb(num, n) * share**n * (1 - share) ** (num - n) for n in range(count))


def mode_numbers(embedded: Embedded, model: str, features: str) -> dict[str, float]:
    """How many rare modes one model recovers, and what it makes of fields altogether."""
    sets, finder = embedded.sets, _finder(embedded, features)
    said = finder.classifier(embedded(features, model, lambda: sets.of(model)))
    counts = Counter(said)
    recovered = [
        mode for mode in finder.rare if chance_of(counts[mode], len(said), finder.false_alarms[mode]) < 0.05
    ]
    fields = [mode for mode in finder.shares if mode != ELSEWHERE]
    numbers = {
        "rare_modes": len(finder.rare), "recovered": len(recovered),
        "seen_at_all": sum(counts[mode] > 0 for mode in finder.rare),
        "rare_share": sum(counts[mode] for mode in finder.rare) / len(said),
        "field_share": sum(counts[mode] for mode in fields) / len(said),
        "classifier_accuracy": finder.accuracy,
        "rare_found": float(np.mean([finder.found[m] for m in finder.rare if m in finder.found])),
        "rare_false_alarms": sum(finder.false_alarms[m] for m in finder.rare),
    }  # fmt: skip
    if model in ("base", "joint with depth"):
        asked = [mode_of(caption) for caption in sets.captions()]
        pairs = [(a, s) for a, s in zip(asked, said, strict=True) if a in finder.shares and a != ELSEWHERE]
        numbers["as_asked"] = sum(a == s for a, s in pairs) / len(pairs)
    return numbers


@cache
def _finder(embedded: Embedded, features: str) -> ModeFinder:
    return find_modes(embedded, features)


# --- all of it --------------------------------------------------------------------------------------------

Question = tuple[str, Callable[[], dict[str, float]], dict[str, str | int]]
"""Name of a record, what answers it, and what else says which it is."""


def questions(embedded: Embedded) -> Iterator[Question]:
    """Everything that is measured, the cheap ones first."""
    for features in FEATURES:
        for attribute in RARE:
            for draw in range(embedded.sets.budget.draws):
                yield (
                    f"families/rare {attribute}",
                    partial(ranking, embedded, attribute, features, draw),
                    {"features": features, "draw": draw, **embedded.sets.budget.of_scenes()},
                )
    for model in MODELS:
        for features in FEATURES:
            yield (
                f"families/{model}",
                partial(model_numbers, embedded, model, features),
                {"features": features, **asdict(embedded.sets.budget)},
            )
            if features in OF_MODES:
                yield (
                    f"families/modes of {model}",
                    partial(mode_numbers, embedded, model, features),
                    {"features": features, **asdict(embedded.sets.budget)},
                )


def run(sets: Sets, out: Path) -> None:
    """Answer what is not answered yet."""
    embedded = Embedded(sets, out)
    known = {_identity(one) for one in done(out, sets.budget)}
    for name, answer, settings in questions(embedded):
        record = Record(name=name, numbers={}, settings=dict(settings))
        if _identity(record) in known:
            continue
        began = time.monotonic()
        numbers = answer()
        print(f"{name}, {settings} ({time.monotonic() - began:.0f} s)", file=sys.stderr)
        append(out / RESULTS, Record(name=name, numbers=dict(numbers), settings=record.settings))


def _identity(record: Record) -> tuple[object, ...]:
    return record.name, record.settings["features"], record.settings.get("draw")


def done(out: Path, budget: Budget) -> list[Record]:
    """Results of this budget."""
    path = out / RESULTS
    found = read(path) if path.exists() else []
    mine = asdict(budget)
    return [r for r in found if all(mine.get(n, v) == v for n, v in r.settings.items())]


def tables(records: Sequence[Record]) -> str:
    """Markdown: models by features, rare modes, and rare attributes."""
    parts = []
    for features in FEATURES:
        own = [r for r in records if r.settings["features"] == features]
        models = _rows(own, [f"families/{model}" for model in MODELS], SHOWN, "families/")
        modes = _rows(own, [f"families/modes of {model}" for model in MODELS], None, "families/modes of ")
        for title, rows in ((f"{features} features", models), (f"rare modes by {features} features", modes)):
            if rows:
                parts.append(f"### {title}\n\n{markdown_table(rows, _columns(rows))}")
    rows = []
    for attribute in RARE:
        for features in FEATURES:
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


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=Path, default=Path("runs/mini/scenes"), help="training shards")
    parser.add_argument("--out", type=Path, default=Path("runs/families"))
    parser.add_argument("--cache", help="where rendered evaluation scenes are kept (default: user cache)")
    parser.add_argument("--workers", type=int, default=1, help="processes that render (default 1)")
    parser.add_argument("--make", metavar="NAMES", help=f"only pictures of these: {', '.join(MODELS)}")
    parser.add_argument("--tables", action="store_true", help="of what is there; nothing is made")
    for name, value in asdict(Budget()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    args = parser.parse_args(argv)
    budget = Budget(**{name: getattr(args, name) for name in asdict(Budget())})
    made = args.make.split(",") if args.make else []
    if unknown := [name for name in made if name not in MODELS]:
        parser.error(f"--make: {unknown[0]!r} is none of {', '.join(MODELS)}")
    if not args.tables:
        args.out.mkdir(parents=True, exist_ok=True)
        sets = Sets(args.out, args.scenes, budget, args.cache, args.workers)
        if made:
            for name in made:
                print(f"{name}: {len(sets.of(name))} pictures")
            return 0
        run(sets, args.out)
    found = done(args.out, budget)
    if not found:
        raise SystemExit(f"{args.out}: holds no results of this budget; run it without --tables first")
    print(tables(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
