"""Are pictures made larger from the command line, finished ones and drawn ones?"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

from adapters import AdapterConfig, save_adapter
from tests.adapters.tiny import tiny_unet, trained
from tests.cli.bases import command, names, opened, save_noise


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
        (["generate", "x", "--upscale", "2"], "enlarging needs an adapter for 'lowres'"),
        (["generate", "x", "--upscale", "9"], "scale is 9.0; expected above 1 and at most 4"),
        (["upscale", "in/a.png", "other/a.png"], "has the same name"),
        (["upscale", "nowhere.png"], "nowhere.png"),
    ],
)
def test_bad_input(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("in", "other"):
        save_noise(Path(folder) / "a.png")
    assert command(*arguments) == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()
