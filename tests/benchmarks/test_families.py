"""Does the comparison of families train what it says, and find modes no more often than they are there?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.families import (
    ELSEWHERE,
    FEATURES,
    MODELS,
    OF_MODES,
    RARE,
    Budget,
    Classifier,
    Embedded,
    ModeFinder,
    ModelConfig,
    Sets,
    chance_of,
    main,
    mode_of,
    questions,
    tables,
    trained,
)
from eval.records import Record
from train.shards import write_shard

TINY = Budget(num=4, reference=4, training=8, vae_steps=2, gan_steps=2, rare=2, draws=2)


@pytest.mark.parametrize(
    ("caption", "mode"),
    [
        ("a woman in a white shirt kicking on snow under a blue sky in bright sunlight", "snow, blue sky"),
        ("a wooden chair on a grey road under a golden sky, golden evening light", "grey road, golden sky"),
        ("a cube on dry grass under a grey sky", "dry grass, grey sky"),
        ("a red lamp in a room with a striped wall and a wooden floor", ELSEWHERE),
        ("an orange dog on a table with a spotted black cloth in front of a green wall", ELSEWHERE),
        ("a black cone on a teal table in front of a brick wall", ELSEWHERE),
        ("a green cylinder and a white dog, warm lamp light", None),
        ("a wooden table, a man standing and a grey cylinder, soft grey light", None),
    ],
)
def test_modes_are_what_captions_name(caption, mode):
    assert mode_of(caption) == mode


def test_the_chance_of_false_alarms_is_a_binomial_tail():
    assert chance_of(0, 10, 0.3) == 1
    assert chance_of(1, 10, 0.3) == pytest.approx(1 - 0.7**10)
    assert chance_of(10, 10, 0.3) == pytest.approx(0.3**10, abs=1e-12)
    assert chance_of(3, 500, 0.002) == pytest.approx(0.080, abs=0.002)


def test_a_classifier_finds_what_can_be_told_apart():
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 3, (3, 8))
    names = ["a", "b", "c"]
    places = rng.integers(0, 3, 300)
    features = (centres[places] + rng.normal(0, 0.5, (300, 8))).astype(np.float32)
    classifier = Classifier.of(features[:200], [names[n] for n in places[:200]])
    found = classifier(features[200:])
    assert np.mean([f == names[n] for f, n in zip(found, places[200:], strict=True)]) > 0.97


def test_rare_modes_are_those_of_a_small_share():
    finder = ModeFinder(
        classifier=Classifier(modes=[], weights=torch.zeros(1), mean=np.zeros(1), deviation=np.zeros(1)),
        shares={ELSEWHERE: 0.01, "snow, blue sky": 0.01, "grass, blue sky": 0.05},
        found={}, false_alarms={}, accuracy=1.0,
    )  # fmt: skip
    assert finder.rare == ["snow, blue sky"]


@pytest.fixture
def latents(tmp_path):
    """Of deviation 1, around one of two pictures."""
    rng = np.random.default_rng(0)
    middles = rng.normal(0, 0.95, (2, 4, 16, 16))
    values = middles[rng.integers(0, 2, 64)] + rng.normal(0, 0.3, (64, 4, 16, 16))
    np.save(tmp_path / "latents.npy", values.astype(np.float16))
    return tmp_path


def test_players_of_the_gan_do_not_play_each_others_part(latents):
    gan = ModelConfig(kind="gan", code=8, num=64).build(latents)
    with torch.no_grad():
        for parameter in gan.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    items = np.arange(6)
    draws = gan.draw(torch.Generator().manual_seed(0), torch.from_numpy(items))
    loss, parts = gan(items, draws)
    critic = torch.autograd.grad(parts["critic"].sum(), list(gan.own.parameters()), retain_graph=True)
    of_all = torch.autograd.grad(loss.sum(), list(gan.own.parameters()), retain_graph=True)
    for one, other in zip(critic, of_all, strict=True):
        torch.testing.assert_close(one, other)
    maker = torch.autograd.grad(parts["maker"].sum(), list(gan.made.parameters()), retain_graph=True)
    of_all = torch.autograd.grad(loss.sum(), list(gan.made.parameters()))
    for one, other in zip(maker, of_all, strict=True):
        torch.testing.assert_close(one, other)
        assert one.abs().sum() > 0
    real = torch.from_numpy(np.load(latents / "latents.npy")[:6].astype(np.float32))
    fooled = gan.own(gan.made(draws["code"]))[:, 0]
    torch.testing.assert_close(parts["maker"], F.softplus(gan.own(real)[:, 0] - fooled))


def test_a_vae_at_the_start_pays_a_unit_normal(latents):
    vae = ModelConfig(kind="vae", code=8, num=64).build(latents)
    for parameter in vae.own.last.parameters():
        torch.nn.init.zeros_(parameter)
    items = np.arange(6)
    loss, parts = vae(items, vae.draw(torch.Generator().manual_seed(0), torch.from_numpy(items)))
    torch.testing.assert_close(parts["nats"], torch.zeros(6))
    torch.testing.assert_close(loss, parts["square"] / 2)


def test_a_model_is_trained_once_and_samples_alike(latents):
    first = trained("vae", latents, TINY)
    stamp = (latents / "vae-2" / "export" / "made.safetensors").stat().st_mtime_ns
    again = trained("vae", latents, TINY)
    assert (latents / "vae-2" / "export" / "made.safetensors").stat().st_mtime_ns == stamp
    torch.testing.assert_close(first.sample(3, 0), again.sample(3, 0))
    assert first.sample(3, 0).shape == (3, 4, 16, 16)
    assert not torch.equal(first.sample(3, 0), first.sample(3, 1))


def shards(folder, num=12):
    rng = np.random.default_rng(0)
    captions = ["a cube in a room with a white wall"] * num
    pictures = rng.integers(0, 255, (num, 8, 8, 3), dtype=np.uint8)
    write_shard(
        folder / "shard_000000", {"image": pictures}, {"captions": captions, "second_captions": captions}
    )
    return folder


def test_pieces_of_a_set_are_made_once(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.families.PIECE", 2)
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
    asked = [(name, tuple(settings.items())) for name, _, settings in questions(Embedded(sets, tmp_path))]
    per_features = len(RARE) * TINY.draws + len(MODELS)
    assert len(set(asked)) == len(asked) == len(FEATURES) * per_features + len(OF_MODES) * len(MODELS)
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


def test_what_cannot_be_compared(tmp_path, capsys):
    with pytest.raises(ValueError, match="holds 12 scenes; expected 3600 to learn from and 120 that are not"):
        Sets(tmp_path, shards(tmp_path / "scenes"), Budget(), None, 1)
    with pytest.raises(SystemExit, match="holds no results of this budget"):
        main(["--tables", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        main(["--make", "VAE,Gan", "--out", str(tmp_path)])
    assert "--make: 'Gan' is none of held-out scenes" in capsys.readouterr().err
