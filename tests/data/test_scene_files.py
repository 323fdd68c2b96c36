"""Do written scenes hold what was rendered, survive an interruption, and stream?"""

from __future__ import annotations

import json
import warnings

import numpy as np
import PIL.Image
import pytest

from unicon.data.scenes import SceneConfig, read_depth, render, scenes_dataset, write_scenes

CONFIG = SceneConfig(size=32)


def test_files_hold_the_scene(tmp_path):
    write_scenes(tmp_path, [4, 5], CONFIG)
    rows = [json.loads(line) for line in (tmp_path / "metadata.jsonl").read_text().splitlines()]
    scene = render(4, CONFIG)
    assert [row["seed"] for row in rows] == [4, 5]
    assert rows[0]["caption"] == scene.caption
    assert len(rows[0]["joints"]) == len(scene.joints)
    assert np.array_equal(np.asarray(PIL.Image.open(tmp_path / rows[0]["file_name"])), scene.image)
    assert np.array_equal(np.asarray(PIL.Image.open(tmp_path / rows[0]["pose_file_name"])), scene.pose)
    assert np.array_equal(np.asarray(PIL.Image.open(tmp_path / rows[0]["edge_file_name"])) > 0, scene.edges)
    np.testing.assert_allclose(read_depth(tmp_path / rows[0]["depth_file_name"]), scene.depth, atol=5.1e-4)


def test_a_second_run_writes_only_what_is_missing(tmp_path):
    write_scenes(tmp_path, [1, 2], CONFIG)
    kept = (tmp_path / "image" / "00000001.png").stat().st_mtime_ns
    (tmp_path / ".records" / "scene_00000002.json").unlink()  # as if stopped before scene 2 was complete
    write_scenes(tmp_path, [1, 2, 3], CONFIG)
    assert (tmp_path / "image" / "00000001.png").stat().st_mtime_ns == kept
    assert len((tmp_path / "metadata.jsonl").read_text().splitlines()) == 3
    assert not list(tmp_path.rglob(".*.png*"))


def test_another_configuration_in_the_same_folder_is_an_error(tmp_path):
    write_scenes(tmp_path, [1], CONFIG)
    with pytest.raises(ValueError, match="holds scenes of another configuration"):
        write_scenes(tmp_path, [1], SceneConfig(size=48))


def test_wrong_arguments_say_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="num_workers is 0; expected at least 1"):
        write_scenes(tmp_path, [1], CONFIG, num_workers=0)
    with pytest.raises(ValueError, match="is not a 16-bit PNG"):
        read_depth(tmp_path / "none.png")
    with pytest.raises(ValueError, match="num is 0 and num_shards 16; expected at least 1"):
        scenes_dataset(0, 0)


def test_the_stream_holds_each_scene_once_whatever_the_shards():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the imported library
        pytest.importorskip("datasets")
        rows = list(scenes_dataset(6, 3, CONFIG, num_shards=2))
        halves = [list(scenes_dataset(6, 3, CONFIG, num_shards=3).shard(2, i)) for i in range(2)]
    assert [row["seed"] for row in rows] == [6, 7, 8]
    assert sorted(row["seed"] for half in halves for row in half) == [6, 7, 8]
    scene = render(7, CONFIG)
    assert np.array_equal(np.array(rows[1]["image"], np.uint8), scene.image)
    assert rows[1]["caption"] == scene.caption


@pytest.mark.slow
def test_two_workers_write_the_same_files_as_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    write_scenes(one, range(3), CONFIG)
    write_scenes(two, range(3), CONFIG, num_workers=2)
    files, again = ({p.relative_to(top) for p in top.rglob("*") if p.is_file()} for top in (one, two))
    assert len(files) >= 3
    assert files == again
    assert all((one / p).read_bytes() == (two / p).read_bytes() for p in files)
