"""Procedural scenes: pictures with exact depth, edges, joints, a second picture and a caption, by seed."""

from __future__ import annotations

from .config import (
    FAR_M,
    HELD_OUT_KINDS,
    HELD_OUT_LIGHTS,
    HELD_OUT_STYLES,
    KINDS,
    LIGHTS,
    SETTINGS,
    STYLES,
    TRAIN_KINDS,
    TRAIN_LIGHTS,
    TRAIN_STYLES,
    SceneConfig,
)
from .dataset import scenes_dataset
from .files import read_depth, write_scenes
from .maps import exact_map
from .render import Scene, render

__all__ = [
    "FAR_M", "HELD_OUT_KINDS", "HELD_OUT_LIGHTS", "HELD_OUT_STYLES", "KINDS", "LIGHTS", "SETTINGS", "STYLES",
    "TRAIN_KINDS", "TRAIN_LIGHTS", "TRAIN_STYLES", "Scene", "SceneConfig", "exact_map", "read_depth",
    "render", "scenes_dataset", "write_scenes",
]  # fmt: skip
