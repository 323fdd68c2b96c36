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
    num = [] if how == "swap" else ["--num", 3]
    assert command("vary", "a.png", *HOWS[how], *num, "--out", "out") == 0
    assert names(Path("out")) == [f"a_{how}_seed0.png"]
    assert capsys.readouterr().out.strip().endswith(f"a_{how}_seed0.png")
    sheet = opened(Path("out") / f"a_{how}_seed0.png")
    assert sheet.height > (4 if how == "variations" else 2) * 160


def test_a_sheet_of_other_settings_is_kept_and_the_same_is_written_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(["a.png", "more/b.png", "more/c.png"]):
        save_noise(Path(name), seed=seed)

    def sheet(*arguments: object) -> str:
        assert command("vary", "a.png", *HOWS["components"], *arguments, "--out", "out") == 0
        return Path(capsys.readouterr().out.strip()).name

    assert sheet("--num", 1) == "a_components_seed0.png"
    first = Path("out/a_components_seed0.png").read_bytes()
    assert sheet("--num", 2) == "a_components_seed0_2.png"
    save_noise(Path("more/c.png"), seed=9, width=48)
    assert [sheet("--num", 1), sheet("--num", 1, "--batch", 1)] == ["a_components_seed0_3.png"] * 2
    assert Path("out/a_components_seed0.png").read_bytes() == first


def grid(tmp_path: Path, name: str, *arguments: object) -> bytes:
    assert command("vary", "a.png", *arguments, "--num", 2, "--out", tmp_path / name) == 0
    (written,) = names(tmp_path / name)
    return opened(tmp_path / name / written).tobytes()


@pytest.mark.slow
def test_a_map_and_both_guidances_change_what_is_drawn_and_the_batch_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("abm"):
        save_noise(Path(f"{name}.png"), seed=seed)
    ways = {
        "plain": [],
        "in_a_map": ["--depth", "m.png"],
        "named": ["--condition", "depth=m.png"],
        "half": ["--condition", "depth=m.png,weight=0.5"],
        "like": ["--like-guidance-scale", 3],
        "prompt": ["--prompt", "a dog"],
        "text": ["--prompt", "a dog", "--guidance-scale", 3],
    }
    shared = ["--to", "b.png", "--fixed-noise"]
    made = {name: grid(tmp_path, name, *shared, *way) for name, way in ways.items()}
    assert made["in_a_map"] == made["named"]
    assert len(set(made.values())) == len(ways) - 1
    assert grid(tmp_path, "again", *shared, "--batch", 2) == made["plain"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["variations", "text", "swap"])
def test_every_way_takes_maps(how, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("abm"):
        save_noise(Path(f"{name}.png"), seed=seed)
    num = [] if how == "swap" else ["--num", 2]
    for name, way in (("without", []), ("within", ["--edge", "m.png"])):
        assert command("vary", "a.png", *HOWS[how], *way, *num, "--out", name) == 0
    without, within = (opened(Path(n) / f"a_{how}_seed0.png") for n in ("without", "within"))
    assert without.tobytes() != within.tobytes()


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
        (["vary", "a.png", "--condition", "lines=a.png"], "condition 'lines'"),
        (["vary", "a.png", "--condition", "edge"], "--condition edge has no effect without --map-of"),
        (["vary", "a.png", "--map-of", "a.png", "--depth", "a.png"], "condition 'depth' is given twice"),
        (["vary", "a.png", "--depth", "a.png,noise=0.5"], "depth: maps are held clean here"),
        (["vary", "a.png", "--depth", "wide.png"], "depth: the map has 32 x 16 px where the picture has"),
        (
            ["vary", "a.png", "--to", "a.png", "--instead-of", "x"],
            "--instead-of has no effect without --text",
        ),
        (["vary", "a.png", "--fixed-noise"], "--fixed-noise has no effect without --to"),
        (["vary", "a.png", "--guidance-scale", "3"], "--guidance-scale has no effect without --prompt"),
        (["vary", "a.png", "--num", "3", "--map-of", "a.png"], "--num has no effect with --map-of"),
        (["vary", "a.png", "--text", " "], "--text is empty: say what the picture is to become"),
        (["vary", "a.png", "--text", "x", "--instead-of", "x"], "this CLIP sees no difference"),
        (["generate", "a dog", "--prior"], "like needs a decoder adapter"),
        (["generate", " ", "--prior"], "--prior chooses the content from the prompt, which is empty"),
        (["generate", "a dog", "--upscale", "2"], "enlarging needs an adapter for 'lowres'"),
        (["generate", "a dog", "--like-scale", "0.5"], "without like"),
    ],
)
def test_bad_input(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_noise(Path("a.png"))
    save_noise(Path("wide.png"), width=64)
    assert command(*arguments, decoder=False) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["vary", "a.png", "--decoder", "nowhere"],
            "decoder adapter 'nowhere': no such folder",
        ),
        (["generate", "a dog", "--decoder", "depth"], "is not a decoder adapter's config: unknown entries"),
        (
            ["generate", "a dog", "--prior", "nowhere"],
            "prior 'nowhere': no such folder; give a prior's",
        ),
        (
            ["generate", "a dog", "--prior", "depth"],
            "prior 'depth': no config.json there names Prior",
        ),
    ],
)
def test_what_is_no_decoder_or_prior_is_refused_before_a_base_is_loaded(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unicon.pipeline.UniConPipeline.from_pretrained", None)
    save_noise(Path("a.png"))
    Path("depth").symlink_to(clip_base() / "base" / "adapters" / "depth")
    assert command(*arguments, decoder=False) == 2
    assert message in capsys.readouterr().err
