"""Do positions lead a read to its own place, at every resolution and size of head?"""

from __future__ import annotations

import pytest
import torch

from adapters import JointAdapter
from adapters.positions import sinusoids
from tests.adapters import tiny


@pytest.mark.parametrize("width", [4, 30, 32, 160])
@pytest.mark.parametrize("num_tokens, latent_size", [(63, (9, 7)), (20, (9, 7)), (6, (9, 7))])
def test_a_token_is_nearest_to_itself(num_tokens, latent_size, width):
    places = sinusoids(num_tokens, latent_size, width, like=torch.zeros(1))
    assert places.shape == (num_tokens, width)
    products = places @ places.T / width**0.5
    torch.testing.assert_close(products.diagonal(), torch.ones(num_tokens))
    others = products - torch.eye(num_tokens)
    assert width == 4 or others.max() < 1 - 1e-3  # one frequency cannot tell all places apart


@pytest.mark.parametrize("num_tokens, latent_size", [(6, (2, 3)), (6, (4, 5)), (6, (7, 11))])
def test_rows_come_first_then_columns(num_tokens, latent_size):
    """Stored adapters rely on it, and pictures are not square."""
    places = sinusoids(num_tokens, latent_size, 16, like=torch.zeros(1))
    grid = places.unflatten(0, (2, 3))
    down, across = grid[..., :8], grid[..., 8:]
    assert torch.equal(down, down[:, :1].expand(-1, 3, -1))
    assert torch.equal(across, across[:1].expand(2, -1, -1))
    assert not torch.allclose(down[0], down[1], atol=0.1)
    assert not torch.allclose(across[:, 0], across[:, 2], atol=0.1)


def test_neighbours_in_both_axes_are_alike_and_equally_so():
    products = sinusoids(64, (8, 8), 32, like=torch.zeros(1)) @ sinusoids(64, (8, 8), 32, torch.zeros(1)).T
    here, right, below, far = (products[27, i] for i in (27, 28, 35, 63))
    torch.testing.assert_close(right, below)
    assert here > right > far


def test_dtype_and_device_are_those_of_the_tokens():
    assert sinusoids(64, (8, 8), 32, like=torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_locality_is_the_starting_weight_of_every_head_that_reads():
    unet = tiny.tiny_unet()
    adapter = JointAdapter.for_unet(unet, tiny.config(locality=9.0, skip_blocks=("mid_block",)))
    places = {name: t for name, t in adapter.tensors() if ".places." in name}
    assert all(torch.equal(t, torch.full_like(t, 3.0)) for t in places.values())
    blocks = {path for path in adapter.base.blocks if not path.startswith("mid_block")}
    assert set(places) == {f"{path}.attn1.places.weight" for path in blocks}
