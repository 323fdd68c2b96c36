"""Do a base's features learn to tell the maps of what it denoises, and does nothing of that ship?"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from train.latents import TRIGGERS
from train.objectives.base_unet import KINDS, MAPS, BaseUnetConfig, BaseUnetObjective
from train.objectives.regressor import RegressorConfig
from train.shards import MAPS as ARRAYS
from train.shards import write_shard
from unicon.sampling.levels import add_noise, network_target

SHAPE, TOKENS, WIDTH = (4, 8, 8), 5, 12


@pytest.fixture
def family(tmp_path):
    """Eight encoded scenes."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((8, *SHAPE)).astype(np.float16) for name in ARRAYS}
    arrays |= {f"{n}_text": rng.standard_normal((8, TOKENS, WIDTH)).astype(np.float16) for n in ARRAYS}
    captions = ["a ball"] * 8
    write_shard(
        tmp_path / "latents" / "shard_000000", arrays, {"captions": captions, "second_captions": captions}
    )
    np.save(tmp_path / "latents" / "empty_text.npy", np.zeros((len(TRIGGERS), TOKENS, WIDTH), np.float16))
    return tmp_path


def build(family, **changes) -> BaseUnetObjective:
    size = {"channels": (16, 32), "head_width": 8, "photo_latents": ""}
    return BaseUnetConfig(**{**size, **changes}).build(family)


def draws_of(objective: BaseUnetObjective, items: torch.Tensor, *kinds: str):
    """Draws in which the items are of these kinds."""
    draws = objective.draw(torch.Generator().manual_seed(0), items)
    bounds = np.cumsum((0.0, *objective.config.shares))
    draws["kind"] = torch.tensor([bounds[KINDS.index(kind)] + 1e-4 for kind in kinds])
    return draws


def test_maps_are_told_of_pictures_alone(family):
    objective, items = build(family), torch.arange(4)
    draws = draws_of(objective, items, "image", "second", "depth", "image")
    draws["clean"] = torch.ones(4)
    loss, parts = objective(items, draws)
    assert (parts["maps"] > 0).tolist() == [True, False, False, True]
    plain, none = build(family, maps_weight=0.0)(items, draws)
    assert none == {}
    torch.testing.assert_close(parts["velocity"], plain)
    torch.testing.assert_close(loss, plain + parts["maps"].nan_to_num())  # the others have no known maps


def test_of_clean_pictures_only_the_maps_are_learnt(family):
    objective, items = build(family, bare_clean=0.0, clean_weight=3.0), torch.arange(4)
    draws = draws_of(objective, items, "image", "second", "depth", "image")
    draws["clean"] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    loss, parts = objective(items, draws)
    assert (parts["maps_of_clean"] > 0).tolist() == [True, False, False, False]
    assert (parts["maps"] > 0).tolist() == [False, False, False, True]
    assert (parts["velocity"] > 0).tolist() == [False, True, True, True]
    torch.testing.assert_close(loss[0], 3 * parts["maps_of_clean"][0])
    draws["noise"][0] += 1
    torch.testing.assert_close(objective(items, draws)[0][0], loss[0])  # there is no noise on it


def test_a_network_that_is_right_has_no_error(family, monkeypatch):
    """Right about the velocity of its own latent, at the level it is told; a clean picture has its own."""
    objective, items = build(family, maps_weight=0.0, caption_dropout=0.5), torch.tensor([1, 4, 6])
    draws = draws_of(objective, items, "image", "depth", "edge")
    draws["uncaptioned"] = torch.tensor([0.9, 0.9, 0.1])
    scenes = objective.scenes
    rows = [scenes.row(name, n) for name, n in (("image", 1), ("depth", 4), ("edge", 6))]
    clean = torch.from_numpy(np.stack(rows)).float()
    texts = torch.from_numpy(np.stack([scenes.row("image_text", 1), scenes.row("depth_text", 4)])).float()

    def answer(x, timestep, text):
        assert torch.equal(text, torch.stack([*texts, objective.empty[list(TRIGGERS).index("edge")]]))
        torch.testing.assert_close(timestep, (draws["progress"] * 999).float())
        levels = objective.schedule.at_timestep(timestep)
        torch.testing.assert_close(x, add_noise(clean, draws["noise"], levels))
        return SimpleNamespace(sample=network_target(clean, draws["noise"], levels, "v_prediction"))

    monkeypatch.setattr(objective.unet, "forward", answer)
    torch.testing.assert_close(objective(items, draws)[0], torch.zeros(3))


def test_the_maps_told_are_those_of_the_picture(family):
    objective = build(family)
    items = np.array([3, 5])
    maps = objective._maps(items, np.array([KINDS.index("edge"), KINDS.index("image")]))
    assert maps.shape == (2, len(MAPS) * SHAPE[0], *SHAPE[1:])
    assert not maps[0].any()
    expected = np.concatenate([objective.scenes.row(name, 5) for name in MAPS])
    assert np.array_equal(maps[1].numpy(), expected)


@pytest.mark.slow
def test_its_error_reaches_the_unet_and_falls(family):
    objective, items = build(family, maps_weight=1.0), torch.arange(8)
    draws = draws_of(objective, items, *["image"] * 8)
    draws["clean"] = torch.ones(8)
    optimizer = torch.optim.AdamW(objective.trained().values(), lr=3e-3)
    found = []
    for _ in range(60):
        parts = objective(items, draws)[1]
        found.append(parts["maps"].mean().item())
        parts["maps"].mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert found[-1] < 0.5 * found[0]  # eight pictures are learnt by heart
    assert objective.unet.conv_in.weight.grad is None  # zeroed after every step
    objective(items, draws)[1]["maps"].mean().backward()
    assert objective.unet.conv_in.weight.grad.any()


def test_only_the_unet_and_its_schedule_are_exported(family, tmp_path):
    build(family).export(tmp_path / "export")
    assert {path.name for path in (tmp_path / "export").iterdir()} == {"unet", "scheduler"}
    again = UNet2DConditionModel.from_pretrained(tmp_path / "export" / "unet")
    assert not [name for name in again.state_dict() if name.startswith("maps")]
    assert build(family, start_from=str(tmp_path / "export" / "unet")).trained()


def test_the_regressor_learns_the_map_that_its_trigger_names(family, monkeypatch):
    rng = np.random.default_rng(3)
    empty = rng.standard_normal((len(TRIGGERS), TOKENS, WIDTH)).astype(np.float16)
    np.save(family / "latents" / "empty_text.npy", empty)
    objective = RegressorConfig(channels=(16, 32), head_width=8).build(family)
    scenes, items = objective.scenes, np.array([1, 4])
    draws = objective.draw(torch.Generator().manual_seed(0), torch.from_numpy(items))
    draws["kind"] = torch.tensor([MAPS.index("edge"), MAPS.index("depth")])

    def answer(picture, timestep, text):
        pictures = np.stack([scenes.row("image", n) for n in items])
        assert torch.equal(picture, torch.from_numpy(pictures).float())
        told = [empty[list(TRIGGERS).index(name)] for name in ("edge", "depth")]
        assert torch.equal(text, torch.from_numpy(np.stack(told)).float())
        maps = [scenes.row("edge", 1), scenes.row("depth", 4)]
        return SimpleNamespace(sample=torch.from_numpy(np.stack(maps)).float())

    monkeypatch.setattr(objective.unet, "forward", answer)
    assert torch.equal(objective(items, draws)[0], torch.zeros(2))


@pytest.mark.parametrize("shares", [(1.0,), (0.5, 0.5, 0.5, 0, 0, 0)])
def test_shares_that_are_no_shares(family, shares):
    with pytest.raises(ValueError, match="must be 6 numbers .* that sum to 1"):
        build(family, shares=shares)
