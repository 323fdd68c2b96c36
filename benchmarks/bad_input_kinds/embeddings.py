"""How are bad priors, decoder adapters and calls of `unicon vary` made?"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from unicon.sources import find_base

from .case import Place
from .files import png, put

OTHER_CLIP = "ViT-H/14"


def draw(place: Place, *arguments: str) -> list[str]:
    return [*arguments, "--base", place.base, "--steps", "1", "--out", str(place.out)]


def vary(*more: str) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        put(place.folder / "wide.png", png(1, (64, 32)))
        given = [f"{place.folder}/{each}" if each.endswith(".png") else each for each in more]
        return draw(place, "vary", str(put(place.folder / "0.png", png(0))), *given)

    return make


def own_copy(place: Place, part: str) -> Path:
    """A part of the base beside the data, to be changed."""
    return Path(shutil.copytree(Path(find_base(place.base)) / part, place.folder / part))


def of_another_clip(place: Place, part: str, file: str) -> Path:
    """A part of the base that says it is another CLIP's."""
    folder = own_copy(place, part)
    said = json.loads((folder / file).read_text())
    said["clip"]["name"] = OTHER_CLIP
    (folder / file).write_text(json.dumps(said))
    return folder


def prior_without_statistics(place: Place) -> list[str]:
    from diffusers import PriorTransformer

    folder = own_copy(place, "prior")
    prior = PriorTransformer.from_pretrained(folder)
    prior.clip_std.data.zero_()  # as in a fresh one
    prior.save_pretrained(folder)
    return draw(place, "generate", "a thing", "--prior", str(folder))


def prior_of_another_clip(place: Place) -> list[str]:
    folder = of_another_clip(place, "prior", "embedding.json")
    return draw(place, "generate", "a thing", "--prior", str(folder))


def decoder_of_another_clip(place: Place) -> list[str]:
    folder = of_another_clip(place, "decoder", "config.json")
    return draw(place, "generate", "a thing", "--prior", "--decoder", str(folder))


def continued_prior_of_another_clip(place: Place) -> list[str]:
    folder = of_another_clip(place, "prior", "embedding.json")
    data = ["--data", str(place.pairs()), "--base", place.base, "--out", str(place.out)]
    return ["train", "prior", *data, "--start_from", str(folder)]
