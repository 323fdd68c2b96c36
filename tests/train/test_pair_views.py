"""Are both sides of a pair seen alike: in size, in view, mirrored?"""

from __future__ import annotations

import dataclasses

import numpy as np
import PIL.Image
import pytest
import torch

from tests.conditions.test_drawings import person
from tests.train.own_pairs import SIZES, picture, settings
from train.pairs.framing import Bucket, View, buckets, framed, nearest
from unicon.conditions.pose import draw_pose
from unicon.conditions.pose_sides import mirror_joints
from unicon.latents import encode


def test_buckets_have_about_one_area_and_fit_the_grid():
    sizes = buckets(512, 64)
    assert Bucket(512, 512) in sizes
    assert all(b.height % 64 == b.width % 64 == 0 for b in sizes)
    assert all(0.8 < b.height * b.width / 512**2 < 1.2 for b in sizes)
    assert all(0.5 <= b.width / b.height <= 2 for b in sizes)
    assert {Bucket(b.width, b.height) for b in sizes} == set(sizes)
    assert nearest(640, 480, sizes) == Bucket(448, 576)
    assert nearest(5000, 10, sizes).width == max(b.width for b in sizes)
    with pytest.raises(ValueError, match="resolution is 500; expected a multiple of 64, .* such as 512"):
        buckets(500, 64)


def test_pictures_of_every_size_are_framed():
    """Rounding asked for a part that is larger than the picture, of one size in twenty."""
    squares = buckets(128, 32)
    for width in range(8, 700, 3):
        for height in (8, 60, 103, 392):
            bucket = nearest(width, height, squares)
            seen = framed(PIL.Image.new("L", (width, height)), bucket, View())
            assert seen.shape == (bucket.height, bucket.width)
    sizes = buckets(512, 64)
    for size in ((1920, 1080), (1080, 1920), (960, 540), (784, 784)):
        framed(PIL.Image.new("L", size), nearest(*size, sizes), View(place=0.0))


def test_a_pair_is_seen_alike_on_both_sides_at_any_size():
    """A map of another size than its picture shows the same part of it."""
    ramp = np.linspace(0, 255, 120)[None, :, None].repeat(80, 0).repeat(3, 2).astype(np.uint8)
    small = PIL.Image.fromarray(ramp)
    large = small.resize((480, 320), PIL.Image.Resampling.BICUBIC)
    for view in (View(), View(place=0.0), View(place=1.0, flip=True)):
        seen = [framed(p, Bucket(40, 40), view).astype(int) for p in (small, large)]
        assert seen[0].shape == (40, 40, 3)
        assert np.abs(seen[0] - seen[1]).max() <= 3
    left, right = (framed(small, Bucket(40, 40), View(place=p)).mean() for p in (0.0, 1.0))
    assert left + 60 < right
    plain, flipped = (framed(small, Bucket(40, 40), View(flip=f)) for f in (False, True))
    assert np.array_equal(plain, flipped[:, ::-1])


def test_batches_have_one_size(data, base, tmp_path):
    objective = settings(data, base).build(tmp_path)
    assert objective.groups is not None
    shapes = {objective.examples.latent_shape(i) for i in range(len(SIZES))}
    assert len(shapes) == len(set(objective.groups.tolist())) == 2
    assert objective.groups[2] == objective.groups[5] != objective.groups[0]


@pytest.mark.parametrize("aligned", [True, False])
def test_views_of_both_sides_are_the_same_where_they_are_aligned(data, base, tmp_path, aligned, monkeypatch):
    monkeypatch.setattr("train.pairs.encoding.disagreement", lambda image, drawn: None)
    for i, size in enumerate(SIZES):  # maps that are their pictures show which view they are seen in
        picture(i, size).save(data / "depth" / f"{i}.png")
    config = settings(data, base, aligned=aligned, crops=2, condition="depth", trigger="")
    examples = config.build(tmp_path).examples
    items = torch.tensor([0, 1, 3] * 4)
    read = examples.read(items, examples.draw(torch.Generator().manual_seed(0), len(items)))
    same = (read.latents[0] == read.latents[1]).flatten(1).all(1)
    assert bool(same.all()) == aligned
    assert torch.equal(read.texts[0], read.texts[1])
    assert not torch.equal(read.texts[0][0], read.texts[0][1])  # captioned, and not


def test_mirrored_poses_have_left_and_right_exchanged(base, tmp_path):
    joints = person()
    for name, drawing in (("image", picture(0, (128, 128))), ("pose", draw_pose([joints], 128))):
        (tmp_path / "data" / name).mkdir(parents=True)
        PIL.Image.fromarray(np.asarray(drawing)).save(tmp_path / "data" / name / "0.png")
    config = settings(tmp_path / "data", base, condition="pose", resolution=128)
    objective = config.build(tmp_path)
    plain, mirrored = objective.examples.read_one(objective.examples.found[0]).condition
    wanted = torch.from_numpy(draw_pose([mirror_joints(joints, 128)], 128)).permute(2, 0, 1)[None] / 255
    expected = encode(objective.pipe.vae, wanted)[0].half()
    off = [(latents - expected).abs().mean() for latents in (mirrored, plain, plain.flip(-1))]
    assert off[0] < 0.25 * min(off[1:])
    alone = dataclasses.replace(config, flip=False).build(tmp_path).examples
    assert len(alone.read_one(alone.found[0]).condition) == 1


@pytest.mark.parametrize(("condition", "turns"), [("normal", True), ("normals", True), ("depth", False)])
def test_mirrored_normals_point_the_other_way(condition, turns, data, base, tmp_path):
    (data / "depth").rename(data / condition)
    objective = settings(data, base, condition=condition, resolution=64).build(tmp_path)
    entry = objective.examples.found[0]
    drawn = np.asarray(picture(100, SIZES[0])).copy()[:, ::-1]
    if turns:
        drawn = np.stack([255 - drawn[..., 0], drawn[..., 1], drawn[..., 2]], -1)
    wanted = torch.from_numpy(np.ascontiguousarray(drawn)).permute(2, 0, 1)[None].float() / 255
    expected = encode(objective.pipe.vae, wanted)[0].half()
    torch.testing.assert_close(objective.examples.read_one(entry).condition[1], expected, atol=2e-3, rtol=0)


def test_poses_in_other_colours_are_not_mirrored_by_guess(data, base, tmp_path):
    (data / "depth").rename(data / "pose")
    for i, size in enumerate(SIZES):
        PIL.Image.new("RGB", size, (160, 160, 150)).save(data / "pose" / f"{i}.png")
    with pytest.raises(ValueError, match="0% of this drawing has OpenPose's colours.*--flip false"):
        settings(data, base, condition="pose").build(tmp_path)
    assert settings(data, base, condition="pose", flip=False).build(tmp_path).num_items == len(SIZES)
