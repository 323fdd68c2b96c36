"""Is the compressor's rescaling exact, and does it learn from the crops it should?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from train.objectives.vae import VaeConfig, new_vae, scale_latents
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
    tiny = {"channels": (8, 16), "blocks": (1, 1), "latent_channels": 4, "crop": 16, "photos": ""}
    return VaeConfig(**{**tiny, **settings}).build(folder)


def test_poses_are_learnt_where_figures_are(scenes):
    objective = _objective(scenes)
    draws = objective.draw(torch.Generator().manual_seed(0), torch.arange(20))
    draws["kind"] = torch.full((20,), 0.999)
    pictures = objective._pictures(torch.arange(20) % 4, draws)
    assert pictures.shape == (20, 3, 16, 16)
    assert (pictures.amax(dim=(1, 2, 3)) == 1).all()


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
