"""Are modes what captions name, and found no more often than they are there?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.model_families.modes import ELSEWHERE, Classifier, ModeFinder, chance_of, mode_of


@pytest.mark.parametrize(
    ("caption", "mode"),
    [
        ("a woman in a white shirt kicking on snow under a blue sky in bright sunlight", "snow, blue sky"),
        ("a wooden chair on a grey road under a golden sky, golden evening light", "grey road, golden sky"),
        ("a cube on dry grass under a grey sky", "dry grass, grey sky"),
        ("a red lamp in a room with a striped wall and a wooden floor", ELSEWHERE),
        ("an orange dog on a table with a spotted black cloth in front of a green wall", ELSEWHERE),
        ("a black cone on a teal table in front of a brick wall", ELSEWHERE),
        ("a green cylinder and a white dog, warm lamp light", None),
        ("a wooden table, a man standing and a grey cylinder, soft grey light", None),
    ],
)
def test_modes_are_what_captions_name(caption, mode):
    assert mode_of(caption) == mode


def test_the_chance_of_false_alarms_is_a_binomial_tail():
    assert chance_of(0, 10, 0.3) == 1
    assert chance_of(1, 10, 0.3) == pytest.approx(1 - 0.7**10)
    assert chance_of(10, 10, 0.3) == pytest.approx(0.3**10, abs=1e-12)
    assert chance_of(3, 500, 0.002) == pytest.approx(0.080, abs=0.002)


def test_a_classifier_finds_what_can_be_told_apart():
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 3, (3, 8))
    names = ["a", "b", "c"]
    places = rng.integers(0, 3, 300)
    features = (centres[places] + rng.normal(0, 0.5, (300, 8))).astype(np.float32)
    classifier = Classifier.of(features[:200], [names[n] for n in places[:200]])
    found = classifier(features[200:])
    assert np.mean([f == names[n] for f, n in zip(found, places[200:], strict=True)]) > 0.97


def test_rare_modes_are_those_of_a_small_share():
    finder = ModeFinder(
        classifier=Classifier(modes=[], weights=torch.zeros(1), mean=np.zeros(1), deviation=np.zeros(1)),
        shares={ELSEWHERE: 0.01, "snow, blue sky": 0.01, "grass, blue sky": 0.05},
        found={}, false_alarms={}, accuracy=1.0,
    )  # fmt: skip
    assert finder.rare == ["snow, blue sky"]
