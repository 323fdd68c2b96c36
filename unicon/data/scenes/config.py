"""What may occur in a scene: the settings, object kinds, lights and styles, and the splits of them.

Leaves out how anything is drawn. A scene is a function of ``(seed, SceneConfig)`` and of nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

SETTINGS = ("room", "field", "tabletop")
KINDS = (
    "person", "ball", "box", "cylinder", "cone", "ring", "pyramid", "capsule", "mug", "bottle", "vase",
    "table", "chair", "stool", "sofa", "bed", "shelf", "lamp", "plant", "tree", "house", "car", "dog",
    "horse", "mushroom",
)  # fmt: skip
LIGHTS = ("sun", "overcast", "lamp", "window", "sunset", "spot", "two_colour")
STYLES = ("photo", "watercolour", "ink", "poster", "pixel", "neon")

HELD_OUT_KINDS = ("mug", "pyramid", "horse", "mushroom")
HELD_OUT_LIGHTS = ("spot", "two_colour")
HELD_OUT_STYLES = tuple(style for style in STYLES if style != "photo")
TRAIN_KINDS = tuple(kind for kind in KINDS if kind not in HELD_OUT_KINDS)
TRAIN_LIGHTS = tuple(light for light in LIGHTS if light not in HELD_OUT_LIGHTS)
TRAIN_STYLES = ("photo",)

FAR_M = 25.0  # sky and everything beyond is reported at this depth


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneConfig:
    """Everything besides the seed that decides a scene."""

    size: int = 128
    """Side of the square picture in pixels, 32 to 1024."""
    settings: tuple[str, ...] = SETTINGS
    """Surroundings to draw from."""
    kinds: tuple[str, ...] = TRAIN_KINDS
    """Kinds of main objects to draw from; kinds that do not fit a setting are skipped there.

    Surroundings hold furniture, plants, far trees and houses besides, but nothing of HELD_OUT_KINDS.
    """
    lights: tuple[str, ...] = TRAIN_LIGHTS
    """Lights to draw from."""
    styles: tuple[str, ...] = TRAIN_STYLES
    """Finishing styles to draw from; every other output is independent of the style."""
    require_kinds: tuple[str, ...] = ()
    """One of these kinds is the first subject of every scene (it must also fit a chosen setting)."""
    exclude_kinds: tuple[str, ...] = ()
    """Kinds that occur nowhere, not even as furniture of the surroundings."""
    max_subjects: int = 5
    """Most main objects in a scene, 1 to 6."""
    second_view: bool = True
    """Whether the second picture of the same subjects is rendered (about half of the time)."""
    degrade: bool = True
    """Whether blur, sensor noise, white balance and compression are applied."""
    photo_folder: str | None = None
    """Optional folder of photographs used as wall pictures and as surface patches."""

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 1024:
            raise ValueError(f"size is {self.size}; expected 32 to 1024 pixels: choose a size in that range")
        if not 1 <= self.max_subjects <= 6:
            raise ValueError(f"max_subjects is {self.max_subjects}; expected 1 to 6: lower it or raise it")
        for field, allowed in (
            ("settings", SETTINGS),
            ("kinds", KINDS),
            ("lights", LIGHTS),
            ("styles", STYLES),
        ):
            _check_names(field, getattr(self, field), allowed, may_be_empty=False)
        _check_names("require_kinds", self.require_kinds, KINDS, may_be_empty=True)
        _check_names("exclude_kinds", self.exclude_kinds, KINDS, may_be_empty=True)
        _check_fit(self)


KINDS_OF_SETTING = {
    "room": ("person", "ball", "box", "cylinder", "cone", "ring", "pyramid", "capsule", "vase", "table",
             "chair",
             "stool", "sofa", "bed", "shelf", "lamp", "plant", "dog", "mushroom"),
    "field": ("person", "ball", "box", "cylinder", "cone", "ring", "pyramid", "capsule", "chair", "table",
              "tree",
              "house", "car", "dog", "horse", "mushroom", "plant"),
    "tabletop": ("ball", "box", "cylinder", "cone", "ring", "pyramid", "capsule", "mug", "bottle", "vase",
                 "plant",
                 "mushroom", "lamp", "car", "dog", "horse", "house"),
}  # fmt: skip
LIGHTS_OF_SETTING = {
    "room": ("overcast", "lamp", "window", "sunset", "spot", "two_colour"),
    "field": ("sun", "overcast", "sunset", "spot", "two_colour"),
    "tabletop": ("sun", "overcast", "lamp", "window", "sunset", "spot", "two_colour"),
}


def usable_settings(config: SceneConfig) -> tuple[str, ...]:
    """The chosen settings in which at least one chosen kind and one chosen light can occur."""
    usable = []
    for setting in config.settings:
        kinds = set(config.require_kinds or config.kinds) - set(config.exclude_kinds)
        kinds &= set(KINDS_OF_SETTING[setting])
        if kinds and set(config.lights) & set(LIGHTS_OF_SETTING[setting]):
            usable.append(setting)
    return tuple(usable)


def _check_names(field: str, names: tuple[str, ...], allowed: tuple[str, ...], *, may_be_empty: bool) -> None:
    if isinstance(names, str) or not isinstance(names, tuple):
        raise ValueError(f"{field} is {names!r}; expected a tuple of names, for example {allowed[:1]!r}")
    if not names and not may_be_empty:
        raise ValueError(f"{field} is empty; expected at least one of {allowed}")
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise ValueError(f"{field} has {unknown}; expected names among {allowed}: correct the spelling")


def _check_fit(config: SceneConfig) -> None:
    if not usable_settings(config):
        raise ValueError(
            f"settings {config.settings} can show none of the kinds {config.require_kinds or config.kinds} "
            f"under the lights {config.lights}; expected at least one that fits: widen one of the three"
        )
