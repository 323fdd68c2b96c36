"""Is the compressor's rescaling exact, and does it learn from the crops it should?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from train.objectives.vae import VaeConfig, as_tensor, multiscale_error, new_vae, scale_latents
from train.shards import write_shard

SIZE = 32


def test_rescaled_latents_give_the_same_pictures():
    torch.manual_seed(0)
    vae = new_vae(VaeConfig(channels=(8, 16), blocks=(1, 2), latent_channels=4))
    with torch.no_grad():
        for parameter in vae.parameters():  # at the start residual blocks add nothing
            parameter.add_(0.2 * torch.randn_like(parameter))
    vae.double()
    pictures = torch.rand(2, 3, 16, 16, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        latents = vae.encoder(pictures)
        decoded = vae.decoder(latents)
        scale_latents(vae, 0.05)
        torch.testing.assert_close(vae.encoder(pictures), 0.05 * latents)
        # the decoder's last norm has an epsilon, which is all that may differ
        torch.testing.assert_close(vae.decoder(0.05 * latents), decoded, atol=2e-3, rtol=2e-3)


@pytest.fixture
def scenes(tmp_path):
    """Four scenes; the last alone shows a figure, in the lower right."""
    rng = np.random.default_rng(0)
    joints = np.full((4, 6, 18, 3), np.nan, np.float32)
    joints[3, 0] = (28, 26, 1)
    pose = np.zeros((4, SIZE, SIZE, 3), np.uint8)
    pose[3, 24:, 26:] = 255
    pictures = rng.integers(0, 255, (4, SIZE, SIZE, 3), dtype=np.uint8)
    arrays = {"image": pictures, "second": pictures, "depth": pictures[..., 0], "edge": pictures[..., 0]}
    write_shard(
        tmp_path / "scenes" / "shard_000000",
        {**arrays, "pose": pose, "joints": joints},
        {"captions": ["a scene"] * 4, "second_captions": ["a scene"] * 4},
    )
    return tmp_path


def _objective(folder, **settings):
    tiny = {"channels": (8, 16), "blocks": (1, 1), "latent_channels": 4, "crop": 16, "photo_shards": ""}
    return VaeConfig(**{**tiny, **settings}).build(folder)


def test_poses_are_learnt_where_figures_are(scenes):
    objective = _objective(scenes)
    draws = objective.draw(torch.Generator().manual_seed(0), torch.arange(20))
    draws["kind"] = torch.full((20,), 0.999)
    pictures = objective._pictures(torch.arange(20) % 4, draws)
    assert pictures.shape == (20, 3, 16, 16)
    assert (pictures.amax(dim=(1, 2, 3)) == 1).all()


KIND = {"image": 0.1, "pose": 0.999}


def test_what_is_seen_is_its_crop_mirrored_left_to_right(scenes):
    objective = _objective(scenes)
    items = torch.tensor([0, 2])
    draws = objective.draw(torch.Generator().manual_seed(0), items)
    draws["kind"], draws["corner"] = torch.full((2,), KIND["image"]), torch.tensor([[3, 9], [0, 16]])
    whole = [as_tensor(objective.scenes.row("image", n)) for n in (0, 2)]
    crops = torch.stack([whole[0][:, 3:19, 9:25], whole[1][:, :16, 16:]])
    for flip, expected in ((0.6, crops), (0.4, crops.flip(-1))):
        draws["flip"] = torch.full((2,), flip)
        assert torch.equal(objective._pictures(items, draws), expected)


class _Grey(torch.nn.Module):
    """A decoder that answers mid-grey, whatever it is given."""

    def forward(self, latents):
        return torch.nn.functional.interpolate(0 * latents[:, :3], scale_factor=4.0)


def test_halved_latents_have_to_show_the_halved_picture_and_poses_count_more(scenes):
    objective = _objective(scenes, half_weight=0.25)
    objective.vae.decoder = _Grey()
    items = torch.tensor([1, 3])
    draws = objective.draw(torch.Generator().manual_seed(0), items)
    draws["kind"] = torch.tensor([KIND["image"], KIND["pose"]])
    target = objective._pictures(items, draws)
    half = torch.nn.functional.avg_pool2d(target, 2)
    errors = [multiscale_error(0 * each, each, objective.config.gradient_weight) for each in (target, half)]
    expected = (errors[0] + 0.25 * errors[1]) * torch.tensor([1.0, 3.0])
    loss, parts = objective(items, draws)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(parts["psnr"], 10 * (4 / target.square().mean((1, 2, 3))).log10())


def test_an_error_of_colour_counts_more_than_one_of_brightness():
    target = torch.zeros(3, 3, 8, 8)
    wrong = target.clone()
    wrong[0] += 0.1  # brighter
    wrong[1, 0] += 0.1 * 1.5**0.5  # redder than green, and as far away
    wrong[1, 1] -= 0.1 * 1.5**0.5
    bright, red, none = multiscale_error(wrong, target, 0.5).tolist()
    length = 0.1 * 3**0.5
    assert none == 0
    assert bright == pytest.approx(length + 2 * length**2)  # one of three components, on three scales
    assert red == pytest.approx(3 * length + 2 * (3 * length) ** 2)


def test_a_crop_the_compressor_cannot_take_is_refused(scenes):
    with pytest.raises(ValueError, match="crop is 18; expected a multiple of the compressor's factor 4"):
        _objective(scenes, crop=18)


class _Scaled(torch.nn.Module):
    """A module whose input and output are multiplied."""

    def __init__(self, module, before, after):
        super().__init__()
        self.module, self.before, self.after = module, before, after

    def forward(self, x):
        return self.after * self.module(self.before * x)


def test_larger_latents_do_not_drown_their_noise(scenes):
    objective = _objective(scenes, latent_noise=0.5)
    scale = torch.ones((), requires_grad=True)
    objective.vae.encoder = _Scaled(objective.vae.encoder, 1.0, scale)
    objective.vae.decoder = _Scaled(objective.vae.decoder, 1 / scale, 1.0)
    loss, _ = objective(torch.arange(4), objective.draw(torch.Generator().manual_seed(0), torch.arange(4)))
    (slope,) = torch.autograd.grad(loss.mean(), scale)
    assert abs(slope) < 1e-4 * loss.mean()
