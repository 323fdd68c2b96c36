"""Is a style learnt from a few pictures, at the levels it is decided at, and used beside any adapter?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from tests.tiny_base import SIDE_PX, save_tiny_base
from tests.train.own_pairs import picture
from train.command import main
from train.objectives.style import StyleConfig, read_references
from unicon import UniConPipeline
from unicon.sampling.levels import add_noise, network_target


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def data(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, size in enumerate([(64, 64), (96, 64), (64, 64)]):
        picture(i, size).save(folder / f"{i}.png")
    (folder / "0.txt").write_text("a dog")
    return folder


def settings(data: Path, base: Path, **changes) -> StyleConfig:
    return StyleConfig(**{"data": str(data), "base": str(base), "phrase": "in ink", "rank": 2, **changes})


def test_a_style_is_trained_and_stacked_with_a_condition(data, base, tmp_path):
    out = tmp_path / "runs"
    card = ["--title", "Ink", "--phrase", "in ink", "--author", "Ada", "--licence", "CC0", "--rank", "2"]
    loop = ["--steps", "2", "--batch_size", "2", "--learning_rate", "0.1", "--mixed_precision", "no"]
    look = ["--validate_every", "2", "--prompts", '["a dog"]']
    arguments = ["style", "--data", str(data), "--base", str(base), *card, *loop, *look, "--out", str(out)]
    assert main(arguments) == 0
    assert (out / "style" / "validation" / "step_00000002.png").exists()
    assert json.loads((out / "style" / "validation.jsonl").read_text())["changed"] > 0
    pipe = UniConPipeline.from_pretrained(base, adapters="depth")
    pipe.set_progress_bar_config(disable=True)

    def draw():
        return pipe(
            "a dog", depth=picture(0, (SIDE_PX, SIDE_PX)), num_inference_steps=2, output_type="np",
            generator=torch.Generator().manual_seed(0),
        ).images  # fmt: skip

    before = draw()
    pipe.load_style(out / "style" / "export" / "ink.safetensors")
    assert pipe.credits() == ["Ink (author: Ada; licence: CC0)"]
    assert not np.array_equal(draw(), before)


def test_levels_follow_the_style_friendly_law(data, base, tmp_path):
    late = []
    for law in ("style_friendly", "uniform"):
        objective = settings(data, base, levels=law).build(tmp_path)
        draws = objective.draw(torch.Generator().manual_seed(0), torch.zeros(400, dtype=torch.long))
        late.append((objective.table.timesteps(draws["progress"]) > 800).float().mean().item())
    assert late[0] > 2 * late[1] == pytest.approx(0.4, abs=0.01)


def test_only_the_lora_learns_and_its_error_falls(data, base, tmp_path):
    objective = settings(data, base).build(tmp_path)
    assert all(name.startswith("lora.") for name in objective.trained())
    items = torch.tensor([0, 2])
    draws = objective.draw(torch.Generator().manual_seed(0), items)
    optimizer = torch.optim.Adam(objective.trained().values(), lr=0.02)
    losses = []
    for _ in range(30):
        loss = objective(items, draws)[0].mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert objective.groups.tolist() in ([0, 1, 0], [1, 0, 1])


def test_a_network_that_is_right_has_no_error(data, base, tmp_path, monkeypatch):
    """Right about the noise of the view that was drawn, at the level it is told, with its caption."""
    changes = {"flip": True, "caption_dropout": 0.5, "loss_weight": "p2", "levels": "uniform"}
    objective = settings(data, base, **changes).build(tmp_path)
    items = torch.tensor([0, 2, 2])
    draws = objective.draw(torch.Generator().manual_seed(0), items)
    draws["view"], draws["uncaptioned"] = torch.tensor([0.1, 0.4, 0.9]), torch.tensor([0.9, 0.9, 0.1])
    clean = torch.stack([objective.latents[0][0], objective.latents[2][0], objective.latents[2][1]])
    wrong = torch.zeros(3)

    def answer(unet, sample, timestep, texts, *, pairs, num_branches):
        levels = objective.schedule.at_timestep(timestep).to(dtype=torch.float32)
        torch.testing.assert_close(sample, add_noise(clean, draws["noise"], levels))
        assert torch.equal(texts, torch.stack([objective.texts[0], objective.texts[2], objective.bare]))
        right = network_target(clean, draws["noise"], levels, objective.schedule.prediction)
        return right + wrong[:, None, None, None]

    monkeypatch.setattr("train.objectives.style.joint_forward", answer)
    torch.testing.assert_close(objective(items, draws)[0], torch.zeros(3))
    wrong[:] = 2.0
    timesteps = objective.table.timesteps(draws["progress"])
    counts = objective.weigh(objective.schedule.at_timestep(timesteps)).float()
    torch.testing.assert_close(objective(items, draws)[0], 4 * counts)
    assert counts.std() > 0.01


def test_panels_are_one_page(data, base):
    (page,) = read_references(settings(data, base, panels=True))
    assert page.image.size == (128, 128)
    assert page.caption == "a page of 3 panels: a dog"
    assert np.array_equal(np.asarray(page.image)[:64, :64], np.asarray(PIL.Image.open(data / "0.png")))
    assert len(read_references(settings(data, base))) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--phrase", ""], "give --data PICTURES and --phrase WORDS"),
        (["--levels", "stylefriendly"], "did you mean style_friendly"),
        (["--loss_weight", "min_snr"], "the weight undoes the law"),
        (["--data", "nowhere"], "nowhere"),
        (["--rank", "0"], "rank must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_input(change, message, data, base, tmp_path, capsys):
    arguments = ["style", "--data", str(data), "--base", str(base), "--phrase", "in ink"]
    assert main([*arguments, *change, "--out", str(tmp_path / "runs")]) == 2
    assert message in capsys.readouterr().err
