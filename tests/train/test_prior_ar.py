"""Does the autoregressive prior learn from pictures with captions, and continue where it stopped?"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_base import tiny_pipeline
from tests.tiny_clip import WIDTH, with_clip
from tests.train.own_pairs import picture
from tests.train.test_unclip import LOOP, some
from train.checkpoint import read_checkpoint, whole_checkpoints
from train.command import main
from train.config import LoopConfig, RunConfig
from train.embeddings import Clip
from train.loop import fit
from train.objectives.prior_ar import ArPriorConfig, ArPriorObjective
from unicon import ArPriorSettings, UniConPipeline
from unicon.embeddings import identity

TINY = {"channels": 16, "layers": 2, "heads": 2, "buckets": 16, "components": 5}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    with_clip(tiny_pipeline(folder / "words")).save_pretrained(folder / "tiny")
    return folder / "tiny"


@pytest.fixture(scope="module")
def encoders(base) -> Clip:
    pipe = UniConPipeline.from_pretrained(base, adapters=())
    return Clip(pipe.image_encoder, None, pipe.text_encoder, pipe.tokenizer)


def objective(tmp_path, encoders, **changes) -> ArPriorObjective:
    found = some(tmp_path, encoders)
    config = ArPriorConfig(**{**TINY, "validation_items": 3, **changes})
    return ArPriorObjective(config, found, found.readable())


def test_its_error_is_the_cross_entropy_of_the_components(tmp_path, encoders):
    made = objective(tmp_path, encoders)
    assert made.num_items == 36
    draws = made.draw(torch.Generator().manual_seed(0), torch.arange(36))
    with torch.no_grad():  # one that knows nothing has a known error
        made.prior.to_bucket.weight.zero_()
        made.prior.to_bucket.bias.zero_()
    loss, parts = made(np.arange(36), draws)
    torch.testing.assert_close(loss, torch.full((36,), math.log(16)))
    torch.testing.assert_close(parts["first"], loss)
    with torch.no_grad():  # one that knows how common each bucket is, the entropy
        buckets = made.prior.to_buckets(made._true(made.items))
        made.prior.to_bucket.bias.copy_(torch.bincount(buckets.flatten(), minlength=16).log().clamp(min=-30))
        informed = float(made(np.arange(36), draws)[0].mean())
    shares = torch.bincount(buckets.flatten(), minlength=16) / buckets.numel()
    entropy = -(shares * shares.clamp(min=1e-9).log()).sum()
    assert informed == pytest.approx(float(entropy), abs=1e-3)


def test_as_many_components_as_are_needed(tmp_path, encoders):
    few, many = (
        objective(tmp_path, encoders, components=0, lost=lost).prior.config["components"]
        for lost in (0.5, 1e-6)
    )
    assert 1 <= few < many <= WIDTH


def test_captions_are_dropped(tmp_path, encoders, monkeypatch):
    made = objective(tmp_path, encoders, text_dropout=0.25)
    items = torch.zeros(2000, dtype=torch.long)
    draws = made.draw(torch.Generator().manual_seed(0), items)
    seen, forward = [], made.prior.forward
    monkeypatch.setattr(made.prior, "forward", lambda said, *rest: seen.append(said) or forward(said, *rest))
    made(items.numpy(), draws)
    assert float((seen[0].mask.sum(1) == 2).float().mean()) == pytest.approx(0.25, abs=0.03)


def test_it_learns_what_its_captions_say(tmp_path, encoders):
    made = objective(tmp_path, encoders, text_dropout=0.0)
    optimizer = torch.optim.AdamW(made.trained().values(), lr=5e-3)
    items, losses = np.arange(36), []
    for step in range(60):
        draws = made.draw(torch.Generator().manual_seed(step % 4), torch.from_numpy(items))
        loss = made(items, draws)[0].mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    numbers, sheet = made.validate()
    assert set(numbers) == {
        "cosine_picture", "cosine_another_picture", "cosine_text", "cosine_another_text", "own_picture_first"
    }  # fmt: skip
    assert sheet.size == (3, 3)


def train(made, folder: Path, seconds: float = float("inf")) -> dict[str, torch.Tensor]:
    loop = LoopConfig(
        steps=4, batch_size=4, warmup_steps=1, checkpoint_every=2, mixed_precision="no", learning_rate=1e-3
    )
    fit(made, RunConfig(name="prior-ar", objective=made.config, loop=loop), folder, stop_after=seconds)
    return read_checkpoint(whole_checkpoints(folder / "checkpoints")[-1][1]).trained


def test_resuming_is_bitwise_the_straight_run(tmp_path, encoders):
    straight = train(objective(tmp_path, encoders), tmp_path / "straight")
    for _ in range(5):  # pause after every step
        paused = train(objective(tmp_path, encoders), tmp_path / "paused", seconds=0.0)
    assert all(torch.equal(straight[k], paused[k]) for k in straight)
    name = "diffusion_pytorch_model.safetensors"
    weights = [tmp_path / run / "export" / name for run in ("straight", "paused")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_recipe_makes_a_prior_that_its_base_loads(base, tmp_path, capsys):
    (tmp_path / "data" / "image").mkdir(parents=True)
    for i in range(8):
        picture(i, (64, 64)).save(tmp_path / "data" / "image" / f"{i}.png")
        (tmp_path / "data" / "image" / f"{i}.txt").write_text(f"no {i}")
    tiny = ["--channels", "16", "--layers", "1", "--heads", "2", "--lost", "0.2"]
    start = ["prior-ar", "--base", str(base), *tiny, *LOOP, "--out", str(tmp_path)]
    assert main([*start, "--data", str(tmp_path / "data")]) == 0
    pipe = UniConPipeline.from_pretrained(base, adapters=())
    pipe.load_prior(tmp_path / "prior-ar" / "export")
    assert pipe.prior_clips["prior_ar"] == identity(pipe.image_encoder)
    assert pipe.imagine(["a dog"], ArPriorSettings(top_p=0.5)).shape == (1, WIDTH)
    assert main([*start, "--as", "other"]) == 2
    assert "give --data PICTURES with captions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 15}, "channels is 15; it must be a multiple of heads 2"),
        ({"text_dropout": 1.0}, "text_dropout must be a number of at least 0 and below 1, got 1.0"),
        ({"buckets": 1}, "buckets is 1; expected at least 1 component"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=message):
        ArPriorConfig(**{**TINY, **change})
