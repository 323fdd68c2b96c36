"""Are pictures made larger from the command line, finished ones and drawn ones?"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

from adapters import AdapterConfig, save_adapter
from tests.adapters.tiny import tiny_unet, trained
from tests.cli.bases import command, names, opened, save_noise
from unicon.cli import upscale as module
from unicon.data import photos


@cache
def upscaler() -> Path:
    folder = Path(mkdtemp(prefix="unicon-tiny-")) / "lowres"
    settings = AdapterConfig(condition="lowres", rank=2, locality=4.0, clean_timestep=150)
    save_adapter(trained(tiny_unet(), settings, seed=9), folder)
    return folder


def test_pictures_become_larger_under_names_that_say_so(tmp_path, capsys):
    save_noise(tmp_path / "in" / "a.png", width=24, height=20)
    save_noise(tmp_path / "in" / "b.png", width=40, height=16)
    out = tmp_path / "out"
    assert command("upscale", tmp_path / "in", "--adapter", upscaler(), "--out", out, steps=1) == 0
    assert names(out) == ["a_x2.png", "b_x2.png"]
    assert capsys.readouterr().out.split() == [str(out / name) for name in names(out)]
    assert [opened(out / name).size for name in names(out)] == [(48, 40), (80, 32)]
    more = ("--scale", 1.5, "--noise", 0.3, "--prompt", "grass", "--tile-size", 64, "--free-colours")
    one = tmp_path / "in" / "a.png"
    assert command("upscale", one, "--adapter", upscaler(), "--out", out, *more, steps=1) == 0
    assert opened(out / "a_x1.5.png").size == (36, 30)


def test_a_folder_is_read_past_files_that_cannot_be(tmp_path, capsys):
    save_noise(tmp_path / "in" / "a.png")
    save_noise(tmp_path / "in" / "deep" / "c.png", width=20)
    (tmp_path / "in" / "b.jpg").write_bytes(b"no picture")
    out = tmp_path / "out"
    arguments = ("upscale", tmp_path / "in", "--recursive", "--adapter", upscaler(), "--out", out)
    assert command(*arguments, steps=1) == 1
    assert names(out) == ["a_x2.png", "deep/c_x2.png"]
    assert "1 of 3 photos are left out:\n  " in capsys.readouterr().err


def test_few_photos_are_in_memory_at_a_time(tmp_path, monkeypatch):
    for name in "abc":
        save_noise(tmp_path / "in" / f"{name}.png", width=16, height=16)
    events: list[str] = []
    read, write = photos.load_photo, module.write_picture
    monkeypatch.setattr(photos, "load_photo", lambda path: (events.append("read"), read(path))[1])
    monkeypatch.setattr(module, "write_picture", lambda *a: (events.append("written"), write(*a))[1])
    assert command("upscale", tmp_path / "in", "--adapter", upscaler(), "--out", tmp_path, steps=1) == 0
    assert events == ["read", "written"] * 3


def test_what_is_done_is_skipped_until_something_changes(tmp_path, capsys):
    for seed, name in enumerate("ab"):
        save_noise(tmp_path / "in" / f"{name}.png", width=16, height=16, seed=seed)
    out = tmp_path / "out"

    def again(*more: object) -> list[str]:
        """What a run writes anew."""
        assert command("upscale", tmp_path / "in", "--adapter", upscaler(), "--out", out, *more, steps=1) == 0
        return [Path(line).name for line in capsys.readouterr().out.splitlines() if line.startswith(str(out))]

    both = ["a_x2.png", "b_x2.png"]
    assert again() == both
    assert again() == []
    assert again("--again") == both
    assert again("--noise", 0.3) == both
    save_noise(tmp_path / "in" / "b.png", width=16, height=16, seed=5)
    assert again("--noise", 0.3) == ["b_x2.png"]
    (out / "a_x2.png").write_bytes(b"half a file")
    assert again("--noise", 0.3) == ["a_x2.png"]


def test_pictures_of_one_name_are_told_apart(tmp_path):
    pictures = [save_noise(tmp_path / place / "a.png", width=16, height=16) for place in ("x", "y")]
    assert command("upscale", *pictures, "--adapter", upscaler(), "--out", tmp_path / "out", steps=1) == 0
    assert names(tmp_path / "out") == ["a_png_2_x2.png", "a_png_x2.png"]


def test_a_drawn_picture_is_enlarged_with_the_noise_of_its_seed(tmp_path):
    arguments = ("generate", "x", "--adapter", upscaler(), "--upscale", 2)
    assert command(*arguments, "--num", 2, "--out", tmp_path / "two", steps=1) == 0
    assert command(*arguments, "--seed", 1, "--out", tmp_path / "one", steps=1) == 0
    pictures = [opened(tmp_path / folder / "x_seed1.png") for folder in ("two", "one")]
    assert [each.size for each in pictures] == [(64, 64)] * 2
    first, second = (each.tobytes() for each in pictures)
    assert max(abs(a - b) for a, b in zip(first, second, strict=True)) <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["upscale", "in/a.png"], "enlarging needs an adapter for 'lowres'"),
        (["upscale", "in/a.png", "--guidance-scale", "4"], "--guidance-scale has no effect without --prompt"),
        (["generate", "x", "--upscale", "2"], "enlarging needs an adapter for 'lowres'"),
        (["generate", "x", "--upscale", "9"], "scale must be a number above 1 and of at most 4, got 9.0"),
        (
            ["upscale", "nowhere.png", "--adapter", "LOWRES"],
            "1 of 1 photos are left out:\n  nowhere.png",
        ),
    ],
)
def test_bad_input(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_noise(Path("in") / "a.png")
    assert command(*(upscaler() if each == "LOWRES" else each for each in arguments)) == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()
