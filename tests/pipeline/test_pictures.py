"""Which pictures are read, and what they become."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from unicon.pictures import Frame, as_output, as_pictures

RAMP = (np.arange(16 * 12 * 3).reshape(16, 12, 3) % 256).astype(np.uint8)


@pytest.mark.parametrize(
    "value",
    [
        RAMP,
        RAMP / np.float32(255),
        RAMP[None],
        Image.fromarray(RAMP),
        torch.from_numpy(RAMP).movedim(-1, 0),
        (torch.from_numpy(RAMP).movedim(-1, 0).double() / 255)[None],
        [RAMP],
        np.concatenate([RAMP, np.full((16, 12, 1), 255, np.uint8)], -1),
        RAMP.astype(np.uint16) * 257,
        torch.from_numpy(RAMP.astype(np.uint16) * 257).movedim(-1, 0),
    ],
    ids=[
        "uint8",
        "float",
        "batch",
        "pil",
        "tensor",
        "tensor batch",
        "list",
        "opaque alpha",
        "uint16",
        "uint16 tensor",
    ],
)
def test_every_kind_is_the_same_picture(value):
    found = as_pictures(value, "depth")
    assert found.shape == (1, 3, 16, 12)
    assert found.dtype == torch.float32
    assert torch.allclose(found[0].movedim(0, -1), torch.from_numpy(RAMP) / 255, atol=1e-6)


def test_files(tmp_path):
    path = tmp_path / "map.png"
    Image.fromarray(RAMP).save(path)
    both = as_pictures([path, str(path)], "depth")
    assert both.shape == (2, 3, 16, 12)
    assert torch.equal(both[0], as_pictures(RAMP, "depth")[0])


@pytest.mark.parametrize("value", [RAMP[..., 0] > 9, torch.from_numpy(RAMP[..., 0] > 9), (RAMP[..., :1] > 9)])
def test_one_channel_is_repeated(value):
    found = as_pictures(value, "edge")
    assert found.shape == (1, 3, 16, 12)
    assert torch.equal(found[0, 0], torch.from_numpy(RAMP[..., 0] > 9).float())


def test_alpha_lies_over_white():
    clear = np.concatenate([np.zeros((8, 8, 3)), np.full((8, 8, 1), 0.25)], -1)
    assert torch.allclose(as_pictures(clear, "image"), torch.tensor(0.75))


def test_a_hair_outside_the_range_is_clipped():
    found = as_pictures(np.array([[1.0005, -0.0005]] * 2), "depth")
    assert found.min() == 0
    assert found.max() == 1


@pytest.mark.parametrize("size, longest, padded", [((30, 41), None, (32, 48)), ((64, 32), 16, (16, 16))])
def test_a_frame_takes_in_and_gives_back(size, longest, padded):
    frame = Frame.of(*size, 16, longest)
    x = torch.rand(2, 3, *size)
    assert frame.padded == padded
    assert tuple(frame.enter(x).shape[-2:]) == padded
    back = frame.leave(frame.enter(x))
    assert back.shape == x.shape
    assert torch.equal(back, x) == (longest is None)


def test_outputs():
    x = torch.rand(2, 3, 4, 5)
    assert as_output(x, "pt") is x
    assert as_output(x, "np").shape == (2, 4, 5, 3)
    assert [p.size for p in as_output(x, "pil")] == [(5, 4)] * 2
