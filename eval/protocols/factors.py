"""Which factors of a scene does a CLIP read from a picture, without ever having been told to (zero-shot)?

Scenes say exactly which kind of thing they show, in which light and in which style. A factor is read by the
nearest of texts that differ in it alone (Radford et al. 2021, section 3.1): a kind's name in the scene's own
place, or its caption with the words for its light or its style exchanged. Sets hold what the CLIP's training
shows, kinds, lights and styles that it never shows, and combinations of both.

    unicon eval factors --num 200
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from eval.command import command
from eval.emergence import image_features
from eval.metrics.summary import bootstrap_interval, markdown_table
from eval.protocols.results import save
from eval.protocols.setup import add_machine_arguments, load_pipeline
from eval.records import Record
from unicon.bases import base_size
from unicon.data.scenes import Scene, SceneConfig, render
from unicon.data.scenes.config import (
    HELD_OUT_KINDS,
    HELD_OUT_LIGHTS,
    HELD_OUT_STYLES,
    KINDS,
    LIGHTS,
    STYLES,
)
from unicon.data.scenes.lights import WORDS as LIGHT_WORDS
from unicon.data.scenes.styles import WORDS as STYLE_WORDS
from unicon.pipeline import UniConPipeline
from unicon.typed import positive

FIRST_SEED = 900_000
"""Nothing else renders scenes from here."""
ONE = SceneConfig(max_subjects=1, second_view=False)
UNSEEN_KIND = {"kinds": HELD_OUT_KINDS, "require_kinds": HELD_OUT_KINDS}
SETS: dict[str, SceneConfig] = {
    "as in training": ONE,
    "unseen kinds": replace(ONE, **UNSEEN_KIND),
    "unseen lights": replace(ONE, lights=HELD_OUT_LIGHTS),
    "unseen styles": replace(ONE, styles=HELD_OUT_STYLES),
    "unseen kinds in unseen lights": replace(ONE, lights=HELD_OUT_LIGHTS, **UNSEEN_KIND),
    "unseen kinds in unseen styles": replace(ONE, styles=HELD_OUT_STYLES, **UNSEEN_KIND),
}


def kind_texts() -> dict[str, str]:
    """What each kind is called."""
    return {kind: "a woman" if kind == "person" else f"a {kind}" for kind in KINDS}


def bare_caption(scene: Scene) -> str:
    """A scene's caption without words about its light or style."""
    text = scene.caption
    for words in STYLE_WORDS[scene.attributes["style"]]:
        text = text.removeprefix(words)
    light = LIGHT_WORDS[scene.attributes["light"]]
    for ending in (f", {light}", f" in {light}"):
        text = text.removesuffix(ending)
    return text


@dataclass(frozen=True, slots=True)
class FactorReader:
    """Factors by a base's CLIP."""

    pipe: UniConPipeline

    def __post_init__(self) -> None:
        """Raises ValueError for a base without an image encoder."""
        if image_features(self.pipe) is None:
            raise ValueError(
                "this base has no image encoder to read factors with; use mini, or one saved with it"
            )

    def features(self, scenes: Sequence[Scene]) -> Tensor:
        """Unit embeddings (n, width) of their pictures."""
        pictures = torch.from_numpy(np.stack([scene.image for scene in scenes])).movedim(-1, 1).float() / 255
        return self.of_pictures(pictures)

    def of_pictures(self, pictures: Tensor) -> Tensor:
        """Unit embeddings (n, width) of pictures (n, 3, H, W) in [0, 1]."""
        encoder = image_features(self.pipe)
        assert encoder is not None, "__post_init__ has seen to it"
        return torch.cat([encoder(part).cpu() for part in pictures.split(16)])

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings (n, width)."""
        parts = [self.pipe.embed_texts(texts[i : i + 64]).z.cpu() for i in range(0, len(texts), 64)]
        return torch.cat(parts)

    def kinds(self, features: Tensor, places: Sequence[str]) -> list[str]:
        """The kind whose name before each scene's place is the nearest."""
        names = kind_texts()
        return self._exchanged(
            features, [[f"{text} {place}" for text in names.values()] for place in places], list(names)
        )

    def lights(self, features: Tensor, bodies: Sequence[str]) -> list[str]:
        """The light whose words behind each caption are the nearest."""
        return self._exchanged(
            features, [[f"{b}, {LIGHT_WORDS[name]}" for name in LIGHTS] for b in bodies], LIGHTS
        )

    def styles(self, features: Tensor, bodies: Sequence[str]) -> list[str]:
        """The style whose words before each caption are the nearest."""
        return self._exchanged(
            features, [[f"{STYLE_WORDS[n][0]}{b}" for n in STYLES] for b in bodies], STYLES
        )

    def _exchanged(self, features: Tensor, texts: list[list[str]], names: Iterable[str]) -> list[str]:
        names = list(names)
        said = self.texts([text for row in texts for text in row]).unflatten(0, (len(texts), -1))
        nearest = (features[:, None] * said).sum(-1).argmax(1)
        return [names[i] for i in nearest.tolist()]


def accuracies(reader: FactorReader, scenes: Sequence[Scene]) -> dict[str, np.ndarray]:
    """Of each factor, whether it was read rightly, bool (n,); `caption`: whether the own is the nearest."""
    features, bodies = reader.features(scenes), [bare_caption(scene) for scene in scenes]
    captions = reader.texts([scene.caption for scene in scenes])
    read = {
        "style": reader.styles(features, bodies),
        "light": reader.lights(features, bodies),
    }
    right = {
        name: np.array([scene.attributes[name] == found for scene, found in zip(scenes, each, strict=True)])
        for name, each in read.items()
    }
    places = [scene.attributes["place"] for scene in scenes]
    kinds = zip(scenes, reader.kinds(features, places), strict=True)
    own = (features @ captions.T).argmax(1) == torch.arange(len(scenes))
    return {
        # Of a scene with furniture, any kind that it shows is a right answer.
        "kind": np.array([found in scene.attributes["placed_kinds"] for scene, found in kinds]),
        **right,
        "caption": own.numpy(),
    }


def chances(scenes: Sequence[Scene]) -> dict[str, float]:
    """What guessing would give."""
    shown = [len(set(scene.attributes["placed_kinds"])) for scene in scenes]
    return {
        "kind": float(np.mean(shown)) / len(KINDS),
        "style": 1 / len(STYLES),
        "light": 1 / len(LIGHTS),
        "caption": 1 / len(scenes),
    }


def measured(reader: FactorReader, name: str, num: int, size_px: int) -> Record:
    """One set's accuracies with bootstrap intervals, and those of guessing."""
    config = replace(SETS[name], size=size_px)
    seeds = tqdm(range(FIRST_SEED, FIRST_SEED + num), desc=name, unit="scene", leave=False)
    scenes = [render(seed, config) for seed in seeds]
    guessed, numbers = chances(scenes), {}
    for factor, right in accuracies(reader, scenes).items():
        interval = bootstrap_interval(right.astype(float).tolist())
        numbers |= {factor: interval.mean, f"{factor}_low": interval.low, f"{factor}_high": interval.high}
        numbers[f"{factor}_guessed"] = guessed[factor]
    return Record(name="factors", numbers=numbers, settings={"set": name, "num": num, "size_px": size_px})


def table(records: Sequence[Record]) -> str:
    """Shares read rightly, their 95 % intervals, and what guessing would give; markdown."""

    def cell(numbers: dict, factor: str) -> str:
        value, low, high, chance = (numbers[f"{factor}{end}"] for end in ("", "_low", "_high", "_guessed"))
        return f"{value:.2f} ({low:.2f} to {high:.2f}), guessed {chance:.2f}"

    rows = [
        {"scenes": r.settings["set"], "N": r.settings["num"]}
        | {factor: cell(r.numbers, factor) for factor in ("kind", "light", "style", "caption")}
        for r in records
    ]
    return markdown_table(rows)


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval factors",
        description="Read kinds, lights and styles of scenes by a base's CLIP, zero-shot.",
        epilog="example: unicon eval factors --num 200 --out results.jsonl",
    )
    top.add_argument("--base", default="mini", help="mini, or another base with an image encoder")
    top.add_argument(
        "--num", type=positive, default=200, metavar="N", help="scenes of each set (default 200)"
    )
    add_machine_arguments(top)
    return top


def _run(arguments: argparse.Namespace) -> str:
    if arguments.num < 2:
        raise ValueError(f"--num is {arguments.num}; an interval needs at least 2 scenes")
    pipe = load_pipeline(arguments.base, arguments.device, "float32", [])
    reader, size = FactorReader(pipe), base_size(pipe.unet, pipe.vae).own_px
    records = []
    for name in SETS:
        records.append(measured(reader, name, arguments.num, size))
        save(arguments.out, records[-1:])
    return table(records)


main = command(parser, _run)
