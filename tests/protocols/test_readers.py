"""Does each picture get the same reading whatever else is in its batch?"""

from __future__ import annotations

import numpy as np
import pytest

from eval.protocols.drawing import Painter
from eval.protocols.readers import PipelineReader, RegressorReader, load_judge


def test_estimates_do_not_depend_on_the_batch(pipe, material):
    images, keys = material.test.images, material.test.seeds.tolist()
    whole = PipelineReader(pipe=pipe, steps=2, batch_size=4).read(images, "depth", keys, 0).maps
    single = PipelineReader(pipe=pipe, steps=2, batch_size=1).read(images[2:3], "depth", keys[2:3], 0).maps
    other = PipelineReader(pipe=pipe, steps=2, batch_size=4).read(images, "depth", keys, 1).maps
    assert whole.shape == (4, 32, 32, 3)
    np.testing.assert_allclose(whole[2], single[0], atol=2e-3)
    assert np.abs(whole.astype(float) - other).max() > 0.01


def test_an_ensembles_mean_is_its_map_and_its_first_member_the_single_estimate(pipe, material):
    images, keys = material.test.images[:2], material.test.seeds[:2].tolist()
    single = PipelineReader(pipe=pipe, steps=2).read(images, "depth", keys, 0)
    both = PipelineReader(pipe=pipe, steps=2, batch_size=2, members=2).read(images, "depth", keys, 0)
    assert single.members is None
    assert both.members.shape == (2, 2, 32, 32)
    np.testing.assert_allclose(both.members.mean(0), both.maps.mean(-1), atol=2e-3)
    np.testing.assert_allclose(both.members[0], single.maps.mean(-1), atol=2e-3)


def test_the_regressor_reads_pictures_of_any_size_in_any_batch(pipe, regressor):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 25, 40, 3), dtype=np.uint8)
    whole = RegressorReader.load(regressor, pipe).read(pictures, "edge", [0, 1, 2], 0).maps
    single = RegressorReader.load(regressor, pipe, 1).read(pictures, "edge", [0, 1, 2], 0).maps
    assert whole.shape == pictures.shape
    np.testing.assert_allclose(whole, single, atol=2e-3)


def test_the_triggers_say_which_map(pipe, regressor, material):
    reader = load_judge(regressor, pipe, steps=2, batch_size=4)
    depth, edge = (reader.read(material.test.images, c, [0] * 4, 0).maps for c in ("depth", "edge"))
    assert np.abs(depth.astype(float) - edge).max() > 0.01
    with pytest.raises(ValueError, match="the regressor knows no 'appearance'"):
        reader.read(material.test.images, "appearance", [0] * 4, 0)


def test_another_base_can_judge(base, pipe):
    assert load_judge(base, pipe, steps=2, batch_size=4).name == "judge base"


def test_a_folder_that_is_no_regressor_is_refused(tmp_path, pipe):
    with pytest.raises(ValueError, match="is no regressor: unet/config.json is missing"):
        RegressorReader.load(tmp_path, pipe)


def test_pictures_do_not_depend_on_the_batch(pipe, material):
    scenes = material.test
    for whole, single in (
        (
            Painter(pipe=pipe, steps=2).generate(scenes, "edge", 0),
            Painter(pipe=pipe, steps=2).generate(scenes.take([3]), "edge", 0),
        ),
        (
            Painter(pipe=pipe, steps=2).joint(scenes, "edge", 0),
            Painter(pipe=pipe, steps=2).joint(scenes.take([3]), "edge", 0),
        ),
    ):
        assert whole.pictures.shape == scenes.images.shape
        assert np.abs(whole.pictures[3].astype(int) - single.pictures[0]).max() <= 1
    assert whole.maps.shape == scenes.images.shape
