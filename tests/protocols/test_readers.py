"""Does each picture get the same reading whatever else is in its batch?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eval.judge import Seen
from eval.metrics.depth import fit
from eval.protocols.drawing import Painter
from eval.protocols.map_scores import joints_of
from eval.protocols.readers import JudgeReader, PipelineReader, RegressorReader, load_judge
from unicon.conditions.pose_heat import heat_of


def test_estimates_do_not_depend_on_the_batch(pipe, splits):
    images, keys = splits.test.images, splits.test.seeds.tolist()
    whole = PipelineReader(pipe=pipe, steps=2, batch_size=4).read(images, "depth", keys, 0).maps
    single = PipelineReader(pipe=pipe, steps=2, batch_size=1).read(images[2:3], "depth", keys[2:3], 0).maps
    other = PipelineReader(pipe=pipe, steps=2, batch_size=4).read(images, "depth", keys, 1).maps
    assert whole.shape == (4, 32, 32, 3)
    np.testing.assert_allclose(whole[2], single[0], atol=2e-3)
    assert np.abs(whole.astype(float) - other).max() > 0.01


def test_an_ensembles_median_is_its_map_and_its_first_member_the_single_estimate(pipe, splits):
    images, keys = splits.test.images[:2], splits.test.seeds[:2].tolist()
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


def test_the_triggers_say_which_map(pipe, regressor, splits):
    reader = load_judge(regressor, pipe, steps=2, batch_size=4)
    depth, edge = (reader.read(splits.test.images, c, [0] * 4, 0).maps for c in ("depth", "edge"))
    assert np.abs(depth.astype(float) - edge).max() > 0.01
    with pytest.raises(ValueError, match="the regressor knows no 'appearance'"):
        reader.read(splits.test.images, "appearance", [0] * 4, 0)


def test_another_base_can_judge(base, pipe):
    assert load_judge(base, pipe, steps=2, batch_size=4).name == "judge base"


def test_the_base_itself_can_judge_and_so_can_the_judge_that_ships(pipe):
    own = load_judge("base", pipe, steps=2, batch_size=4)
    assert isinstance(own, PipelineReader)
    assert (own.pipe, own.name) == (pipe, "base")  # in a table not the adapter's own row
    assert isinstance(load_judge("mini", pipe, steps=2, batch_size=4), JudgeReader)


@pytest.mark.parametrize("condition", ["depth", "edge", "pose"])
def test_a_judge_reads_pictures_of_any_size_in_any_batch(condition, pipe, judge):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 25, 40, 3), dtype=np.uint8)
    reader = load_judge(judge, pipe, steps=2, batch_size=4)
    assert isinstance(reader, JudgeReader)
    whole = reader.read(pictures, condition, [0, 1, 2], 0).maps
    single = JudgeReader.load(judge, batch_size=1).read(pictures, condition, [3, 4, 5], 1).maps
    assert whole.shape == pictures.shape
    assert whole.min() >= 0
    assert whole.max() <= 1
    np.testing.assert_allclose(whole.astype(float), single, atol=2e-3)


def test_a_judge_knows_its_maps_alone(judge):
    with pytest.raises(ValueError, match="the judge knows no 'normal'; it knows depth, edge, pose"):
        JudgeReader.load(judge).read(np.zeros((1, 32, 32, 3), np.uint8), "normal", [0], 0)


class _AllSeeing(torch.nn.Module):
    """Answers with one truth of 32 pixels, whatever it is shown."""

    multiple_px, device = 4, torch.device("cpu")

    def __init__(self, seen: Seen):
        super().__init__()
        self.seen, self.config = seen, {"side_px": 32}

    def forward(self, pictures):
        assert pictures.shape[1:] == (3, 32, 32)
        return self.seen


def test_what_a_judge_sees_becomes_maps_at_the_pictures_own_size():
    rng = np.random.default_rng(0)
    metres = torch.linspace(1, 5, 32).expand(1, 32, 32)
    people = np.concatenate([rng.uniform(3, 13, (1, 18, 2)), np.ones((1, 18, 1))], -1)
    heat = [
        torch.logit(torch.from_numpy(each)[None].clamp(1e-4, 1 - 1e-4)) for each in heat_of(people, (16, 16))
    ]
    edges = torch.full((1, 32, 32), -9.0)
    edges[..., 10] = 9
    reader = JudgeReader(
        judge=_AllSeeing(Seen(log_depth=metres.log(), edges=edges, joints=heat[0], limbs=heat[1]))
    )
    pictures = np.zeros((1, 64, 64, 3), np.uint8)
    maps = {
        name: reader.read(pictures, name, [0], 0).maps[0].astype(float) for name in ("depth", "edge", "pose")
    }
    assert all(values.shape == (64, 64, 3) for values in maps.values())
    middle = maps["depth"][32, 4:-4, 0]
    scale, shift = fit(middle, np.linspace(1, 5, 64)[4:-4])
    np.testing.assert_allclose(scale * middle + shift, np.linspace(1, 5, 64)[4:-4], atol=0.05)
    assert scale < 0  # near is bright
    assert maps["edge"][:, 20:22].min() > 0.7
    assert maps["edge"][:, 26:].max() < 0.1
    (found,) = joints_of(maps["pose"])
    seen = found[:, 2] > 0
    exact = (2 * (people[0, :, :2] + 0.5)) * 2 - 0.5
    assert seen.sum() > 9
    assert np.median(np.abs(found[seen, :2] - exact[seen])) < 2


def test_a_folder_that_is_no_regressor_is_refused(tmp_path, pipe):
    with pytest.raises(ValueError, match="is no regressor: unet/config.json is missing"):
        RegressorReader.load(tmp_path, pipe)


def test_pictures_do_not_depend_on_the_batch(pipe, splits):
    scenes = splits.test
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
