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
    """Around one of two pictures, of deviation 3."""
    rng = np.random.default_rng(0)
    middles = rng.normal(0, 0.95, (2, 4, 16, 16))
    values = middles[rng.integers(0, 2, 64)] + rng.normal(0, 0.3, (64, 4, 16, 16))
    return (3 * values).astype(np.float16)


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


def test_networks_see_deviation_1_and_samples_have_that_of_latents(latents):
    model = Vae(LatentModelConfig(kind="vae", code=8), latents)
    torch.testing.assert_close(model.real(np.arange(64)).std(), torch.tensor(1.0), atol=1e-3, rtol=0)
    code = torch.randn(3, 8, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(model.sample(3, 5), model.made(code) * float(latents.std(dtype=np.float64)))


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
