"""Do the numbers of enlarging say what they are named after?"""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from adapters import AdapterConfig
from benchmarks.upscaling import measure, scores, window_ends
from tests.adapters.tiny import trained
from tests.tiny_base import tiny_pipeline
from unicon.conditions.lowres import enlarged


def test_a_perfect_picture_a_blurred_one_and_one_with_a_seam():
    rng = np.random.default_rng(0)
    small = rng.integers(40, 216, (16, 16, 3), dtype=np.uint8)
    true = small.repeat(2, 0).repeat(2, 1)
    perfect = scores([true], [true], [small], [16])
    assert (perfect["error"], perfect["change"]) == (0, 0)
    assert perfect["detail"] == pytest.approx(1)
    smooth = np.linspace(50, 200, 32)[None, :, None].repeat(32, 0).repeat(3, 2)
    blurred = scores([enlarged(small, 32, 32)], [true], [small], [16])
    assert blurred["detail"] < 0.9
    assert blurred["error"] > 0.01
    seam = smooth.copy()
    seam[:, 16:] += 20
    found = [scores([each.astype(np.uint8)], [true], [small], [16])["seams"] for each in (smooth, seam)]
    assert found[0] == pytest.approx(1, abs=0.3)
    assert found[1] > 3


def test_the_table_is_measured_on_a_pipeline(tmp_path):
    pipe = tiny_pipeline(tmp_path / "words")
    settings = AdapterConfig(condition="lowres", rank=2, locality=4.0, clean_timestep=150)
    pipe.add_adapter(trained(pipe.unet, settings, seed=9))
    assert window_ends(pipe, 64) == [16, 32, 48]
    args = argparse.Namespace(scenes=2, seeds=2, steps=1, noise=[0.0], out=tmp_path / "out")
    rows = measure(pipe, args)
    assert [row["picture"] for row in rows] == ["bicubic", "noise 0", "poor, bicubic", "poor, noise 0"]
    assert "±" in rows[1]["error"]
    assert (tmp_path / "out" / "table.md").read_text().count("|") > 20
    assert (tmp_path / "out" / "sheet.png").exists()
