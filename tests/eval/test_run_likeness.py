"""Are features of a run kept for the model that made them alone?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from eval.features import FeatureSet
from eval.pictures import Pictures
from eval.runs.likeness import SetComparer
from eval.runs.roll import Roll
from eval.runs.store import Store


class Scaled:
    """A model of one weight, which is its features; replaced, it keeps its folder's name."""

    source = "folder, 8 px"
    preprocessing = (8, "bicubic")

    def __init__(self, weight: float):
        self.model = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(self.model.weight, weight)

    def __call__(self, pictures: Pictures) -> FeatureSet:
        values = np.full((len(pictures), 1), float(self.model.weight.item()), np.float32)
        return FeatureSet(values=values, names=pictures.names, source=self.source)


def features(folder: Path, weight: float, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr("eval.runs.likeness.Extractor", lambda *_, **__: Scaled(weight))
    store = cast(Store, SimpleNamespace(folder=folder))
    one = SetComparer(store, cast(Roll, None), "folder", "cpu")
    return float(one._features("own", ["a"], cast(Any, None)).values[0, 0])


def test_a_model_replaced_in_its_folder_gets_features_of_its_own(tmp_path, monkeypatch):
    torch.manual_seed(0)
    assert features(tmp_path, 1.0, monkeypatch) == 1
    torch.manual_seed(0)
    assert features(tmp_path, 2.0, monkeypatch) == 2
    torch.manual_seed(0)
    assert features(tmp_path, 1.0, monkeypatch) == 1
    assert len(list((tmp_path / "features").iterdir())) == 2  # the first is found again
    monkeypatch.setattr(Scaled, "preprocessing", (8, "bilinear"))
    torch.manual_seed(0)
    features(tmp_path, 1.0, monkeypatch)
    assert len(list((tmp_path / "features").iterdir())) == 3
