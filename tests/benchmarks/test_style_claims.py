"""Does the experiment on styles measure what it says, and go on where it was stopped?"""

from __future__ import annotations

import pytest
import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from benchmarks.style_claims import (
    RANKS,
    STYLES,
    Budget,
    Cell,
    Ruler,
    cells,
    claims,
    done,
    learnt,
    main,
    needed,
    normal,
    run,
    scenes,
)
from eval.records import Record
from tests.tiny_base import SIDE_PX, tiny_pipeline
from unicon import UniConPipeline
from unicon.data.scenes.config import HELD_OUT_STYLES

TINY = Budget(steps=1, num=2, styled=2, drawing_steps=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    """A tiny base that has what pictures are compared with."""
    folder = tmp_path_factory.mktemp("base")
    pipe = tiny_pipeline(folder / "words")
    torch.manual_seed(4)
    shape = {"hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = CLIPVisionConfig(**shape, image_size=SIDE_PX, patch_size=16, projection_dim=8)
    text = CLIPTextConfig(**{**pipe.text_encoder.config.to_dict(), "projection_dim": 8})
    pipe.register_modules(
        image_encoder=CLIPVisionModelWithProjection(vision).eval(),
        text_encoder=CLIPTextModelWithProjection(text).eval(),
    )
    pipe.save_pretrained(folder / "tiny")
    return str(folder / "tiny")


def test_the_sweep_is_the_one_that_is_stated():
    all_of_it = cells()
    assert set(STYLES) <= set(HELD_OUT_STYLES)
    assert len(set(all_of_it)) == len(all_of_it) == 3 * (2 * (17 + 2 * (4 + 1 + 2)) + 2 * 3)
    assert {c.rank for c in all_of_it} == set(RANKS) == {4, 32}
    assert len({c.law for c in all_of_it}) == 17
    assert sum(c.law == normal(-4.6, 2) and c.seed == 2 for c in all_of_it) == 6
    assert all(sum((c.law, c.rank) == pair for c in all_of_it) == 9 for pair in needed())
    assert not any(c.law == normal(-4, 2) and c.seed for c in all_of_it)
    first = all_of_it[: len(needed()) * len(STYLES)]
    assert {(c.law, c.rank) for c in first} == needed()


def test_captions_say_nothing_of_the_style():
    styled, plain = (scenes(5, 2, style, SIDE_PX) for style in ("ink", "photo"))
    assert not any("ink drawing" in caption for caption in styled.captions)
    assert styled.captions == plain.captions
    assert torch.equal(styled.maps, plain.maps)
    assert not torch.equal(styled.pictures, plain.pictures)


def test_pictures_in_the_style_are_nearer_to_it(base):
    ruler = Ruler(UniConPipeline.from_pretrained(base), "neon", Budget(num=4, styled=6, drawing_steps=1))
    ruler.pipe.set_progress_bar_config(disable=True)
    numbers = ruler.references()
    assert numbers["rendered in the style"]["style"] > numbers["rendered as a photo"]["style"]
    assert numbers["rendered in the style"]["colour"] < numbers["rendered as a photo"]["colour"]


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped(base, tmp_path, capsys):
    todo = [Cell(style="ink", law=law, rank=4, seed=0) for law in ("uniform", normal(-6, 2), "sd3")]
    assert run(tmp_path, base, todo[:1], TINY) == 0
    assert "0 left, about 0.0 h" in capsys.readouterr().err
    assert run(tmp_path, base, todo, TINY, stop_after=0.0) == 2
    assert len(done(tmp_path, TINY)) == 4 + 1  # what it is compared with was measured once
    assert run(tmp_path, base, todo, TINY) == 0
    laws = [record.settings["law"] for record in learnt(done(tmp_path, TINY))]
    assert laws == ["uniform", normal(-6, 2), "sd3"]
    assert not done(tmp_path, Budget())  # another budget is another experiment
    assert not done(tmp_path, TINY, "of other weights")
    numbers = [tuple(record.numbers.values()) for record in learnt(done(tmp_path, TINY))]
    assert len(set(numbers)) == 3
    arguments = f"--out {tmp_path} --steps 1 --num 2 --styled 2 --drawing-steps 1".split()
    assert main(["--tables", *arguments]) == 0
    table = (tmp_path / "table.md").read_text()
    for row in ("| base |", "| rendered in the style |", "| uniform | 4 | 1 |", "| normal(-6, 2) | 4 | 1 |"):
        assert row in table
    assert (tmp_path / "style_claims.png").stat().st_size > 1000


@pytest.mark.slow
def test_shares_fill_one_folder(base, tmp_path):
    todo = [Cell(style=style, law="uniform", rank=4, seed=0) for style in ("ink", "neon", "watercolour")]
    for share, styles in (((2, 2), ["neon"]), ((1, 2), ["neon", "ink", "watercolour"])):
        assert run(tmp_path, base, todo, TINY, share=share) == 0
        records = done(tmp_path, TINY)
        assert [record.settings["style"] for record in learnt(records)] == styles
    assert sum(record.settings.get("what") == "base" for record in records) == 3
    with pytest.raises(SystemExit):
        main(["--share", "3/2"])


def test_claims_name_the_numbers_that_decide_them():
    def record(law: str, rank: int, likeness: float, style: str = "ink") -> Record:
        settings = {"law": law, "rank": rank, "seed": 0, "style": style}
        return Record(name="x", numbers={"style": likeness, "prompt": 0.3, "control": 0.1}, settings=settings)

    alone = record("sd3", 32, 0.9, "neon")  # no other law has learnt it
    said = claims([record(normal(-6, 2), 4, 0.5), record("sd3", 32, 0.4), alone])
    found = "style normal(-6, 2), rank 4: 0.500 | style sd3, rank 32: 0.400 | +0.100 | 1 of 1 |"
    assert f"| rank 4 at -6 beats SD3's law at rank 32 | {found}" in said
    assert said.count("\n") == 3


def test_what_cannot_be_measured(tmp_path, capsys):
    with pytest.raises(ValueError, match="has no image encoder or no depth adapter"):
        Ruler(tiny_pipeline(tmp_path / "words"), "ink", TINY)
    with pytest.raises(SystemExit):
        main(["--styles", "photo"])
    assert "'photo' is none of watercolour, ink" in capsys.readouterr().err
    with pytest.raises(ValueError, match="holds no results of this budget"):
        main(["--tables", "--out", str(tmp_path)])
