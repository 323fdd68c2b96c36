"""Do tables say what is recorded, and which way is better?"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.model_comparison.place import SCENES, Place
from benchmarks.model_comparison.systems import OURS, SPECIALISTS, SYSTEMS, THIRDS, System
from benchmarks.model_comparison.tables import captions_table, claims, table
from tests.benchmarks.model_comparison.tiny import place_in


def noted(place: Place, system: System, direction: str, *values: float) -> None:
    rows = {"adapter": values, "another": [0.5] * len(values)}
    if direction == "estimate":
        rows["mean map of the training set"] = [0.4]
    rows["the exact map"] = [0.01]
    mean = sum(values) / len(values)
    about = {"system": system.name, "direction": direction}
    place.note("scenes", {str(n): mean + 0.01 * n for n in range(3)}, about)
    for prediction, numbers in rows.items():
        for seed, value in enumerate(numbers):
            about = {"system": system.name, "direction": direction, "seed": seed, "prediction": prediction}
            place.note("score", {"abs_rel": value}, about)


def test_tables_are_made_of_records(tmp_path):
    place = place_in(tmp_path)
    for system in SYSTEMS:
        about = {"system": system.name, "stage": system.stage}
        place.note("cost", {"flops": 7e9, "trained": 650_000, "steps": 200}, about)
    noted(place, OURS, "estimate", 0.15, 0.17)
    noted(place, SPECIALISTS[2], "estimate", 0.25, 0.27)
    noted(place, THIRDS[2], "estimate", 0.16, 0.17)
    noted(place, SPECIALISTS[3], "generate", 0.3, 0.3)
    said = table(place)
    assert "| one adapter (ours) | 0.65M | 7.00 | 200 | - | 0.160 ± 0.014 / 0.500 | - |" in said
    assert "| JointNet-style | 0.65M | 7.00 | 200 | (0.300 ± 0.000 / 0.500) | - | - |" in said
    assert "ControlNet" not in said  # nothing was measured of it
    assert "| mean map of the training set | | | | - | 0.400 | - |" in said
    assert "| the true picture or map | | | | - | 0.010 | - |" in said
    (row,) = claims(place).splitlines()[2:]
    assert row == (
        "| image to map | 0.160 ± 0.014 | Marigold-style | 0.260 ± 0.014: ours ahead, by "
        "0.100 [0.100, 0.100] | 0.165 ± 0.007: ours ahead, by 0.005 [0.005, 0.005] |"
    )
    noted(place, SPECIALISTS[2], "estimate", 0.05, 0.06)  # the newest counts
    assert "0.055 ± 0.007: ours behind, by -0.105" in claims(place)
    about = {"system": THIRDS[2].name, "direction": "estimate"}
    place.note("scenes", {"0": 0.1, "1": 0.17, "2": 0.25}, about)  # better on some scenes, worse on others
    assert "0.165 ± 0.007: no difference, by" in claims(place)


def test_of_edges_more_is_better(tmp_path):
    place = replace(place_in(tmp_path), condition="edge")
    for system, value in ((OURS, 0.8), (SPECIALISTS[0], 0.7)):
        about = {"system": system.name, "direction": "generate", "seed": 0, "prediction": "adapter"}
        place.note("score", {"f1": value}, about)
        place.note("scenes", {"0": value, "1": value}, about)
    assert "| map to image | 0.800 | ControlNet | 0.700: ours ahead, by 0.100 [" in claims(place)


def test_captions_are_told_over_seeds(tmp_path):
    place = place_in(tmp_path)
    for system, direction, values in (("joint", "joint", (0.1, 0.3)), ("jointnet", "generate", (0.2, 0.2))):
        for seed, value in enumerate(values):
            about = {"system": system, "direction": direction, "seed": seed}
            place.note("text", {"cosine": 0.5, "own_first": value}, about)
    place.note("text", {"cosine": 0.5, "own_first": 0.9}, {"system": SCENES, "direction": "", "seed": 0})
    assert captions_table(place).splitlines()[2:] == [
        "| one adapter (ours) | - | 0.200 ± 0.141 |",
        "| JointNet-style | (0.200 ± 0.000) | - |",
        "| the scenes' own pictures | 0.900 | |",
    ]
