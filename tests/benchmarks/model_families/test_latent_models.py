"""Do the VAE and the GAN train what they say?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.model_families.gan import Gan
from benchmarks.model_families.latent_models import LatentModelConfig
from benchmarks.model_families.training import trained
from benchmarks.model_families.vae import Vae


@pytest.fixture
def latents():
    """Around one of two pictures, channels of several means and deviations."""
    rng = np.random.default_rng(0)
    middles = rng.normal(0, 0.95, (2, 4, 16, 16))
    values = middles[rng.integers(0, 2, 64)] + rng.normal(0, 0.3, (64, 4, 16, 16))
    each = np.arange(4)[:, None, None]
    return (values * (0.5 + each) + 2 - each).astype(np.float16)


def test_players_of_the_gan_do_not_play_each_others_part(latents):
    gan = Gan(LatentModelConfig(kind="gan", code=8), latents)
    with torch.no_grad():
        for parameter in gan.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    items = np.arange(6)
    draws = gan.draw(torch.Generator().manual_seed(0), torch.from_numpy(items))
    loss, parts = gan(items, draws)
    critic = torch.autograd.grad(parts["critic"].sum(), list(gan.own.parameters()), retain_graph=True)
    of_all = torch.autograd.grad(loss.sum(), list(gan.own.parameters()), retain_graph=True)
    for one, other in zip(critic, of_all, strict=True):
        torch.testing.assert_close(one, other)
    maker = torch.autograd.grad(parts["maker"].sum(), list(gan.made.parameters()), retain_graph=True)
    of_all = torch.autograd.grad(loss.sum(), list(gan.made.parameters()))
    for one, other in zip(maker, of_all, strict=True):
        torch.testing.assert_close(one, other)
        assert one.abs().sum() > 0
    real = gan.real(items)
    fooled = gan.own(gan.made(draws["code"]))[:, 0]
    torch.testing.assert_close(parts["maker"], F.softplus(gan.own(real)[:, 0] - fooled))


def test_a_vae_at_the_start_pays_a_unit_normal(latents):
    vae = Vae(LatentModelConfig(kind="vae", code=8), latents)
    for parameter in vae.own.last.parameters():
        torch.nn.init.zeros_(parameter)
    items = np.arange(6)
    loss, parts = vae(items, vae.draw(torch.Generator().manual_seed(0), torch.from_numpy(items)))
    torch.testing.assert_close(parts["nats"], torch.zeros(6))
    torch.testing.assert_close(loss, parts["square"] / 2)


def test_networks_see_channels_of_mean_0_and_deviation_1(latents):
    model = Vae(LatentModelConfig(kind="vae", code=8), latents)
    seen = model.real(np.arange(64))
    torch.testing.assert_close(seen.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.std((0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)
    drawn = torch.randn(3, 8, generator=torch.Generator().manual_seed(5))
    made = model.made(drawn) * seen.new_tensor(latents.std((0, 2, 3), dtype=np.float64))[:, None, None]
    mean = seen.new_tensor(latents.mean((0, 2, 3), dtype=np.float64))[:, None, None]
    torch.testing.assert_close(model.sample(3, 5), made + mean)


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_a_model_is_trained_once_and_samples_alike(tmp_path, latents, kind):
    first = trained(kind, latents, 2, tmp_path)
    export = tmp_path / f"{kind}-2" / "export" / "made.safetensors"
    stamp = export.stat().st_mtime_ns
    again = trained(kind, latents, 2, tmp_path)
    assert export.stat().st_mtime_ns == stamp
    torch.testing.assert_close(first.sample(3, 0), again.sample(3, 0))
    assert first.sample(3, 0).shape == (3, 4, 16, 16)
    assert not torch.equal(first.sample(3, 0), first.sample(3, 1))
