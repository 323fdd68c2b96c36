"""How near are the pictures of one model to training pictures, as a set and one by one?"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

from eval.features import FeatureSet
from eval.originality.copies import judge
from eval.originality.look import describe, nearest_look
from eval.protocols.distributions import distances

from .features import Embedded
from .pictures import Sets


def model_numbers(embedded: Embedded, model: str, features: str) -> dict[str, float]:
    """Of one model, in one kind of features."""
    both = [
        FeatureSet(values=rows, names=tuple(map(str, range(len(rows)))), source=features)
        for rows in (embedded(features, "reference"), embedded(features, model))
    ]
    numbers = {name: float(value) for name, value in distances(both[0], both[1], ks=(3,)).items()}
    return numbers | {"near_copies": near_copies(embedded.sets, model)}


@cache
def near_copies(sets: Sets, model: str) -> float:
    """Share of its pictures that are copies of training pictures by look."""
    pictures, own = looks(sets)
    found = judge(*nearest_look(describe(_images(sets.of(model))), pictures), own)
    return float(found.is_copy.mean())


@cache
def looks(sets: Sets):
    """Of the reference, and how near each of it has another."""
    known = describe(_images(sets.reference()))
    return known, nearest_look(known, known, same=True)[0]


def _images(pictures: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(each) for each in pictures]
