"""Do all kinds of VAE pass pictures through the same convention, also where the pipeline is not called?"""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from eval.protocols.readers import RegressorReader
from tests.adapters.tiny import tiny_unet
from tests.pipeline.conftest import call
from tests.tiny_base import tiny_pipeline, tiny_preview_vae, tiny_vae, tiny_vae_of_the_mini_family
from unicon.latents import CHUNK, decode, downscale, encode
from unicon.limits import strangeness

VAES = {
    "AutoencoderKL": tiny_vae,
    "AutoencoderTiny": tiny_preview_vae,
    "AutoencoderDC": tiny_vae_of_the_mini_family,
}


@pytest.fixture(params=VAES)
def vae(request):
    return VAES[request.param]()


@torch.no_grad()
def test_latents_are_shifted_then_scaled_and_come_back(vae):
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    scale, shift = vae.config["scaling_factor"], vae.config.get("shift_factor") or 0.0
    found = encode(vae, pictures)
    assert found.shape == (2, 4, 8, 8)
    assert downscale(vae) == 4
    vae.register_to_config(scaling_factor=1.0, shift_factor=0.0)
    raw = encode(vae, pictures)
    torch.testing.assert_close(found, (raw - shift) * scale)
    plain = decode(vae, raw)
    vae.register_to_config(scaling_factor=scale, shift_factor=shift)
    torch.testing.assert_close(decode(vae, found), plain)
    assert 0 <= plain.min() <= plain.max() <= 1


@torch.no_grad()
def test_many_pictures_pass_in_pieces(vae):
    pictures = torch.rand(CHUNK + 1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encode(vae, pictures)[-1:], encode(vae, pictures[-1:]))


@torch.no_grad()
def test_one_that_overflows_in_half_precision_runs_in_float32_from_then_on(monkeypatch, caplog):
    vae, latents = tiny_vae(), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = vae.decoder.conv_in.forward
    # A norm follows, so that the factor is without effect where it does not overflow.
    monkeypatch.setattr(vae.decoder.conv_in, "forward", lambda x: 1e5 * plain(x))
    expected = decode(vae, latents)
    vae.half()
    with caplog.at_level("WARNING"):
        found = decode(vae, latents)
    assert "overflows in torch.float16; it runs in float32 from now on" in caplog.text
    assert vae.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
    with pytest.raises(ValueError, match="makes NaN or infinity in torch.float32"):
        encode(vae, torch.full((1, 3, 32, 32), float("nan")))


def test_what_runs_on_the_mini_familys_vae(tmp_path):
    """The call, the limits of familiar pictures, and the regressor that evaluations stand beside."""
    pipe = tiny_pipeline(tmp_path / "words")
    pipe.register_modules(vae=tiny_vae_of_the_mini_family())
    grey = Image.new("RGB", (32, 32), "grey")
    assert call(pipe, image=grey, outputs=["depth"], num_inference_steps=1).maps["depth"].shape == (
        1,
        32,
        32,
        3,
    )
    (found,) = strangeness(pipe, [grey])
    assert min(found.reconstruction, found.surprise) > 0
    reader = RegressorReader(unet=tiny_unet(), vae=pipe.vae, triggers={"depth": torch.zeros(16, 12)})
    maps = reader.read(torch.zeros(1, 20, 28, 3, dtype=torch.uint8).numpy(), "depth", [0], 0).maps
    assert maps.shape == (1, 20, 28, 3)
