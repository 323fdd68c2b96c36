"""What does the demo draw in each direction?

A stage is a function of the `Studio` that returns rows of the contact sheet and the errors of what it drew.
Pictures are read back by the same pipeline's own estimation, which is no independent judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image
from torch import Tensor

from unicon.branch import Branch
from unicon.cli.demo_errors import Score, against_scenes, agreement, likeness
from unicon.cli.models import generators, output_of
from unicon.conditions.lowres import LOWRES
from unicon.data.scenes import Scene, exact_map
from unicon.data.scenes.colours import NAMED
from unicon.output import UniConOutput
from unicon.pipeline import UniConPipeline
from unicon.prior import PriorSettings
from unicon.sampling.noise import NoiseSource
from unicon.sheets import picture
from unicon.upscaling import Upscaling, upscale

CONDITIONS = ("depth", "edge", "pose", "appearance")
PARTNERS = {"depth": "pose", "edge": "appearance", "pose": "edge", "appearance": "depth"}
COARSE_NOISE = 0.5
EDIT_NOISE = 0.7
LIKE_GUIDANCE = 3.0
"""Of what a picture is to look like; the text's has been told by then."""
PRIOR_STEPS = 10
"""Of the prior, and at most of what is drawn as it says."""
ESTIMATE_TEMPERATURES = {"pose": 0.4}
"""Of figures, which samples at 1 invent (`docs/mini.md`)."""

Pictures = list[Image.Image]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of the sheet: for every condition a picture per scene."""

    name: str
    """What the pictures are, as the end of their files' names."""
    label: str
    """The same for people."""
    pictures: dict[str, Pictures]
    notes: dict[str, list[str]] = field(default_factory=dict)
    """Short lines below the pictures, by condition and scene."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a stage drew and how good it is."""

    rows: list[Row]
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    """By condition; empty where nothing was measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Studio:
    """Everything a stage works with."""

    pipe: UniConPipeline
    scenes: Sequence[Scene]
    conditions: Sequence[str]
    """Those of `CONDITIONS` for which an adapter is loaded."""
    photo: Image.Image | None
    steps: int
    seed: int
    guidance_scale: float | None
    """None: what suits the base."""

    @property
    def captions(self) -> list[str]:
        return [scene.caption for scene in self.scenes]

    @property
    def images(self) -> Pictures:
        return [picture(scene.image) for scene in self.scenes]

    def on_show(self, condition: str) -> Studio:
        """The same with the one scene that the sheet shows for a condition, its noise unchanged."""
        place = self.place_of(condition)
        return replace(self, scenes=[self.scenes[place]], seed=self.seed + place)

    def place_of(self, condition: str) -> int:
        """Which scene the sheet shows for a condition."""
        return self.conditions.index(condition) % len(self.scenes)

    def maps(self, condition: str) -> Pictures:
        """The scenes' exact maps."""
        return [picture(exact_map(scene, condition)) for scene in self.scenes]

    def draw(
        self,
        what: str,
        prompt: Sequence[str] | None,
        *,
        image: Any = None,
        conditions: Mapping[str, Any] | None = None,
        outputs: Sequence[str],
        num: int | None = None,
        like: Pictures | Tensor | None = None,
        temperature: Mapping[str, float] | float = 1.0,
    ) -> UniConOutput:
        """One call with the run's steps, guidance and seeds; `what` stands on the progress bar."""
        self.pipe.set_progress_bar_config(desc=f"  {what}", leave=False)
        result = self.pipe(
            prompt,
            image=image,
            conditions=conditions,
            outputs=list(outputs),
            num_inference_steps=self.steps,
            guidance_scale=None if prompt is None else self.guidance_scale,
            like=like,
            like_guidance_scale=1.0 if like is None else LIKE_GUIDANCE,
            temperature=temperature,
            generator=generators([self.seed + n for n in range(num or len(self.scenes))]),
        )
        return output_of(result)

    def draw_under(
        self, what: str, prompts: Sequence[str], conditions: Sequence[str], *, image: Any = None
    ) -> Pictures:
        """Images under the scenes' exact maps of some conditions."""
        maps = {condition: self.maps(condition) for condition in conditions}
        return self.draw(what, prompts, image=image, conditions=maps, outputs=["image"]).images

    def read(self, what: str, images: Pictures, conditions: Sequence[str]) -> UniConOutput:
        """Maps of pictures, estimated."""
        calm = {c: t for c, t in ESTIMATE_TEMPERATURES.items() if c in conditions}
        return self.draw(what, None, image=images, outputs=conditions, num=len(images), temperature=calm)


# --- the stages -------------------------------------------------------------------------------------------


def generation(studio: Studio) -> Outcome:
    """Map to image: the map is held, the image comes from noise; and the map is read back."""
    rows = [Row(name="exact_map", label="map of a scene", pictures=_each(studio, studio.maps))]
    drawn = _each(studio, lambda c: _from_map(studio, c, noise=None))
    scores = {c: _read_back(studio, c, drawn[c]) for c in studio.conditions}
    rows.append(_scored("image_from_map", "map -> image", drawn, scores))
    return Outcome(rows=rows, errors=_numbers(scores))


def coarse(studio: Studio) -> Outcome:
    """The map is only a hint: it starts half way in noise and is redrawn along with the image."""
    drawn = _each(studio, lambda c: _from_map(studio.on_show(c), c, noise=COARSE_NOISE))
    label = f"map -> image,\ncoarse (noise {COARSE_NOISE:g})"
    return Outcome(rows=[Row(name="image_from_coarse_map", label=label, pictures=drawn)])


def estimation(studio: Studio) -> Outcome:
    """Image to map: the image is held, all maps come from noise."""
    result = studio.read("image to maps", studio.images, studio.conditions)
    scores = {c: _against(studio, c, result) for c in studio.conditions}
    rows = [
        Row(name="picture", label="picture of a scene", pictures=_each(studio, lambda c: studio.images)),
        _scored("map_from_picture", "image -> map", dict(result.conditions), scores),
        Row(name="exact_map", label="(the exact map)", pictures=_each(studio, studio.maps)),
    ]
    return Outcome(rows=rows, errors=_numbers(scores))


def joint(studio: Studio) -> Outcome:
    """Both at once, from a prompt alone; the map is compared with the one read from the image."""
    results = {
        c: studio.draw(f"{c} and image", studio.captions, outputs=["image", c]) for c in studio.conditions
    }
    scores = {c: _agreement(studio, c, results[c]) for c in studio.conditions}
    images = {c: list(results[c].images) for c in studio.conditions}
    maps = {c: list(results[c].conditions[c]) for c in studio.conditions}
    rows = [
        Row(name="joint_image", label="both at once:\nimage", pictures=images),
        _scored("joint_map", "both at once:\nmap", maps, scores),
    ]
    return Outcome(rows=rows, errors=_numbers(scores))


def editing(studio: Studio) -> Outcome:
    """The picture starts part way in noise under its own map and a prompt with other colours."""

    def edit(condition: str) -> Pictures:
        one = studio.on_show(condition)
        prompts = [recoloured(caption) for caption in one.captions]
        image = Branch(map=one.images, noise=EDIT_NOISE)
        return one.draw_under(f"editing, {condition}", prompts, [condition], image=image)

    label = f"picture edited:\nother colours\n(noise {EDIT_NOISE:g})"
    return Outcome(rows=[Row(name="edited_picture", label=label, pictures=_each(studio, edit))])


def inpainting(studio: Studio) -> Outcome:
    """The middle of the picture is drawn anew, under the map and the caption."""
    mask = hole(studio.images[0].size)

    def fill(condition: str) -> Pictures:
        one = studio.on_show(condition)
        image = Branch(map=one.images, mask=mask)
        return one.draw_under(f"inpainting, {condition}", one.captions, [condition], image=image)

    grey = Image.new("RGB", mask.size, "grey")
    holes = [Image.composite(grey, image, mask) for image in studio.images]
    rows = [
        Row(name="picture_with_hole", label="picture with a hole", pictures=_each(studio, lambda c: holes)),
        Row(name="filled_picture", label="the hole filled", pictures=_each(studio, fill)),
    ]
    return Outcome(rows=rows)


def two_conditions(studio: Studio) -> Outcome:
    """Two maps of the same scene, one adapter each."""
    pairs = {c: PARTNERS[c] for c in studio.conditions if PARTNERS[c] in studio.conditions}
    drawn, notes = {}, {}
    for first, second in pairs.items():
        one = studio.on_show(first)
        drawn[first] = one.draw_under(f"{first} and {second} to image", one.captions, [first, second])
        notes[first] = [f"with {second}"]
    rows = [Row(name="image_from_two_maps", label="two maps -> image", pictures=drawn, notes=notes)]
    return Outcome(rows=rows if pairs else [])


def meaning(studio: Studio) -> Outcome:
    """What a scene's picture shows, drawn anew: freely, under the next scene's map, and as the prior tells it
    from the caption alone (unCLIP)."""
    if studio.pipe.decoder is None:
        return Outcome(rows=[])
    liked = studio.draw("like a picture", None, like=studio.images, outputs=["image"]).images

    def swap(condition: str) -> Pictures:
        one, place = studio.on_show(condition), studio.place_of(condition)
        maps = studio.maps(condition)
        return one.draw(
            f"like a picture, under {condition}", None, like=one.images, outputs=["image"],
            conditions={condition: [maps[(place + 1) % len(maps)]]},
        ).images  # fmt: skip

    alike = likeness(studio.pipe, liked, studio.images)
    drawn = _each(studio, lambda c: liked)
    rows = [
        _scored("like_picture", "like the picture\nof the scene", drawn, dict.fromkeys(drawn, alike)),
        Row(name="swapped", label="the same under the\nnext scene's map", pictures=_each(studio, swap)),
    ]
    scores = {"any": alike}
    if studio.pipe.prior is not None:
        z, imagined = _imagined(studio)
        scores["prior"] = likeness(studio.pipe, imagined, studio.images, told=z)
        drawn = _each(studio, lambda c: imagined)
        label = "like what the prior\nmakes of the caption"
        rows.append(_scored("like_caption", label, drawn, dict.fromkeys(drawn, scores["prior"])))
    return Outcome(rows=rows, errors=_numbers(scores))


def enlarging(studio: Studio) -> Outcome:
    """A picture of half the size is made twice as large."""
    if all(adapter.config.condition != LOWRES for adapter in studio.pipe.adapters.values()):
        return Outcome(rows=[])
    small = [
        image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX) for image in studio.images
    ]
    studio.pipe.set_progress_bar_config(desc="  enlarging", leave=False)
    seeds = generators([studio.seed + n for n in range(len(small))])
    large = upscale(studio.pipe, small, Upscaling(num_inference_steps=studio.steps), generator=seeds)
    rows = [
        Row(name="small_picture", label="half the size", pictures=_each(studio, lambda c: small)),
        Row(name="enlarged", label="enlarged twice", pictures=_each(studio, lambda c: large)),
    ]
    return Outcome(rows=rows)


def photograph(studio: Studio) -> Outcome:
    """A real photograph, whose true maps nobody knows."""
    if studio.photo is None:
        return Outcome(rows=[])
    result = studio.read("photograph to maps", [studio.photo], studio.conditions)
    rows = [
        Row(name="photo", label="a photograph", pictures={c: [studio.photo] for c in studio.conditions}),
        Row(name="map_from_photo", label="photograph -> map", pictures=dict(result.conditions)),
    ]
    return Outcome(rows=rows)


STAGES: dict[str, Callable[[Studio], Outcome]] = {
    "generation": generation, "coarse": coarse, "two_conditions": two_conditions, "estimation": estimation,
    "joint": joint, "editing": editing, "inpainting": inpainting, "meaning": meaning, "enlarging": enlarging,
    "photograph": photograph,
}  # fmt: skip
"""In the order of the sheet."""

# --- their parts ------------------------------------------------------------------------------------------


def _each(studio: Studio, make: Callable[[str], Pictures]) -> dict[str, Pictures]:
    return {condition: make(condition) for condition in studio.conditions}


def _imagined(studio: Studio) -> tuple[Tensor, Pictures]:
    """What the prior takes the captions to show, as embeddings, and drawn from these alone."""
    noise = NoiseSource.from_generator(
        generators([studio.seed + n for n in range(len(studio.scenes))]), len(studio.scenes)
    )
    z = studio.pipe.imagine(studio.captions, PriorSettings(num_inference_steps=PRIOR_STEPS), noise)
    quick = replace(studio, steps=min(studio.steps, PRIOR_STEPS))
    return z, quick.draw("like a caption", None, like=z, outputs=["image"]).images


def _from_map(studio: Studio, condition: str, *, noise: float | None) -> Pictures:
    what = f"{condition} to image" if noise is None else f"coarse {condition} to image"
    given = {condition: Branch(map=studio.maps(condition), noise=noise)}
    return studio.draw(what, studio.captions, conditions=given, outputs=["image"]).images


def _read_back(studio: Studio, condition: str, drawn: Pictures) -> Score | None:
    """The map read from a drawn picture against the scene whose map it was drawn from."""
    if condition == "appearance":
        return likeness(studio.pipe, drawn, studio.maps(condition))
    result = studio.read(f"reading {condition} back", drawn, [condition])
    return against_scenes(condition, list(result.maps[condition]), studio.scenes)


def _against(studio: Studio, condition: str, result: UniConOutput) -> Score | None:
    if condition == "appearance":
        return likeness(studio.pipe, result.conditions[condition], studio.maps(condition))
    return against_scenes(condition, list(result.maps[condition]), studio.scenes)


def _agreement(studio: Studio, condition: str, result: UniConOutput) -> Score | None:
    if condition == "appearance":
        return likeness(studio.pipe, result.images, result.conditions[condition])
    back = studio.read(f"reading {condition} back", list(result.images), [condition])
    return agreement(condition, list(result.maps[condition]), list(back.maps[condition]))


def _scored(name: str, label: str, pictures: dict[str, Pictures], scores: Mapping[str, Score | None]) -> Row:
    notes = {condition: score.notes for condition, score in scores.items() if score is not None}
    return Row(name=name, label=label, pictures=pictures, notes=notes)


def _numbers(scores: Mapping[str, Score | None]) -> dict[str, dict[str, float]]:
    return {condition: score.numbers for condition, score in scores.items() if score is not None}


def recoloured(caption: str) -> str:
    """The caption with every colour replaced by another, or with an evening light where it names none."""
    names = list(NAMED)
    other = {name: names[(place + 5) % len(names)] for place, name in enumerate(names)}
    text, count = re.subn(rf"\b({'|'.join(names)})\b", lambda found: other[found[0]], caption)
    return text if count else f"{caption}, golden evening light"


def hole(size: tuple[int, int]) -> Image.Image:
    """White in the middle half of the width and height, black around."""
    width, height = size
    mask = Image.new("L", size, 0)
    mask.paste(255, (width // 4, height // 4, width - width // 4, height - height // 4))
    return mask
