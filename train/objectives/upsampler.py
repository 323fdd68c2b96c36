"""How does the mini family learn to draw a picture beside its small version?

By the joint objective, as any condition, from `train.crops`; captions are always dropped, because what is
enlarged is a part that no caption is about.
"""

from __future__ import annotations

from dataclasses import dataclass

from train.crops import items_of
from train.objectives.joint import VALIDATION_SEED, SceneJointConfig
from train.validation import HeldOut
from unicon.cards import Origin
from unicon.conditions.lowres import LOWRES
from unicon.data.scenes import SceneConfig
from unicon.pictures import as_pictures
from unicon.sheets import picture


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneUpsamplerConfig(SceneJointConfig):
    """The mini family's adapter for `lowres`."""

    condition: str = LOWRES
    maps: str = LOWRES
    latents: str = "crop-latents"
    rank: int = 16
    condition_lora: bool = False
    """A small picture, enlarged, is a picture."""
    skip_blocks: tuple[str, ...] = ("down_blocks.2", "mid_block", "up_blocks.0")
    """Those of the lowest resolution: what is large in a picture, its small version shows already."""
    clean_image: float = 0.05
    """Little: what a picture looks like made smaller, nobody has to estimate."""
    clean_condition: float = 0.7
    caption_dropout: float = 1.0
    bare_photos: float = 1.0

    def origin(self) -> Origin:
        return Origin(
            base="mini",
            data=f"{self.num_scenes} pictures of scenes that unicon renders",
            licence="apache-2.0",
        )

    def _held_out(self) -> HeldOut | None:
        if not self.validation_pairs:
            return None
        seeds = range(VALIDATION_SEED, VALIDATION_SEED + self.validation_pairs)
        items = [list(items_of(seed, SceneConfig().size))[seed % 2] for seed in seeds]  # wholes and parts
        return HeldOut(
            pictures=as_pictures([picture(item.image) for item in items], "scenes"),
            maps=as_pictures([picture(item.lowres) for item in items], "maps"),
            captions=[""] * len(items),
        )
