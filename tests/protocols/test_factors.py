"""Are factors read by texts that differ in them alone?"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from eval import __main__ as front
from eval.protocols.factors import (
    SETS,
    FactorReader,
    accuracies,
    bare_caption,
    chances,
    kind_texts,
)
from eval.records import read
from tests.commands import refusal
from tests.tiny_base import tiny_pipeline
from tests.tiny_clip import tiny_decoder, with_clip
from unicon.data.scenes import SceneConfig, render
from unicon.data.scenes.config import HELD_OUT_KINDS, HELD_OUT_LIGHTS, HELD_OUT_STYLES, LIGHTS
from unicon.data.scenes.lights import WORDS as LIGHT_WORDS
from unicon.data.scenes.styles import WORDS as STYLE_WORDS

SMALL = {"size": 32, "second_view": False}


class Knowing(FactorReader):
    """A CLIP that knows: pictures have the embeddings of texts, whose words are made orthogonal."""

    def texts(self, texts):
        rng = {}
        words = [text.replace(",", "").split() for text in texts]
        for word in {w for row in words for w in row}:
            seed = int.from_bytes(word.encode().ljust(8, b"\0")[:8], "little") % 2**31
            rng[word] = torch.randn(256, generator=torch.Generator().manual_seed(seed))
        return F.normalize(torch.stack([sum(rng[w] for w in row) for row in words]), dim=-1)

    def features(self, scenes):
        told = [
            STYLE_WORDS[s.attributes["style"]][0]
            + f"{bare_caption(s)}, {LIGHT_WORDS[s.attributes['light']]} {s.attributes['placed_kinds'][0]}"
            for s in scenes
        ]
        return self.texts(told)


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    made = with_clip(tiny_pipeline(tmp_path_factory.mktemp("words")))
    made.add_decoder(tiny_decoder(made))
    return made


@pytest.fixture(scope="module")
def scenes():
    config = SceneConfig(max_subjects=1, styles=("photo", "ink", "neon"), **SMALL)
    return [render(seed, config) for seed in range(24)]


def test_captions_lose_the_words_for_light_and_style_alone(scenes):
    for scene in scenes:
        body = bare_caption(scene)
        assert body in scene.caption
        assert LIGHT_WORDS[scene.attributes["light"]] not in body
        assert not any(body.startswith(words) for each in STYLE_WORDS.values() for words in each)
        assert scene.attributes["subjects"][0]["words"] in body


def test_a_clip_that_knows_is_right_and_one_that_does_not_guesses(pipe, scenes):
    right = accuracies(Knowing(pipe), scenes)
    assert {name: float(each.mean()) for name, each in right.items() if name != "kind"} == {
        "style": 1.0, "light": 1.0, "caption": pytest.approx(1.0, abs=0.1)
    }  # fmt: skip
    assert right["kind"].mean() > 0.6, "a woman stands for all persons, and other words are in captions"
    guessed = chances(scenes)
    assert guessed["light"] == 1 / len(LIGHTS)
    random = accuracies(FactorReader(pipe), scenes)
    assert all(each.shape == (24,) for each in random.values())
    assert random["caption"].mean() < 0.4
    assert len(kind_texts()) == 25


def test_sets_hold_what_they_are_named_after():
    def shown(name: str, attribute: str) -> set:
        config = SETS[name]
        return {
            value
            for seed in range(6)
            for found in [render(seed, SceneConfig(**_fields(config))).attributes[attribute]]
            for value in (found if isinstance(found, list) else [found])
        }

    assert shown("unseen styles", "style") <= set(HELD_OUT_STYLES)
    assert shown("unseen lights", "light") <= set(HELD_OUT_LIGHTS)
    assert shown("unseen kinds", "placed_kinds") & set(HELD_OUT_KINDS)
    assert not shown("as in training", "placed_kinds") & set(HELD_OUT_KINDS)


def _fields(config: SceneConfig) -> dict:
    names = ("kinds", "require_kinds", "lights", "styles", "max_subjects")
    return {name: getattr(config, name) for name in names} | SMALL


def test_the_command_reads_every_set(pipe, tmp_path, capsys):
    pipe.save_pretrained(tmp_path / "base")
    common = ["factors", "--base", str(tmp_path / "base"), "--device", "cpu"]
    assert front.main([*common, "--num", "3", "--out", str(tmp_path / "out.jsonl")]) == 0
    assert [r.settings["set"] for r in read(tmp_path / "out.jsonl")] == list(SETS)
    assert "unseen kinds in unseen styles" in capsys.readouterr().out
    assert "an interval needs at least 2 scenes" in refusal(capsys, *common, "--num", "1")
