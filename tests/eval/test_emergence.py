"""Is it found where a style is decided, where that is known?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from eval.emergence import Emergence, StyleDistance, colour, emergence, layout, light, style_emergence
from tests.pipeline.test_styles import style
from tests.tiny_base import SCHEDULER, tiny_pipeline
from train.levels import parse_law
from unicon.sampling.grids import Spacing
from unicon.sampling.levels import Levels, Schedule, spread
from unicon.sampling.noise import NoiseSource
from unicon.sampling.solvers import Solver

SHAPE = (2, 1, 4, 4)
SHIFT = 3.0


def planted(low: float, high: float, *, zero_snr: bool = True, steps: int = 40) -> Emergence:
    """Of a standard normal world whose style moves the clean estimate at log-SNRs from low to high."""
    schedule = Schedule.from_scheduler({**SCHEDULER, "rescale_betas_zero_snr": zero_snr})

    def plain(x: torch.Tensor, level: Levels) -> torch.Tensor:
        return spread(level.alpha, x) * x  # the exact denoiser of a standard normal

    def styled(x: torch.Tensor, level: Levels) -> torch.Tensor:
        here = low <= float(level.log_snr[0]) <= high
        return plain(x, level) + SHIFT * here

    drawn = {}

    def measure(latents: torch.Tensor) -> dict[str, float]:
        drawn.setdefault("plain", latents)
        moved = float((latents - drawn["plain"]).mean())
        return {"style": math.exp(-moved), "nothing": 1.0}

    return emergence(
        plain, styled, measure, schedule=schedule, grid=Spacing(name="trailing").grid(schedule, steps),
        solver=Solver(name="ddim"), noise=NoiseSource.from_seed(0, SHAPE[0]), shape=SHAPE,
    )  # fmt: skip


@pytest.mark.parametrize("middle", [-5.0, -3.0, 0.0, 3.0])
@pytest.mark.parametrize("zero_snr", [True, False])
def test_a_planted_threshold_is_found(middle, zero_snr):
    found = planted(middle - 0.8, middle + 0.8, zero_snr=zero_snr)
    spacing = np.diff(found.log_snr)[1:-1].max()  # a grid knows no more than its steps
    assert found.mean("style") == pytest.approx(middle, abs=0.8 + spacing)
    assert found.lost("style") == pytest.approx(middle, abs=0.8 + spacing)
    assert found.deviation("style") < 0.8 + spacing
    inside = np.abs(np.array(found.log_snr) - middle) < 0.8 + spacing
    assert found.decided("style")[~inside].sum() < 1e-6
    assert list(found.shares) == ["style"]  # what the style does not change says nothing


def test_thresholds_keep_their_order_and_width():
    early, late = planted(-5, -3), planted(-1, 1)
    assert early.mean("style") < late.mean("style") - 2
    wide = planted(-5, 5)
    assert wide.deviation("style") > 1.5 * max(early.deviation("style"), late.deviation("style"))


def test_the_law_that_is_proposed_is_one():
    found = planted(-5, -3)
    law = found.law()
    schedule = Schedule.from_scheduler(SCHEDULER)
    table = parse_law(law)(schedule)
    assert law == f"style_friendly({found.mean('style'):.2f}, 2.00)"
    drawn = schedule.at_timestep(table.timesteps(torch.linspace(0.001, 0.999, 999))).log_snr
    assert float(drawn.median()) == pytest.approx(found.mean("style"), abs=0.2)
    with pytest.raises(ValueError, match="changes nothing that is measured"):
        Emergence(log_snr=(0.0,), shares={}).law()


def test_aspects_see_what_they_are_about():
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(2, 3, 64, 64, generator=generator) * 0.5
    tinted = (
        pictures * torch.tensor([1.0, 0.4, 0.4])[:, None, None] + torch.tensor([0, 0.1, 0.1])[:, None, None]
    )
    moved = pictures.roll(32, -1)
    assert (colour(pictures) - colour(tinted)).norm() > 10 * (colour(pictures) - colour(moved)).norm()
    assert torch.allclose(colour(pictures).square().sum(1), torch.ones(2))
    half = torch.zeros(1, 3, 64, 64)
    half[..., :32] = 1
    assert (layout(half) - layout(half.flip(-1))).norm() > 5
    assert torch.allclose(layout(half + 0.1), layout(half), atol=1e-5)
    assert torch.allclose(light(half), light(half.flip(-1)))
    assert (light(pictures) - light(pictures * 0.5)).norm() > 0.1
    assert StyleDistance.to(pictures, pictures, None)(pictures)["layout"] == 0


def test_the_style_of_a_pipeline(tmp_path):
    pipe = tiny_pipeline(tmp_path / "words")
    pipe.text_encoder.half()  # formats may differ between a base's parts, as mini's do
    before = {name: tensor.clone() for name, tensor in pipe.unet.state_dict().items()}
    with pytest.raises(ValueError, match="there is no style to measure"):
        style_emergence(pipe, ["a dog"])
    style(pipe, tmp_path / "ink.safetensors")
    pipe.load_style(tmp_path / "ink.safetensors", "ink", weight=0.7)
    found = style_emergence(pipe, ["a dog", "a cat"], steps=4, references=torch.rand(2, 3, 32, 32))
    assert len(found.log_snr) == 4
    assert all(np.isfinite(found.log_snr))
    assert "layout" in found.shares
    for values in found.shares.values():
        assert values[0] == pytest.approx(0)
        assert values[-1] == pytest.approx(1)
    again = style_emergence(pipe, ["a dog", "a cat"], steps=4, references=torch.rand(2, 3, 32, 32))
    assert again.shares["layout"] == found.shares["layout"]
    assert all(torch.equal(before[name], tensor) for name, tensor in pipe.unet.state_dict().items())
    assert parse_law(found.law())
