"""Which annotators are there, what do their maps mean, and whose weights do they need?

The first card of a condition is its default. Licences are those of the weights where their authors state one,
else of the code they were published with; they are facts as known, not advice. Leaves out how a map is
computed: `depth`, `detectors`, `dwpose`, `drawing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

ANNOTATORS_HUB = "lllyasviel/Annotators"
ANNOTATORS_REVISION = "982e7edaec38759d914a963c48c4726685de7d96"
NEAR_BRIGHT = "near is bright, 1 to 0 from the 2% to the 98% quantile"


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What is known about one annotator before anything of it is loaded."""

    name: str
    condition: str
    """The map it makes; also the folder of the pairs, and the usual name of an adapter for it."""
    palette: str
    """What the 3 channels in [0, 1] stand for."""
    extra: str | None = None
    """The extra of this distribution that it needs beyond the core."""
    hub: str | None = None
    """Repository of its weights; None where it needs none."""
    revision: str | None = None
    """Commit of that repository; None: not known, the newest is taken and its commit recorded."""
    files: tuple[str, ...] = ()
    """The files it reads; empty: a transformers folder."""
    licence: str = "Apache-2.0, this project"
    settings: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """What it is run with."""
    work_px: int | None = None
    """Shorter side of what its network sees, rounded to multiples of 64. None: the picture's own size, or
    what a transformers folder says. The map always has the picture's size."""


def _lines(name: str, files: tuple[str, ...], licence: str, palette: str) -> Card:
    return Card(
        name=name, condition="edge", palette=palette, extra="annotators", hub=ANNOTATORS_HUB,
        revision=ANNOTATORS_REVISION, files=files, licence=licence, work_px=512,
    )  # fmt: skip


def _depth(name: str, file: str, licence: str, palette: str) -> Card:
    return Card(
        name=name, condition="depth", palette=palette, extra="annotators", hub=ANNOTATORS_HUB,
        revision=ANNOTATORS_REVISION, files=(file,), licence=licence, work_px=512,
    )  # fmt: skip


CARDS = (
    Card(
        name="depth-anything-v2", condition="depth", palette=f"inverse depth; {NEAR_BRIGHT}",
        hub="depth-anything/Depth-Anything-V2-Small-hf", revision="870a35c76c2bc1d82fbde922d95015496cb7dd6c",
        licence="Apache-2.0 (Small; Base and Large are CC-BY-NC-4.0)",
    ),
    Card(
        name="dpt", condition="depth", palette=f"inverse depth; {NEAR_BRIGHT}",
        hub="Intel/dpt-large", revision="bc15f29aa3a80d532f2ed650b5e16ac48d8958f9", licence="Apache-2.0",
    ),
    _depth(
        "midas", "dpt_hybrid-midas-501f0c75.pt", "MIT (code)",
        "inverse depth; near is bright, 1 to 0 from its largest to its smallest value, 8 bits",
    ),
    _depth(
        "zoe", "ZoeD_M12_N.pt", "MIT (code)",
        "depth; near is bright, 1 to 0 from the 2% to the 85% quantile, 8 bits",
    ),
    _depth(
        "leres", "res101.pth", "not stated with the weights; see aim-uofa/AdelaiDepth",
        "depth; near is bright, 1 to 0 from its smallest to its largest value, 8 bits",
    ),
    Card(
        name="canny", condition="edge", palette="1 on an edge of one pixel, 0 elsewhere",
        settings=MappingProxyType({"low": 80.0, "high": 180.0}),
    ),
    _lines("hed", ("ControlNetHED.pth",), "Apache-2.0", "soft edges, 1 where they are surest"),
    _lines(
        "pidinet", ("table5_pidinet.pth",), "research; ask its authors before commercial use",
        "soft edges, 1 where they are surest",
    ),
    Card(
        name="teed", condition="edge", palette="soft edges in 2 steps, 1 where they are surest",
        extra="annotators", hub="fal-ai/teed", revision="5fd20d8c3641d666b3f6d1d00b977f2f83bc54d4",
        files=("5_model.pth",), licence="MIT", work_px=512,
    ),
    _lines("lineart", ("sk_model.pth",), "MIT (code)", "white lines of a drawing on black"),
    Card(
        name="openpose", condition="pose", palette="18 joints of every person, drawn as in conditions.pose",
        extra="annotators", hub=ANNOTATORS_HUB, revision=ANNOTATORS_REVISION, files=("body_pose_model.pth",),
        licence="CMU, non-commercial", work_px=512,
    ),
    Card(
        name="dwpose", condition="pose", palette="18 joints of every person, drawn as in conditions.pose",
        hub="yzd-v/DWPose", revision="1a7144101628d69ee7a3768d1ee3a094070dc388",
        files=("yolox_l.onnx", "dw-ll_ucoco_384.onnx"), licence="Apache-2.0",
        settings=MappingProxyType({"person": 0.3, "overlap": 0.45, "joint": 0.3}),
    ),
    Card(
        name="keypoints", condition="pose",
        palette="joints of STEM.json beside the picture, drawn as in conditions.pose",
    ),
    Card(
        name="normalbae", condition="normal",
        palette="(n + 1) / 2 of unit normals, in the camera axes its weights were trained with, 8 bits",
        extra="annotators", hub=ANNOTATORS_HUB, revision=ANNOTATORS_REVISION, files=("scannet.pt",),
        licence="MIT (code)", work_px=512,
    ),
)  # fmt: skip


def find_card(condition: str, name: str | None = None) -> Card:
    """The card of an annotator, by default the condition's first. Raises ValueError for what is not there."""
    cards = [card for card in CARDS if card.condition == condition]
    if not cards:
        known = ", ".join(dict.fromkeys(card.condition for card in CARDS))
        raise ValueError(f"condition {condition!r}: no annotator makes it; choose one of {known}")
    found = [card for card in cards if name in (None, card.name)]
    if not found:
        names = ", ".join(card.name for card in cards)
        raise ValueError(f"annotator {name!r}: makes no {condition}; choose one of {names}")
    return found[0]
