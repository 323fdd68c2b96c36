"""Does an adapter learn from a user's own pairs, and from nothing that is none?"""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from tests.tiny_base import SIDE_PX
from tests.train.own_pairs import SIZES, picture, run, settings
from train.compiling import compile_blocks
from train.objectives.pairs import PairsConfig
from unicon import UniConPipeline


def test_an_adapter_is_trained_from_own_pairs_and_used(data, base, tmp_path, capsys):
    out = tmp_path / "runs"
    assert run(data, base, out) == 0
    pipe = UniConPipeline.from_pretrained(base, adapters=())
    pipe.load_adapter(out / "adapter" / "export", name="depth")
    pipe.set_progress_bar_config(disable=True)
    assert pipe.adapters["depth"].config.trigger == "depth map, "
    drawn = pipe("a dog", depth=picture(0, (SIDE_PX, SIDE_PX)), num_inference_steps=1, output_type="np")
    assert np.isfinite(drawn.images).all()
    files = {path: path.stat().st_mtime_ns for path in (out / "cache").rglob("*.safetensors")}
    assert len(files) == len(SIZES)
    assert run(data, base, out, "--as", "again") == 0
    assert {path: path.stat().st_mtime_ns for path in files} == files  # encoded once


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


def test_a_missing_side_stays_noise_and_has_no_loss(data, base, tmp_path):
    (data / "depth" / "0.png").unlink()
    (data / "image" / "1.png").unlink()
    objective = settings(data, base, unpaired=True, clean_image=0.5, clean_condition=0.5).build(tmp_path)
    items = torch.tensor([0, 1])
    draws = objective.draw(torch.Generator().manual_seed(0), items)
    read = objective.examples.read(items, draws)
    assert read.present.tolist() == [[True, False], [False, True]]
    losses, parts = objective(items, draws)
    # A part says nothing (NaN) of a pair that does not have it.
    assert (parts["image"] > 0).tolist() == [True, False]
    assert (parts["condition"] > 0).tolist() == [False, True]
    torch.testing.assert_close(losses, torch.stack([parts["image"][0], parts["condition"][1]]))


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
