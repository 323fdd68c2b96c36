"""Are pictures drawn again through their embeddings from the command line, in one grid?"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

from adapters import save_decoder
from tests.cli.bases import names, opened, save_noise
from tests.tiny_base import tiny_pipeline
from tests.tiny_clip import tiny_decoder, with_clip
from unicon.cli import main as cli


@cache
def clip_base() -> Path:
    """A tiny base with a CLIP, and a decoder adapter beside it."""
    folder = Path(mkdtemp(prefix="unicon-tiny-"))
    pipe = with_clip(tiny_pipeline(folder / "words"))
    pipe.save_pretrained(folder / "base")
    save_decoder(tiny_decoder(pipe), folder / "decoder")
    return folder


def command(name: str, *arguments: object, decoder: bool = True) -> int:
    shared = ["--base", clip_base() / "base", "--device", "cpu", "--dtype", "float32", "--steps", "2"]
    shared += ["--decoder", clip_base() / "decoder"] if decoder else []
    return cli.main([name, *map(str, [*arguments, *shared])])


HOWS = {
    "variations": [],
    "to": ["--to", "b.png", "--fixed-noise"],
    "text": ["--text", "a cat", "--instead-of", "a dog"],
    "swap": ["--map-of", "b.png"],
    "components": ["--pictures", "more"],
}


@pytest.mark.parametrize(
    "how", [pytest.param(how, marks=[] if how == "components" else pytest.mark.slow) for how in HOWS]
)
def test_every_way_writes_one_grid(how, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_noise(Path("a.png"))
    save_noise(Path("b.png"), seed=1, width=48)
    for i in range(4):
        save_noise(Path("more") / f"{i}.png", seed=i)
    assert command("vary", "a.png", *HOWS[how], "--num", 3, "--out", "out") == 0
    assert names(Path("out")) == [f"a_{how}_seed0.png"]
    assert capsys.readouterr().out.strip().endswith(f"a_{how}_seed0.png")
    sheet = opened(Path("out") / f"a_{how}_seed0.png")
    assert sheet.height > (4 if how == "variations" else 2) * 160


def test_generate_takes_a_picture_to_be_like(tmp_path):
    like = save_noise(tmp_path / "a.png", width=50)
    scales = {"0": tmp_path / "none", "1": tmp_path / "all"}
    for scale, out in scales.items():
        assert command("generate", "a dog", "--like", like, "--like-scale", scale, "--out", out) == 0
    first, second = (opened(out / "a-dog_seed0.png").tobytes() for out in scales.values())
    assert first != second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vary", "a.png"], "like needs a decoder adapter, and none is loaded"),
        (["vary", "nowhere.png"], "nowhere.png"),
        (["vary", "a.png", "--map-of", "a.png", "--condition", "lines"], "condition 'lines'"),
        (["generate", "a dog", "--prior"], "like needs a decoder adapter"),
        (["generate", " ", "--prior"], "--prior chooses the content from the prompt, which is empty"),
        (["generate", "a dog", "--upscale", "2"], "for mini, from scenes: unicon train mini/crops, then"),
        (["generate", "a dog", "--like-scale", "0.5"], "without like"),
    ],
)
def test_bad_input(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_noise(Path("a.png"))
    assert command(*arguments, decoder=False) == 2
    assert message in capsys.readouterr().err
