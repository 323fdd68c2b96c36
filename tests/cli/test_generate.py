"""Does `unicon generate` draw, edit and complete pictures, and refuse what contradicts itself?"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.cli.bases import base, command, names, opened, save_noise
from unicon.cli.files import slug, write_bytes
from unicon.cli.generate import chunks
from unicon.cli.given import GivenMap, given_map, read_map
from unicon.cli.models import stated_base


def generate(folder: Path, *arguments: object) -> int:
    return command("generate", *arguments, "--out", folder)


def difference_from_smaller(path: Path) -> float:
    """How much of a picture is lost at half its size."""
    picture = opened(path)
    small = picture.resize((picture.width // 2, picture.height // 2)).resize(picture.size)
    return float(np.abs(np.asarray(picture, float) - np.asarray(small)).mean())


def pixels(path: Path) -> bytes:
    return opened(path).tobytes()


def test_pictures_are_named_after_prompt_and_seed_and_their_paths_printed(tmp_path, capsys):
    assert generate(tmp_path / "out", "A red Chair!", "--seed", 3, "--num", 2) == 0
    assert names(tmp_path / "out") == ["a-red-chair_seed3.png", "a-red-chair_seed4.png"]
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / n) for n in names(tmp_path / "out")]
    made = opened(tmp_path / "out" / "a-red-chair_seed4.png")
    assert (made.size, made.text["seed"], made.text["base"]) == ((32, 32), "4", "base")


def test_what_other_settings_have_drawn_is_kept_and_the_same_is_written_again(tmp_path, capsys):
    drawing = save_noise(tmp_path / "map.png")
    out, first = tmp_path / "out", tmp_path / "out" / "x_seed0.png"
    assert generate(out, "x", "--depth", drawing) == 0
    before = first.read_bytes()
    save_noise(drawing, seed=1)
    assert generate(out, "x", "--depth", drawing, "--num", 2) == 0
    (out / "x_seed1.png").write_bytes(b"of somebody else")
    assert generate(out, "x", "--depth", drawing, "--num", 2, "--batch", 1) == 0
    said = [Path(path).name for path in capsys.readouterr().out.split()]
    assert said == ["x_seed0.png", "x_seed0_2.png", "x_seed1.png", "x_seed0_2.png", "x_seed1_2.png"]
    assert first.read_bytes() == before
    assert (out / "x_seed1.png").read_bytes() == b"of somebody else"


@pytest.mark.parametrize(
    "name, commit, stated",
    [
        ("mini", None, "mini"),
        ("some/base", "0123abcd", "some/base@0123abcd"),
        ("some/base@v2", "0123abcd", "some/base@0123abcd"),
        (__file__, None, "test_generate.py"),
    ],
)
def test_a_result_says_which_base_it_is_of_and_not_where_that_lies(name, commit, stated):
    assert stated_base(SimpleNamespace(commit=commit), name) == stated  # pyright: ignore[reportArgumentType]


def test_a_picture_depends_on_its_seed_alone(tmp_path):
    generate(tmp_path / "a", "x", "--num", 3, "--batch", 2, "--seed", 7)
    generate(tmp_path / "b", "x", "--seed", 9)
    generate(tmp_path / "c", "x", "--seed", 8)
    ours = opened(tmp_path / "a" / "x_seed9.png").convert("L").tobytes()
    alone = opened(tmp_path / "b" / "x_seed9.png").convert("L").tobytes()
    assert max(abs(a - b) for a, b in zip(ours, alone, strict=True)) <= 1
    assert pixels(tmp_path / "b" / "x_seed9.png") != pixels(tmp_path / "c" / "x_seed8.png")


def test_guidance_is_the_bases_own_unless_said(tmp_path):
    generate(tmp_path / "usual", "x")
    generate(tmp_path / "said", "x", "--guidance-scale", 2)
    assert pixels(tmp_path / "usual" / "x_seed0.png") == pixels(tmp_path / "said" / "x_seed0.png")


def test_an_adapter_of_your_own_takes_the_place_of_the_bases(tmp_path):
    drawing = save_noise(tmp_path / "map.png")
    other = base() / "adapters" / "edge"
    assert generate(tmp_path / "own", "x", "--depth", drawing, "--adapter", f"depth={other}") == 0
    assert generate(tmp_path / "edge", "x", "--edge", drawing) == 0
    assert generate(tmp_path / "depth", "x", "--depth", drawing) == 0
    own, edge, depth = (pixels(tmp_path / name / "x_seed0.png") for name in ("own", "edge", "depth"))
    assert own != depth
    assert own == edge


def test_maps_are_read_loosely_or_exactly_or_not(tmp_path):
    drawing = save_noise(tmp_path / "map.png")
    ways = {
        "none": (),
        "exact": ("--depth", drawing),
        "coarse": ("--depth", drawing, "--noise", 0.5),
        "own_noise": ("--depth", f"{drawing},noise=0.5", "--noise", 1),
        "half_weight": ("--condition", f"depth={drawing},weight=0.5"),
        "held": ("--depth", f"{drawing},noise=0.5,hold"),
        "two": ("--depth", drawing, "--pose", drawing),
    }
    for name, arguments in ways.items():
        assert generate(tmp_path / name, "x", *arguments) == 0
    made = {name: pixels(tmp_path / name / "x_seed0.png") for name in ways}
    assert made["coarse"] == made["own_noise"]
    assert len(set(made.values())) == len(ways) - 1


def test_editing_and_inpainting_start_from_the_image(tmp_path):
    image = save_noise(tmp_path / "photo.png")
    Image.new("L", (32, 32), 255).save(tmp_path / "mask.png")
    assert generate(tmp_path / "edit", "x", "--image", image, "--noise", 0.5, "--edge", image) == 0
    assert generate(tmp_path / "fill", "x", "--image", image, "--mask", tmp_path / "mask.png") == 0
    assert pixels(tmp_path / "edit" / "x_seed0.png") != pixels(tmp_path / "fill" / "x_seed0.png")


def test_given_pictures_are_worked_on_at_the_bases_own_size_unless_told(tmp_path, capsys):
    drawing = save_noise(tmp_path / "map.png", width=64, height=48)
    smaller = save_noise(tmp_path / "pose.png", width=32, height=24)
    ways = {
        "own": ((), (64, 48)),  # of the map, though drawn smaller
        "full": (("--size", 0), (64, 48)),
        "size": (("--size", 40), (40, 30)),
        "width": (("--width", 24), (24, 18)),
        "larger_map": (("--pose", smaller), (64, 48)),
    }
    for name, (more, size) in ways.items():
        assert generate(tmp_path / name, "x", "--depth", drawing, *more) == 0
        assert opened(tmp_path / name / "x_seed0.png").size == size
    assert "depth: 64 x 48 px, worked on at 32 x 24" in capsys.readouterr().err
    kept, full = (difference_from_smaller(tmp_path / name / "x_seed0.png") for name in ("own", "full"))
    assert kept < full / 2  # nothing finer than it was drawn


def test_height_and_width_are_those_of_the_result(tmp_path):
    assert generate(tmp_path / "out", "x", "--height", 24, "--width", 40, "--negative-prompt", "y") == 0
    assert opened(tmp_path / "out" / "x_seed0.png").size == (40, 24)


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("--depth", "no.png"), "no.png: no such file"),
        (("--depth", "map.png,wieght=2"), "the settings are noise=N, weight=N, hold"),
        (("--depth", "map.png", "--condition", "depth=map.png"), "condition 'depth' is given twice"),
        (
            ("--condition", "sketch=map.png"),
            "has no adapter of that name, only appearance, depth, edge, pose",
        ),
        (("--image", "map.png"), "--image is kept as it is: say with --noise"),
        (("--mask", "map.png"), "--mask says which part of a picture to keep, but no picture is given"),
        (("--noise", "0.5"), "--noise 0.5 has nothing to start from"),
        (
            ("--depth", "map.png", "--width", "64", "--height", "32"),
            "height=32, width=64 stretch",
        ),
        (
            ("--depth", "map.png", "--width", "64", "--size", "32"),
            "the result: give it, or --height and --width",
        ),
        (("--size", "64"), "but none is given; use --height and --width"),
        (
            ("--depth", "map.png", "--height", "160"),
            "160 x 160 pixels (height x width) are too many for a base of 32 px: at most 128 a side. Draw it "
            "smaller, and enlarge it with --upscale or unicon upscale, or give --size 160 to insist",
        ),
        (("--width", "160"), "32 x 160 pixels (height x width) are too many for a base of 32 px"),
        (
            ("--depth", "map.png", "--pose", "wide.png"),
            "depth 32 x 32, pose 32 x 64 (height x",
        ),
        (("--depth", "broken.png"), "broken.png: is not a picture"),
        (("--adapter", "nowhere"), "nowhere"),
    ],
)
def test_bad_input_is_explained_and_nothing_is_written(tmp_path, monkeypatch, capsys, arguments, text):
    monkeypatch.chdir(tmp_path)
    save_noise(tmp_path / "map.png")
    save_noise(tmp_path / "wide.png", width=64)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert generate(tmp_path / "out", "x", *arguments) == 2
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("--depth", "map.png,noise=2"), "noise runs from 0 (clean) to 1 (pure noise), got 2"),
        (("--noise", "lots"), "noise is a number, got 'lots'"),
        (("--depth", "map.png,weight=inf"), "weight is a finite number"),
        (("--depth", "map.png,hold,hold"), "hold is given twice"),
        (("--condition", "depth"), "expected NAME=FILE, for example depth=map.png, got 'depth'"),
        (("--size", "5"), "a size is a whole number of at least 16 px"),
        (("--num", "0"), "expected a whole number from 1, got '0'"),
    ],
)
def test_malformed_options_end_with_usage(tmp_path, capsys, arguments, text):
    with pytest.raises(SystemExit, match="2"):
        generate(tmp_path / "out", "x", *arguments)
    assert text in capsys.readouterr().err


def test_a_base_that_is_none_is_named(tmp_path, capsys):
    from unicon.cli import main as cli

    assert cli.main(["generate", "x", "--base", str(tmp_path), "--dtype", "float32"]) == 2
    assert "model_index.json" in capsys.readouterr().err


def test_a_depth_map_in_colours_is_pointed_out(tmp_path, capsys):
    coloured = save_noise(tmp_path / "coloured.png")
    grey = tmp_path / "grey.jpg"
    opened(coloured).convert("L").convert("RGB").save(grey, quality=50)
    for name, path, is_told in (("depth", coloured, True), ("depth", grey, False), ("pose", coloured, False)):
        read_map(GivenMap(name=name, path=path))
        assert ("has colours, but the adapter knows grey maps" in capsys.readouterr().err) == is_told


def test_map_settings_are_read_from_the_end():
    assert given_map("depth=a,b.png,weight=0.5,hold,noise=0.25") == GivenMap(
        name="depth", path=Path("a,b.png"), noise=0.25, weight=0.5, hold=True
    )
    with pytest.raises(argparse.ArgumentTypeError, match="expected NAME=FILE"):
        given_map("1=x")


def test_seeds_are_split_into_batches():
    assert chunks(range(3, 8), 2) == [range(3, 5), range(5, 7), range(7, 8)]


def test_names_of_files_are_short_and_plain():
    assert slug("A dog, on / the lawn!") == "a-dog-on-the-lawn"
    assert slug("..") == "untitled"
    assert len(slug("word " * 40)) <= 48
    assert len(slug("w" * 99)) == 48


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(tmp_path / "a.png", b"x")
    assert names(tmp_path) == []
