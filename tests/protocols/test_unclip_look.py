"""Do readers that drew nothing read rightly, and do swaps count what they say?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from eval.protocols.scene_set import SPLITS, SceneSet, scene_set
from eval.protocols.unclip_look import JudgeFeatures, LightReader, colours, lights_of
from eval.protocols.unclip_swap import Truth, scored, swaps
from tests.tiny_base import SIDE_PX, tiny_pipeline
from tests.tiny_clip import WIDTH, tiny_decoder, with_clip
from unicon.data.scenes import render


@pytest.fixture(scope="module")
def scenes(cache) -> SceneSet:
    return scene_set("standard", 48, size_px=SIDE_PX, cache_folder=cache)


@pytest.fixture(scope="module")
def truth(scenes) -> Truth:
    return Truth(
        seeds=scenes.seeds.tolist(),
        pictures=torch.from_numpy(scenes.images).movedim(-1, 1).float() / 255,
        maps=torch.from_numpy(scenes.maps("depth")).movedim(-1, 1).float(),
        lights=lights_of(scenes.seeds.tolist()),
        z=F.normalize(torch.randn(48, WIDTH, generator=torch.Generator().manual_seed(0)), dim=-1),
    )


def first(truth: Truth, num: int) -> Truth:
    cut = {name: getattr(truth, name)[:num] for name in ("seeds", "pictures", "maps", "lights", "z")}
    return Truth(**cut)


def test_lights_are_those_of_the_rendered_scenes():
    config = SPLITS["standard"].config(SIDE_PX)
    assert lights_of(range(6)) == [render(seed, config).attributes["light"] for seed in range(6)]


def test_light_is_read_from_pictures_that_were_not_fitted(truth):
    reader = LightReader.fitted(truth.pictures[:40], truth.lights[:40])
    right = [a == b for a, b in zip(reader(truth.pictures), truth.lights, strict=True)]
    assert sum(right[:40]) > 0.8 * 40
    assert sum(right[40:]) >= 3, "of 8; by chance 1.6"


def test_features_of_the_judge_are_in_deviations_of_the_true_pictures(truth):
    features = JudgeFeatures.of(truth.pictures, torch.device("cpu"))
    found = features(truth.pictures)
    assert abs(found.mean(0)).max() < 1e-3
    assert found.std(0).max() == pytest.approx(1, abs=1e-3)
    assert features(truth.pictures[3:5]) == pytest.approx(found[3:5], abs=1e-3)
    assert abs(features(truth.pictures.flip(1)) - found).max() > 0.1


def test_swaps_are_counted_by_readers_that_drew_nothing(truth):
    """Drawings in the first one's colours and the second's map, and ones that are the second."""
    reader = LightReader.fitted(truth.pictures, truth.lights)
    given = truth.maps.roll(-1, 0)
    mirrored = truth.pictures.flip(-1)  # another layout in the same colours
    good = scored(mirrored, truth.z, given, truth, reader)
    assert (good["map"], good["both_right"]) == (0, 1)
    assert good["colour"] == pytest.approx(0, abs=1e-5)
    assert good["colour_of_the_other"] > 0.1
    assert good["light"] > 0.8 > 0.2 > good["light_of_the_other"]
    assert good["meaning"] == pytest.approx(1, abs=1e-5)
    stuck = scored(truth.pictures.roll(-1, 0), truth.z.roll(-1, 0), given, truth, reader)
    assert stuck["map"] == stuck["both_right"] == 0
    assert stuck["colour_of_the_other"] == pytest.approx(0, abs=1e-5)
    assert stuck["light"] < 0.2 < 0.8 < stuck["light_of_the_other"]
    assert stuck["meaning"] < stuck["meaning_of_the_other"]
    own_map = scored(mirrored, truth.z, truth.maps, truth, reader)
    assert own_map["both_right"] == own_map["map_of_the_other"] == 0


def test_what_the_clip_says_of_a_swap_changes_its_own_number_alone(truth):
    reader = LightReader.fitted(truth.pictures, truth.lights)
    found = [scored(truth.pictures, sign * truth.z, truth.maps, truth, reader) for sign in (1, -1)]
    changed = {name for name in found[0] if found[0][name] != found[1][name]}
    assert changed == {"meaning", "meaning_of_the_other"}


def test_where_all_have_one_light_it_says_nothing(truth):
    few = replace(first(truth, 3), lights=["sun"] * 3)
    reader = LightReader.fitted(truth.pictures, truth.lights)
    assert "light" not in scored(few.pictures, few.z, few.maps, few, reader)


def test_distances_of_colours():
    black, white = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    assert float((colours(black) - colours(white)).norm()) == pytest.approx(2**0.5)
    assert float((colours(black) - colours(black + 0.01)).norm()) == 0


def test_swaps_are_drawn(tmp_path, truth):
    pipe = with_clip(tiny_pipeline(tmp_path / "words"))
    pipe.add_decoder(tiny_decoder(pipe))
    options = {"condition": "depth", "steps": 1, "batch_size": 2}
    found = [swaps(pipe, first(truth, 3), seed=seed, **options) for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert found[0].shape == (3, 3, SIDE_PX, SIDE_PX)
