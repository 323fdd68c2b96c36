"""Is everything asked and made once, and shown with how often it was drawn?"""

from __future__ import annotations

import math
import runpy
from dataclasses import asdict, replace

import numpy as np
import pytest

from benchmarks.model_families.budget import Budget
from benchmarks.model_families.features import EXTRACTORS, Embedded
from benchmarks.model_families.pictures import MODELS, RARE, Sets
from benchmarks.model_families.results import OF_MODES, RESULTS, done, questions, run
from benchmarks.model_families.tables import tables
from eval.records import Record, read
from tests.programs import ROOT
from train.shards import write_shard

TINY = Budget(num=4, reference=4, training=8, vae_steps=2, gan_steps=2, rare=2, draws=2)


def shards(folder, num=12):
    rng = np.random.default_rng(0)
    captions = ["a cube in a room with a white wall"] * num
    pictures = rng.integers(0, 255, (num, 8, 8, 3), dtype=np.uint8)
    write_shard(
        folder / "shard_000000", {"image": pictures}, {"captions": captions, "second_captions": captions}
    )
    return folder


def test_pieces_of_a_set_are_made_once(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.model_families.pictures.PIECE", 2)
    sets = Sets(tmp_path / "out", shards(tmp_path / "scenes"), TINY, None, 1)
    asked = []

    def make(span):
        asked.append((span.start, span.stop))
        return np.full((span.stop - span.start, 2, 2, 3), span.start, np.uint8)

    whole = sets._kept("x", make, 5)
    assert asked == [(0, 2), (2, 4), (4, 5)]
    (tmp_path / "out" / "pictures" / "x" / "000002-000004.npz").unlink()
    np.testing.assert_array_equal(sets._kept("x", make, 5), whole)
    assert asked[3:] == [(2, 4)]


def test_every_question_is_asked_once(tmp_path):
    sets = Sets(tmp_path / "out", shards(tmp_path / "scenes"), TINY, None, 1)
    asked = [(name, tuple(settings.items())) for name, settings, _ in questions(Embedded(sets, tmp_path))]
    per_features = len(RARE) * TINY.draws + len(MODELS)
    assert len(set(asked)) == len(asked) == len(EXTRACTORS) * per_features + len(OF_MODES) * len(MODELS)
    assert (sets.held_out() == sets.real(range(8, 12))).all()
    copies = sets.copies()
    assert {each.tobytes() for each in copies} <= {each.tobytes() for each in sets.reference()}


def test_tables_say_how_often_it_was_drawn():
    def record(name: str, draw: int | None, **numbers: float) -> Record:
        settings = {"features": "mini"} | ({} if draw is None else {"draw": draw})
        return Record(name=f"families/{name}", numbers=numbers, settings=settings)

    rare = {"auc_outside_is_rarest": 0.5, "outside_of_rare": 0.1, "outside_of_common": 0.1}
    text = tables([
        record("rare light", 0, auc_inside=0.6, **rare), record("rare light", 1, auc_inside=0.8, **rare),
        record("GAN", None, rarity=1.5, precision=0.25), record("modes of GAN", None, recovered=3.0),
    ])  # fmt: skip
    assert "| GAN | 1.500 | 0.250 |" in text.replace("|  ", "| ")
    assert "0.700 ± 0.141" in text
    assert math.isclose(text.count("###"), 3)


def test_what_is_answered_is_not_asked_again(tmp_path, monkeypatch):
    asked = []

    def answered(embedded):
        settings = {"features": "mini", **embedded.sets.budget.of_model("GAN")}
        yield "families/GAN", settings, lambda: asked.append("GAN") or {"rarity": 1.0}

    monkeypatch.setattr("benchmarks.model_families.results.questions", answered)
    scenes = shards(tmp_path / "scenes")
    longer = replace(TINY, gan_steps=3)
    for budget in (TINY, TINY, replace(TINY, vae_steps=3), longer, longer):
        run(Sets(tmp_path, scenes, budget, None, 1), tmp_path)
    assert len(asked) == len(read(tmp_path / RESULTS)) == 2  # the GAN's steps decide, and not the VAE's
    assert [r.settings["gan_steps"] for r in done(tmp_path, longer)] == [3]


def test_nothing_goes_on_from_other_scenes_or_another_base(tmp_path, monkeypatch):
    sets = Sets(tmp_path / "out", shards(tmp_path / "scenes"), TINY, None, 1)
    for _ in range(2):
        sets.keep_to_themselves()
    other = Sets(tmp_path / "out", shards(tmp_path / "others", 13), TINY, None, 1)
    with pytest.raises(ValueError, match="holds results of scenes with shard"):
        other.keep_to_themselves()
    fewer = Sets(tmp_path / "out", tmp_path / "scenes", replace(TINY, training=7), None, 1)
    with pytest.raises(ValueError, match="holds results of training 8, and this run is of 7"):
        fewer.keep_to_themselves()
    monkeypatch.setattr("benchmarks.model_families.pictures.mini_folder", lambda: tmp_path / "others")
    with pytest.raises(ValueError, match="holds results of base mini"):
        sets.keep_to_themselves()
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    main = runpy.run_path(str(ROOT / "benchmarks" / "families.py"))["main"]
    asked = ["--scenes", str(tmp_path / "others"), "--out", str(tmp_path / "out"), "--make", "copier"]
    tiny = [part for name, value in asdict(TINY).items() for part in (f"--{name}", str(value))]
    with pytest.raises(ValueError, match="give it a folder of its own with --out"):
        main([*asked, *(word.replace("_", "-") for word in tiny)])


def test_what_cannot_be_compared(tmp_path, capsys, monkeypatch):
    with pytest.raises(ValueError, match="holds 12 scenes; expected 3600 to learn from and 120 that are not"):
        Sets(tmp_path, shards(tmp_path / "scenes"), Budget(), None, 1)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    main = runpy.run_path(str(ROOT / "benchmarks" / "families.py"))["main"]
    with pytest.raises(SystemExit, match="holds no results of this budget"):
        main(["--tables", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        main(["--make", "VAE,Gan", "--out", str(tmp_path)])
    assert "--make: 'Gan' is none of held-out scenes" in capsys.readouterr().err
