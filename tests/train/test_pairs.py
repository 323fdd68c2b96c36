"""Does an adapter learn from a user's own pairs: framed alike, encoded once, and never silently unpaired?"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from accelerate.utils import LoggerType
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conditions.test_drawings import person
from tests.tiny_base import SIDE_PX, save_tiny_base
from train.command import main
from train.compiling import compile_blocks
from train.config import read_assignments
from train.curves import draw_curves
from train.objectives.pairs import PairsConfig
from train.pairs.encoding import PairEncoder
from train.pairs.examples import Found, PairReader
from train.pairs.framing import Bucket, View, buckets, framed, nearest
from train.validation import not_heeded
from unicon import UniConPipeline
from unicon.conditions.pose import draw_pose
from unicon.conditions.pose_sides import mirror_joints
from unicon.data.pairs import Pairs, Picture
from unicon.latents import encode


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


def picture(seed: int, size: tuple[int, int]) -> PIL.Image.Image:
    width, height = size
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return PIL.Image.fromarray(values)


SIZES = [(64, 64), (64, 64), (96, 64), (64, 64), (80, 80), (96, 64)]


@pytest.fixture
def data(tmp_path) -> Path:
    for name, seed in (("image", 0), ("depth", 100)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i, size in enumerate(SIZES):
            picture(seed + i, size).save(tmp_path / "data" / name / f"{i}.png")
    (tmp_path / "data" / "image" / "0.txt").write_text("a dog\nan animal")
    return tmp_path / "data"


def settings(data: Path, base: Path, /, **changes) -> PairsConfig:
    return PairsConfig(**{"condition": "depth", "data": str(data), "base": str(base), "rank": 2, **changes})


def run(data: Path, base: Path, out: Path, *more: str) -> int:
    arguments = ["adapter", "--data", str(data), "--condition", "depth", "--base", str(base)]
    loop = ["--steps", "2", "--batch_size", "2", "--mixed_precision", "no", "--rank", "2"]
    return main([*arguments, *loop, "--out", str(out), *more])


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


def test_an_adapter_is_trained_from_own_pairs_and_used(data, base, tmp_path, capsys):
    out = tmp_path / "runs"
    assert run(data, base, out) == 0
    pipe = UniConPipeline.from_pretrained(base)
    pipe.unload_adapter("depth")
    pipe.load_adapter(out / "adapter" / "export", name="depth")
    pipe.set_progress_bar_config(disable=True)
    assert pipe.adapters["depth"].config.trigger == "depth map, "
    drawn = pipe("a dog", depth=picture(0, (SIDE_PX, SIDE_PX)), num_inference_steps=1, output_type="np")
    assert np.isfinite(drawn.images).all()
    files = {path: path.stat().st_mtime_ns for path in (out / "cache").rglob("*.safetensors")}
    assert len(files) == len(SIZES)
    assert run(data, base, out, "--as", "again") == 0
    assert {path: path.stat().st_mtime_ns for path in files} == files  # encoded once


@pytest.mark.parametrize("mixed", [False, True])
def test_losses_from_the_cache_are_those_without(data, base, tmp_path, mixed):
    items = torch.tensor([2, 5])
    losses = []
    for cache in ("cache", ""):
        config = settings(data, base, cache=cache)
        config.prepare(tmp_path)
        objective = config.build(tmp_path)
        draws = objective.draw(torch.Generator().manual_seed(0), items)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            losses.append(objective(items, draws)[0])
    assert torch.equal(*losses)


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


def test_maps_that_do_not_lie_on_their_pictures_are_left_out(data, base, tmp_path, capsys):
    picture(7, (64, 128)).save(data / "depth" / "0.png")
    picture(1, SIZES[1]).save(data / "depth" / "1.png")  # the picture itself
    assert run(data, base, tmp_path / "a", "--bad_share", "0.5") == 0
    told = capsys.readouterr().err
    assert f"{data / 'depth' / '0.png'}: has 64 x 128 pixels, its picture 64 x 64 (--aligned false" in told
    assert f"{data / 'depth' / '1.png'}: has the pixels of its picture" in told
    assert "skipped 2 of 6 pairs" in told
    # Also by a run that finds them encoded by one that takes them.
    assert settings(data, base, aligned=False).build(tmp_path / "a").num_items == len(SIZES)
    assert settings(data, base, bad_share=0.5).build(tmp_path / "a").num_items == len(SIZES) - 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--condition", "edge"], "--condition depth, this one has --condition edge"),
        (["--rank", "3"], "--rank 2, this one has --rank 3"),
        (["--start_from", "depth"], "no --start_from, this one has --start_from depth"),
        (["--trigger", "far, "], "--trigger auto, this one has --trigger far, "),
    ],
)
def test_a_run_folder_is_of_one_run(more, message, data, base, tmp_path, capsys):
    out = tmp_path / "runs"
    assert run(data, base, out) == 0
    (data / "depth").rename(data / "edge")
    whole = {path: path.read_bytes() for path in (out / "adapter").rglob("*") if path.is_file()}
    for steps in ("2", "3"):  # done, and to go on
        assert run(data, base, out, *more, "--steps", steps) == 2
        told = capsys.readouterr().err
        assert f"holds a run with {message}: choose another --out" in told
    assert {path: path.read_bytes() for path in whole} == whole


def test_the_same_data_by_another_path_is_the_same_run(data, base, tmp_path, monkeypatch, capsys):
    assert run(data, base, tmp_path / "runs") == 0
    monkeypatch.chdir(tmp_path)
    assert run(Path("data"), base, tmp_path / "runs", "--learning_rate", "1e-5") == 0
    assert "done before" in capsys.readouterr().out
    (tmp_path / "elsewhere").mkdir()
    data.rename(tmp_path / "elsewhere" / "data")
    assert run(tmp_path / "elsewhere" / "data", base, tmp_path / "runs") == 0
    shutil.copytree(tmp_path / "elsewhere" / "data", data)
    assert run(tmp_path / "elsewhere" / "data", base, tmp_path / "runs") == 2
    assert "holds a run with --data " in capsys.readouterr().err


def test_poses_in_other_colours_are_not_mirrored_by_guess(data, base, tmp_path):
    (data / "depth").rename(data / "pose")
    for i, size in enumerate(SIZES):
        PIL.Image.new("RGB", size, (160, 160, 150)).save(data / "pose" / f"{i}.png")
    with pytest.raises(ValueError, match="0% of this drawing has OpenPose's colours.*--flip false"):
        settings(data, base, condition="pose").build(tmp_path)
    assert settings(data, base, condition="pose", flip=False).build(tmp_path).num_items == len(SIZES)


def test_a_lost_or_damaged_file_of_the_cache_is_made_again(data, base, tmp_path, monkeypatch):
    monkeypatch.setattr("train.pairs.contents.SETTLED_NS", -(10**12))
    settings(data, base).prepare(tmp_path)
    monkeypatch.delattr(Picture, "read")  # what a pair holds is known from now on
    files = sorted((tmp_path / "cache").rglob("*.safetensors"))
    whole = [path.read_bytes() for path in files]
    files[0].unlink()
    files[1].write_bytes(whole[1][:50])
    settings(data, base).prepare(tmp_path)
    assert [path.read_bytes() for path in files] == whole


def read_square(objective) -> tuple[list[int], torch.Tensor]:
    """Places of the square pairs, and their latents as training reads them, with the same draws each time."""
    pairs = objective.examples.found
    own = np.array([n for n, pair in enumerate(pairs) if pair.shape[1] == pair.shape[2]])
    draws = objective.examples.draw(torch.Generator().manual_seed(0), len(own))
    return [pairs[n].index for n in own], objective.examples.read(own, draws).latents


def test_a_cached_file_that_is_lost_on_the_way_is_made_again(data, base, tmp_path):
    objective = settings(data, base).build(tmp_path)
    before = read_square(objective)[1]
    files = sorted((tmp_path / "cache").rglob("*.safetensors"))
    whole = [path.read_bytes() for path in files]
    for path, content in zip(files, whole, strict=True):
        path.write_bytes(content[:50])
    files[0].unlink()
    assert torch.equal(read_square(objective)[1], before)
    square = [path.read_bytes() == content for path, content in zip(files, whole, strict=True)]
    assert sum(square) == 4
    assert not (tmp_path / "skipped.jsonl").exists()


@pytest.mark.parametrize("cache", ["", "cache"])
def test_a_pair_that_goes_bad_on_the_way_is_skipped_and_named(cache, data, base, tmp_path, capsys):
    config = settings(data, base, cache=cache, bad_share=0.2, flip=False)
    objective = config.build(tmp_path)
    own, before = read_square(objective)
    for path in tmp_path.glob("cache/**/*.safetensors"):
        path.unlink()
    broken = data / "image" / "1.png"
    broken.write_bytes(broken.read_bytes()[:100])
    for _ in range(2):
        after, bad = read_square(objective)[1], own.index(1)
        wanted = before.clone()
        wanted[:, bad] = before[:, (bad + 1) % len(own)]
        assert torch.equal(after, wanted)
    rows = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == ["1"]
    assert capsys.readouterr().err.count("skipped from now on: 1: ") == 1
    (data / "depth" / "0.png").unlink()
    for path in tmp_path.glob("cache/**/*.safetensors"):
        path.unlink()
    with pytest.raises(ValueError, match="(?s)2 of 6 pairs cannot be read.*more than bad_share 0.2"):
        read_square(objective)
    assert len((tmp_path / "skipped.jsonl").read_text().splitlines()) == 2


def test_a_pair_that_changes_on_the_way_is_not_taken_for_the_one_that_was_found(data, base, tmp_path):
    objective = settings(data, base, bad_share=0.2).build(tmp_path)
    for path in tmp_path.glob("cache/**/*.safetensors"):
        path.unlink()
    picture(99, SIZES[1]).save(data / "image" / "1.png")
    read_square(objective)
    assert "1: has changed since the run began" in (tmp_path / "skipped.jsonl").read_text()


def test_what_cannot_be_read_is_named_and_too_much_of_it_stops_the_run(data, base, tmp_path, capsys):
    (data / "depth" / "0.png").unlink()
    broken = data / "image" / "1.png"
    broken.write_bytes(broken.read_bytes()[:100])
    assert run(data, base, tmp_path / "a") == 2
    told = capsys.readouterr().err
    assert "2 of 6 pairs cannot be read" in told
    assert "  0: has no depth" in told
    assert f"{broken}: is truncated or damaged" in told
    assert "that is more than bad_share 0.02" in told
    assert run(data, base, tmp_path / "b", "--bad_share", "0.5") == 0
    assert "skipped 2 of 6 pairs" in capsys.readouterr().err
    rows = [json.loads(line) for line in (tmp_path / "b" / "skipped.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == ["0", "1"]


def test_maps_that_a_network_cannot_tell_apart_are_told_at_the_start(data, base, tmp_path, capsys):
    for i, size in enumerate(SIZES):
        PIL.Image.new("RGB", size, (i, i, i)).save(data / "depth" / f"{i}.png")
    settings(data, base).build(tmp_path)
    told = capsys.readouterr().err
    assert "warning: depth: narrow range: 6 maps of 0 to 5 of 255, such as " in told


def test_what_another_run_encoded_unpaired_stays_out(data, base, tmp_path):
    (data / "depth" / "0.png").unlink()
    assert len(settings(data, base, unpaired=True).build(tmp_path).examples) == len(SIZES)
    assert len(settings(data, base, bad_share=0.5).build(tmp_path).examples) == len(SIZES) - 1


def test_a_missing_side_stays_noise_and_has_no_loss(data, base, tmp_path):
    (data / "depth" / "0.png").unlink()
    (data / "image" / "1.png").unlink()
    objective = settings(data, base, unpaired=True, clean_image=0.5, clean_condition=0.5).build(tmp_path)
    items = torch.tensor([0, 1])
    draws = objective.draw(torch.Generator().manual_seed(0), items)
    read = objective.examples.read(items, draws)
    assert read.present.tolist() == [[True, False], [False, True]]
    losses, parts = objective(items, draws)
    # Each part is scaled so that its mean over the batch is the mean over those that have it.
    assert (parts["image"] > 0).tolist() == [True, False]
    assert (parts["condition"] > 0).tolist() == [False, True]
    torch.testing.assert_close(losses, (parts["image"] + parts["condition"]) / 2)


def test_levels_follow_their_laws_and_may_be_tied(data, base, tmp_path):
    none_clean = {"clean_image": 0.0, "clean_condition": 0.0}
    laws = {"image_levels": "between(0.8, 1)", "condition_levels": "between(0, 0.1)"}
    u = torch.rand(2, 50, generator=torch.Generator().manual_seed(0))
    neither, all_there = torch.zeros(2, 50, dtype=torch.bool), torch.ones(2, 50, dtype=torch.bool)
    own = settings(data, base, **none_clean, **laws).build(tmp_path)
    timesteps = own._levels(u, neither, all_there).timestep
    assert timesteps[0].min() >= 0.8 * 999 - 1e-3
    assert timesteps[1].max() <= 0.1 * 999 + 1e-3
    tied = settings(data, base, **none_clean, **laws, tied_levels=True).build(tmp_path)
    timesteps = tied._levels(u, neither, all_there).timestep
    assert torch.equal(*timesteps)
    assert timesteps.min() >= 0.8 * 999 - 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"condition": ""}, "give --data PAIRS and --condition NAME"),
        ({"condition": "pose"}, "there is no 'pose'; found depth"),
        ({"resolution": 30}, "resolution is 30; expected a multiple of 8"),
        ({"base": "nowhere"}, "base 'nowhere': no such folder"),
    ],
)
def test_what_cannot_be_trained(changes, message, data, base, tmp_path):
    with pytest.raises(ValueError, match=message):
        settings(data, base, **changes).build(tmp_path)


def test_numbers_that_make_no_sense():
    with pytest.raises(ValueError, match="crops must be a whole number of at least 1, got 0"):
        PairsConfig(crops=0)
    with pytest.raises(ValueError, match="there is no law 'unifrom'; did you mean uniform"):
        PairsConfig(image_levels="unifrom")
    with pytest.raises(ValueError, match=r"clean_image 0.8 \+ clean_condition 0.3 must be at most 1"):
        PairsConfig(clean_image=0.8, clean_condition=0.3)


def twenty(root: Path) -> None:
    """So many that some are held out."""
    for name, seed in (("image", 0), ("depth", 100)):
        (root / name).mkdir(parents=True)
        for i in range(20):
            picture(seed + i, (40, 40)).save(root / name / f"{i:02}.png")


class Wandb(types.ModuleType):
    """What accelerate calls of it, and what it was given."""

    def __init__(self):
        super().__init__("wandb")
        self.asked, self.fields, self.logged, self.is_finished = {}, {}, [], False
        self.config = types.SimpleNamespace(update=lambda fields, **how: self.fields.update(fields))

    def init(self, **asked):
        self.asked = asked
        return self

    def log(self, values, step=None):
        self.logged.append((step, values))

    def finish(self):
        self.is_finished = True

    Image = staticmethod(np.shape)


@pytest.fixture
def wandb(monkeypatch) -> Wandb:
    """In the place of the real one, behind accelerate's own tracker."""
    fake = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    both = [LoggerType.TENSORBOARD, LoggerType.WANDB]
    monkeypatch.setattr("accelerate.tracking._available_trackers", both)
    return fake


def test_pairs_that_are_not_trained_on_are_looked_at_and_change_nothing(base, tmp_path, wandb):
    twenty(tmp_path / "data")
    looked, blind = tmp_path / "looked", tmp_path / "blind"
    fast = ["--learning_rate", "0.1", "--warmup_steps", "1", "--ema_decay", "0.5", "--validation_steps", "1"]
    tracked = ["--trackers", "tensorboard,wandb", "--log_every", "1"]
    assert run(tmp_path / "data", base, looked, *fast, *tracked, "--validate_every", "1") == 0
    check_tracked(wandb, looked)
    (events,) = (looked / "adapter" / "adapter").glob("events*")
    assert [e.step for e in EventAccumulator(str(events)).Reload().Images("validation")] == [1, 2]
    assert run(tmp_path / "data", base, blind, *fast, "--validate_every", "0") == 0
    rows = [json.loads(line) for line in (looked / "adapter" / "validation.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    for name in ("denoised_image", "denoised_map", "estimated", "read_back"):
        assert 0 < rows[0][name] != rows[0][f"{name}_of_another"]
    sheets = sorted((looked / "adapter" / "validation").iterdir())
    assert [sheet.name for sheet in sheets] == ["step_00000001.png", "step_00000002.png"]
    with PIL.Image.open(looked / "adapter" / "curves.png") as curves:
        assert curves.size == (800, 520)  # four numbers, each beside another pair's
    weights = [(out / "adapter" / "export" / "adapter.safetensors").read_bytes() for out in (looked, blind)]
    assert weights[0] == weights[1]
    objective = settings(tmp_path / "data", base).build(looked)
    assert len(objective.examples) == 18  # a tenth is held out


def check_tracked(wandb: Wandb, out: Path) -> None:
    """The same as the run's own files."""
    assert wandb.asked == {"project": "adapter", "dir": str(out / "adapter"), "name": out.name}
    assert (wandb.fields["loop.steps"], wandb.fields["objective.condition"]) == (2, "depth")
    rows = [json.loads(line) for line in (out / "adapter" / "metrics.jsonl").read_text().splitlines()]
    losses = [(step, given["loss"]) for step, given in wandb.logged if "loss" in given]
    assert losses == [(row["step"], row["loss"]) for row in rows]
    sheets = [given["validation"] for _, given in wandb.logged if "validation" in given]
    assert [[len(shape) for shape in sheet] for sheet in sheets] == [[3], [3]]
    assert [step for step, _ in wandb.logged] == sorted(step for step, _ in wandb.logged)  # or it drops some
    assert wandb.is_finished


def test_curves_of_runs_without_another_pairs_numbers_or_without_matplotlib(tmp_path, monkeypatch):
    rows = [{"step": 10, "likeness": 0.5}, {"step": 20, "likeness": 0.6, "fidelity": 0.1, "error": 0.2}]
    draw_curves(rows, tmp_path / "curves.png")
    with PIL.Image.open(tmp_path / "curves.png") as curves:
        assert curves.size == (800, 520)
    monkeypatch.setattr("train.curves.find_spec", lambda name: None)
    draw_curves(rows, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_a_base_in_half_precision_is_looked_at_in_another_half(base, tmp_path, capsys):
    """As `mini` is stored, and what mixed precision is on most processors."""
    twenty(tmp_path / "data")
    UniConPipeline.from_pretrained(base, dtype=torch.float16).save_pretrained(tmp_path / "half")
    more = ["--validate_every", "2", "--validation_steps", "1", "--mixed_precision", "bf16"]
    assert run(tmp_path / "data", tmp_path / "half", tmp_path / "out", *more) == 0
    (row,) = (tmp_path / "out" / "adapter" / "validation.jsonl").read_text().splitlines()
    both = {"denoised_image", "denoised_map"}
    assert set(not_heeded(json.loads(row))) == both  # after two steps
    assert "the other side is not heeded yet in denoised_image and denoised_map" in capsys.readouterr().out
    assert not_heeded({"denoised_map": 0.1, "denoised_map_of_another": 0.2, "estimated": 1.0}) == []


def test_what_is_held_out_is_not_trained_on_under_another_name():
    reader = PairReader(pairs=Pairs.of([], []), condition="depth", encoder=None, cache=None)
    contents = [str(n) for n in range(40)]
    contents[7] = contents[30]
    for keys, num_kept in ((contents, 37), ([""] * 40, 38)):  # without a cache nobody knows
        found = [Found(n, key, (4, 8, 8), n in (30, 31)) for n, key in enumerate(keys)]
        kept, held_out = reader.split(found, 2)
        assert [pair.index for pair in held_out] == [30, 31]
        assert len(kept) == num_kept
        assert all(pair.index not in (30, 31) for pair in kept)


def test_few_pairs_are_all_trained_on(data, base, tmp_path, capsys):
    objective = settings(data, base).build(tmp_path)
    assert "warning" not in capsys.readouterr().err
    assert len(objective.examples) == len(SIZES)
    assert objective.validate() is None


def test_a_dry_run_says_what_a_run_costs_and_keeps_nothing(data, base, tmp_path, capsys):
    out = tmp_path / "runs"
    assert run(data, base, out, "--dry-run", "--steps", "1000") == 0
    said = capsys.readouterr().out
    trained = re.search(r"trained: ([\d,]+) parameters, [\d.]+% of", said)
    assert trained
    objective = settings(data, base).build(tmp_path / "other")
    assert int(trained[1].replace(",", "")) == sum(p.numel() for p in objective.trained().values())
    for part in (
        '"steps": 1000',
        "each seen 333 times",
        "peak memory: ",
        " steps a second",
        "for 1,000 steps",
    ):
        assert part in said
    assert not (out / "adapter").exists()  # encoded pairs are kept


def test_fields_from_a_file_and_the_command_line_wins(data, base, tmp_path, capsys):
    out = tmp_path / "runs"
    fields = "rank: 3\nmixed_precision: no\nloop:\n  steps: 50\n  betas: [0.8, 0.9]\ntrigger: a map of \n"
    (tmp_path / "mine.yaml").write_text(fields)
    assert read_assignments(tmp_path / "mine.yaml")["mixed_precision"] == "no"  # to YAML it is false
    assert run(data, base, out, "--config", str(tmp_path / "mine.yaml")) == 0  # with steps and rank, too
    config = json.loads((out / "adapter" / "config.json").read_text())
    assert config["objective"]["trigger"] == "a map of"
    assert config["loop"]["betas"] == [0.8, 0.9]
    assert (config["loop"]["steps"], config["objective"]["rank"]) == (2, 2)
    before = (out / "adapter" / "export" / "adapter.safetensors").read_bytes()
    again = ["adapter", "--config", str(out / "adapter" / "config.json"), "--out", str(tmp_path / "again")]
    assert main(again) == 0
    assert (tmp_path / "again" / "adapter" / "export" / "adapter.safetensors").read_bytes() == before
    for content, message in [
        ("rnak: 3", "--rnak is not a field of this recipe; did you mean --rank?"),
        ("- 1", "holds no fields"),
        ("{", "cannot be read"),
    ]:
        (tmp_path / "mine.yaml").write_text(content)
        assert main(["adapter", "--config", str(tmp_path / "mine.yaml"), "--out", str(out)]) == 2
        assert message in capsys.readouterr().err


def test_trackers_get_what_the_files_hold(data, base, tmp_path, capsys):
    out = tmp_path / "runs"
    assert run(data, base, out, "--trackers", "tensorboard", "--log_every", "1") == 0
    (events,) = (out / "adapter" / "adapter").glob("events*")
    seen = EventAccumulator(str(events)).Reload()
    rows = [json.loads(line) for line in (out / "adapter" / "metrics.jsonl").read_text().splitlines()]
    assert [e.step for e in seen.Scalars("loss")] == [1, 2]
    assert [e.value for e in seen.Scalars("loss")] == pytest.approx([row["loss"] for row in rows])
    assert len({e.value for e in seen.Scalars("lr")}) == 2


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("wandb", "--trackers wandb: not installed here; pip install wandb, or choose from tensorboard"),
        ("comet_ml", "not installed here; pip install comet-ml, or"),
        ("tensorbord", "accelerate knows no such tracker; did you mean tensorboard?"),
    ],
)
def test_a_tracker_that_is_not_there_is_told_before_anything_is_encoded(
    name, told, data, base, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("accelerate.tracking._available_trackers", [LoggerType.TENSORBOARD])
    assert run(data, base, tmp_path / "runs", "--trackers", name) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "runs" / "cache").exists()


def test_recomputed_blocks_learn_the_same(data, base, tmp_path):
    plain, other = (tmp_path / name for name in ("plain", "other"))
    fast = ["--learning_rate", "0.1", "--warmup_steps", "1"]
    assert run(data, base, plain, *fast) == 0
    assert run(data, base, other, *fast, "--gradient_checkpointing", "true") == 0
    one, two = (load_file(out / "adapter/export/adapter.safetensors") for out in (plain, other))
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler looks
def test_compiled_blocks_learn_the_same(data, base, tmp_path):
    import torch._dynamo

    plain, other = (settings(data, base).build(tmp_path / name) for name in ("plain", "other"))
    torch._dynamo.reset()
    assert compile_blocks(other, backend="eager") > 0
    items = torch.tensor([0, 1])
    draws = plain.draw(torch.Generator().manual_seed(0), items)
    for objective in (plain, other):
        objective(items, draws)[0].sum().backward()
    torch._dynamo.reset()
    for (name, one), two in zip(plain.trained().items(), other.trained().values(), strict=True):
        torch.testing.assert_close(two.grad, one.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_pairs_of_one_size_are_encoded_together_and_as_alone(data, base, tmp_path, monkeypatch):
    (data / "depth" / "3.png").unlink()
    sizes = []
    encode_many = PairEncoder.encode

    def counted(self, pairs):
        sizes.append(len(pairs))
        return encode_many(self, pairs)

    monkeypatch.setattr(PairEncoder, "encode", counted)
    examples = settings(data, base, unpaired=True).build(tmp_path).examples
    assert sorted(sizes) == [2, 4]
    assert [pair.index for pair in examples.found] == list(range(len(SIZES)))
    reader = examples.read_one.__self__
    seen = [(found, reader.encoder.see(reader.pairs[found.index], "depth")) for found in examples.found]
    sizes.clear()
    monkeypatch.setattr("train.pairs.encoding.BATCH_PX", 1)
    for found, alone in reader.encoder.in_batches(seen):
        for name, tensor in dataclasses.asdict(alone).items():
            together = getattr(examples.read_one(found), name)
            torch.testing.assert_close(together, tensor, msg=f"{found.index} {name}")
    assert sizes == [1] * len(SIZES)


def test_one_of_a_batch_that_cannot_be_encoded_is_named_alone(data, base, tmp_path, monkeypatch):
    """As an autoencoder that makes NaN of it."""
    encode_many = PairEncoder.encode

    def fails(self, pairs):
        if any((pair.image == 7).all() for pair in pairs):
            raise ValueError("the autoencoder makes NaN")
        return encode_many(self, pairs)

    monkeypatch.setattr(PairEncoder, "encode", fails)
    PIL.Image.new("RGB", SIZES[1], (7, 7, 7)).save(data / "image" / "1.png")
    objective = settings(data, base, bad_share=0.5).build(tmp_path)
    assert [pair.index for pair in objective.examples.found] == [0, 2, 3, 4, 5]
    told = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    assert told == [{"key": "1", "reason": "the autoencoder makes NaN"}]
