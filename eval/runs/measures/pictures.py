"""How alike are a map and the true one, whatever they show: in their pixels, and to an image encoder?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from eval.features import MINI, Extractor
from eval.metrics.pictures import psnr, ssim
from eval.runs.items import Sample
from eval.runs.measures.measure import Number, means


@dataclass(frozen=True, kw_only=True, slots=True)
class LikenessMeasure:
    """Maps of any meaning, pixel by pixel."""

    KIND: ClassVar[str] = "likeness"
    NAMES: ClassVar = ("map_rmse", "map_psnr", "map_ssim")

    @property
    def convention(self) -> str:
        return "maps in [0, 1] against maps, PSNR of at most 100 dB, mean over pictures"

    @property
    def numbers(self) -> tuple[Number, ...]:
        return (
            Number(name="map_rmse", label="RMSE of the map", better="lower"),
            Number(name="map_psnr", label="PSNR (dB)", better="higher"),
            Number(name="map_ssim", label="SSIM", better="higher"),
        )

    def facts(self, sample: Sample) -> np.ndarray | None:
        """Truth is a map, (H, W, 3) in [0, 1]."""
        error = float(np.sqrt(np.mean((sample.map.astype(np.float64) - sample.truth) ** 2)))
        return np.array([error, psnr(sample.map, sample.truth), ssim(sample.map, sample.truth)])

    def of(self, total: np.ndarray, num: int) -> dict[str, float]:
        return means(self.NAMES, total, num)


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewMeasure:
    """Views of a subject by what an image encoder sees in them: they need not agree in any pixel."""

    features: str = MINI
    """Whose, see `eval.features`."""

    KIND: ClassVar[str] = "view"

    @property
    def weights(self) -> str:
        """What the numbers depend on beside the fields: the encoder itself, and how it sees pictures."""
        from eval.digests import digest_of  # loads the libraries of models

        extractor = _extractor(self.features)
        return f"{digest_of(extractor.model)} {extractor.preprocessing}"

    @property
    def convention(self) -> str:
        return f"cosine of the features of the map and of the true view ({self.features}), mean over pictures"

    @property
    def numbers(self) -> tuple[Number, ...]:
        return (Number(name="view_cosine", label="cosine of features", better="higher"),)

    def facts(self, sample: Sample) -> np.ndarray | None:
        """Truth is a picture, (H, W, 3) in [0, 1]."""
        one, other = (
            _extractor(self.features).of_array(picture).astype(np.float64)
            for picture in (sample.map, sample.truth)
        )
        return np.array([one @ other / (np.linalg.norm(one) * np.linalg.norm(other))])

    def of(self, total: np.ndarray, num: int) -> dict[str, float]:
        return means(("view_cosine",), total, num)


@cache
def _extractor(model: str) -> Extractor:
    return Extractor(model)
