"""Are held-out scenes the ones they say, and rendered only once?"""

from __future__ import annotations

import numpy as np
import pytest

from eval.protocols import scene_set as module
from eval.protocols.mean_maps import mean_figure, mean_map
from eval.protocols.scene_set import SPLITS, TEST_SPLITS, scene_set
from tests.tiny_base import SIDE_PX
from unicon.data.scenes import HELD_OUT_KINDS, HELD_OUT_LIGHTS, render


def test_scored_splits_lie_below_the_training_seeds_and_apart():
    starts = sorted(split.first_seed for split in SPLITS.values())
    assert starts[-1] == SPLITS["training"].first_seed == 1_000_000
    assert min(np.diff(starts)) >= 200_000  # the most scenes a set may have


def test_held_out_splits_hold_out_one_thing_each():
    configs = {name: SPLITS[name].config(64) for name in TEST_SPLITS}
    assert not set(configs["standard"].kinds) & set(HELD_OUT_KINDS)
    assert configs["held_out_kinds"].require_kinds == HELD_OUT_KINDS
    assert configs["held_out_kinds"].lights == configs["standard"].lights
    assert configs["held_out_lights"].lights == HELD_OUT_LIGHTS
    assert configs["held_out_lights"].kinds == configs["standard"].kinds


def test_scenes_are_the_renderers(splits):
    scene = render(2, SPLITS["standard"].config(SIDE_PX))
    assert splits.test.seeds.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(splits.test.images[2], scene.image)
    np.testing.assert_array_equal(splits.test.metres[2], scene.depth)
    np.testing.assert_array_equal(splits.test.edges[2], scene.edges)
    np.testing.assert_array_equal(splits.test.joints[2], np.reshape(scene.joints, (-1, 18, 3)))
    assert splits.test.captions[2] == scene.caption


def test_a_second_call_renders_nothing(splits, cache, monkeypatch):
    monkeypatch.setattr(module, "render", None)
    again = scene_set("standard", 4, size_px=SIDE_PX, cache_folder=cache)
    np.testing.assert_array_equal(again.images, splits.test.images)


def test_sets_of_other_sizes_share_whole_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 1)
    few = scene_set("standard", 1, size_px=SIDE_PX, cache_folder=tmp_path)
    more = scene_set("standard", 2, size_px=SIDE_PX, cache_folder=tmp_path)
    assert len(list(tmp_path.rglob("*.npz"))) == 2
    np.testing.assert_array_equal(few.images[0], more.images[0])


def test_a_changed_renderer_gets_a_folder_of_its_own(cache, splits, monkeypatch):
    monkeypatch.setattr(module, "renderer_fingerprint", lambda: "other")
    monkeypatch.setattr(module, "_render_piece", lambda folder, *_: (_ for _ in ()).throw(ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        scene_set("standard", 4, size_px=SIDE_PX, cache_folder=cache)


def test_a_broken_cache_file_is_named(tmp_path):
    scene_set("standard", 1, size_px=SIDE_PX, cache_folder=tmp_path)
    next(tmp_path.rglob("*.npz")).write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"cannot read the cached scenes .*npz.*delete the file"):
        scene_set("standard", 1, size_px=SIDE_PX, cache_folder=tmp_path)


@pytest.mark.parametrize(
    "split, num, match", [("test", 1, "split is 'test'; known"), ("standard", 0, "is 0")]
)
def test_bad_requests_are_refused(split, num, match):
    with pytest.raises(ValueError, match=match):
        scene_set(split, num)


def test_maps_are_pictures_of_the_truth(splits):
    maps = splits.test.maps("edge")
    assert maps.shape == (4, SIDE_PX, SIDE_PX, 3)
    np.testing.assert_array_equal(maps[..., 0] > 0.5, splits.test.edges)
    with pytest.raises(ValueError, match="no exact map of appearance"):
        splits.test.maps("appearance")


def test_with_figures_keeps_scenes_that_show_a_joint(splits):
    kept = splits.test.with_figures()
    shown = [s for s, j in zip(splits.test.seeds, splits.test.joints, strict=True) if j[..., 2].any()]
    assert kept.seeds.tolist() == shown


def test_mean_maps_of_scenes_and_of_their_shards_agree(splits, tmp_path):
    scenes = splits.training
    folder = tmp_path / "shard_000000"
    folder.mkdir()
    np.save(folder / "edge.npy", scenes.edges.astype(np.uint8) * 255)
    joints = np.full((len(scenes), 6, 18, 3), np.nan)
    for row, figures in zip(joints, scenes.joints, strict=True):
        row[: len(figures)] = figures
    np.save(folder / "joints.npy", joints)
    np.testing.assert_allclose(mean_map("edge", tmp_path), mean_map("edge", scenes), atol=1e-6)
    np.testing.assert_allclose(mean_figure(tmp_path), mean_figure(scenes))
    with pytest.raises(ValueError, match="holds no shard_.*depth"):
        mean_map("depth", tmp_path)
