"""Does `unicon eval maps` score folders as the metrics score arrays, and refuse what it cannot score?"""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest

from eval.metrics.bsds import boundary_counts, boundary_score, suppress
from eval.metrics.depth import batch_depth_errors, mean_errors
from eval.metrics.normals import angles, over_pictures
from eval.protocols import map_folders
from eval.protocols.map_files import (
    by_stem,
    read_boundaries,
    read_mask,
    read_normals,
    read_people,
    read_plane,
    read_strength,
)
from eval.records import read
from tests import commands
from tests.fixtures.maps.inputs import boundaries
from unicon.conditions.arrays import at_size
from unicon.conditions.normals import normal_to_map
from unicon.conditions.pose import draw_pose
from unicon.conditions.pose_files import joints_as_json


@pytest.fixture
def folders(tmp_path):
    made = tmp_path / "predictions", tmp_path / "truth"
    for folder in made:
        folder.mkdir()
    return made


def run(capsys, *arguments: object) -> str:
    return commands.run(capsys, "maps", *arguments)


def refusal(capsys, *arguments: object) -> str:
    return commands.refusal(capsys, "maps", *arguments)


def depths(num=3, shape=(12, 16)):
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.5, 9.5, (num, *shape))
    truth[:, 0] = 0  # nothing measured
    return 1 - (truth + rng.normal(0, 0.2, truth.shape)) / 12, truth


def write_depths(folders, shape=(12, 16)):
    predicted, truth = depths(shape=shape)
    for n, (p, g) in enumerate(zip(predicted, truth, strict=True)):
        np.save(folders[0] / f"room{n}_depth.npy", p.astype(np.float32))
        (folders[0] / f"room{n}_depth.png").write_bytes(b"the view, which is not read")
        np.save(folders[0] / f"room{n}_depth_uncertainty.npy", p)
        cv2.imwrite(str(folders[1] / f"room{n}.png"), np.round(g * 1000).astype(np.uint16))
    return predicted.astype(np.float32), np.round(truth * 1000) / 1000


def test_depth_is_scored_in_both_spaces_with_rows_and_records(folders, tmp_path, capsys):
    predicted, truth = write_depths(folders)
    out, rows = tmp_path / "out.jsonl", tmp_path / "tables" / "rows.csv"
    text = run(
        capsys, *folders, "--condition", "depth", "--truth-scale", 1000, "--alignment", "scale_shift",
        "disparity", "--out", out, "--csv", rows,
    )  # fmt: skip
    assert "### maps/depth" in text
    for record, space in zip(read(out), ("scale_shift", "disparity"), strict=True):
        errors = batch_depth_errors(list(predicted), list(truth), list(truth > 0), alignment=space)
        expected = mean_errors(errors)
        assert record.numbers["abs_rel"] == pytest.approx(expected.abs_rel)
        assert record.numbers["silog"] == pytest.approx(expected.silog)
        assert record.numbers["num"] == 3
        assert record.numbers["abs_rel_low"] <= expected.abs_rel <= record.numbers["abs_rel_high"]
        assert record.settings["alignment"] == space
        assert record.settings["num_missing"] == 0
    with rows.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == ["room0", "room1", "room2"] * 2
    assert [row["alignment"] for row in table] == ["scale_shift"] * 3 + ["disparity"] * 3


def test_a_benchmarks_rules_and_masks_are_used(folders, tmp_path, capsys):
    write_depths(folders)
    masks = tmp_path / "masks"
    masks.mkdir()
    for n in range(3):
        mask = np.zeros((12, 16), dtype=np.uint8)
        mask[3:9] = 255
        cv2.imwrite(str(masks / f"room{n}_mask.png"), mask)
    out = tmp_path / "out.jsonl"
    run(capsys, *folders, "--condition", "depth", "--protocol", "scannet", "--masks", masks, "--out", out)
    (record,) = read(out)
    assert record.settings["protocol"] == "scannet"
    assert record.numbers["num_pixels"] == 3 * 6 * 16
    assert "an NYU map is 12 x 16" in refusal(capsys, *folders, "--condition", "depth", "--protocol", "nyu")
    (masks / "room1_mask.png").unlink()
    why = refusal(capsys, *folders, "--condition", "depth", "--masks", masks)
    assert "room1: " in why
    assert "holds no mask room1_mask or room1" in why


def test_missing_predictions_are_an_error_or_a_recorded_count(folders, tmp_path, capsys):
    write_depths(folders)
    (folders[0] / "room1_depth.npy").unlink()
    (folders[0] / "room1_depth.png").unlink()
    np.save(folders[0] / "attic.npy", np.ones((12, 16)))
    arguments = [*folders, "--condition", "depth", "--truth-scale", 1000]
    assert "lacks 1 of 3 maps of" in refusal(capsys, *arguments)
    out = tmp_path / "out.jsonl"
    run(capsys, *arguments, "--allow-missing", "--out", out)
    (record,) = read(out)
    assert (record.settings["num_missing"], record.settings["num_extra"], record.numbers["num"]) == (1, 1, 2)


def test_sizes_and_valid_pixels_are_checked(folders, tmp_path, capsys):
    write_depths(folders)
    np.save(folders[0] / "room2_depth.npy", np.random.default_rng(0).random((6, 8)))
    arguments = [*folders, "--condition", "depth", "--truth-scale", 1000]
    assert "room2: the prediction is 6 x 8, its truth 12 x 16" in refusal(capsys, *arguments)
    run(capsys, *arguments, "--allow-resize")
    cv2.imwrite(str(folders[1] / "room2.png"), np.zeros((12, 16), dtype=np.uint16))
    assert "room2: no valid pixel" in refusal(capsys, *arguments, "--allow-resize")
    cv2.imwrite(str(folders[1] / "room0.png"), np.ones((12, 16), dtype=np.uint8))
    assert "has 8 bits; expected 16" in refusal(
        capsys, *folders, "--condition", "depth", "--protocol", "scannet"
    )


def test_boundaries_are_scored_and_kept(folders, tmp_path, capsys, monkeypatch):
    pytest.importorskip("scipy")
    counts = []
    for seed in (0, 1):
        strength, annotations = boundaries(seed)
        np.save(folders[0] / f"{seed}_edge.npy", strength)
        packed = np.packbits(annotations, axis=-1)
        np.savez(folders[1] / f"{seed}.npz", boundaries=packed, shape=np.array(annotations.shape))
        counts.append(
            boundary_counts(np.clip(suppress(strength), 0, 1), annotations, thresholds=np.arange(1, 5) / 5)
        )
    out, keep = tmp_path / "out.jsonl", tmp_path / "keep"
    arguments = [*folders, "--condition", "edge", "--thresholds", 4, "--cache", keep, "--out", out]
    run(capsys, *arguments)
    expected, numbers = boundary_score(counts), read(out)[0].numbers
    assert numbers["ods_f1"] == pytest.approx(expected.ods_f1)
    assert numbers["ois_f1"] == pytest.approx(expected.ois_f1)
    assert numbers["ap"] == pytest.approx(expected.area)
    monkeypatch.setattr(map_folders, "read_boundaries", None)  # the second run reads what was kept
    run(capsys, *arguments)
    assert read(out)[1].numbers == numbers
    monkeypatch.undo()
    run(capsys, *arguments, "--raw")
    assert read(out)[2].numbers != numbers


def test_the_quick_f1_says_that_it_is_not_bsds(folders, tmp_path, capsys):
    line = np.zeros((20, 20))
    line[10] = 1
    cv2.imwrite(str(folders[0] / "a.png"), np.roll(line, 1, axis=0) * 255)
    cv2.imwrite(str(folders[1] / "a.png"), line * 255)
    out = tmp_path / "out.jsonl"
    run(capsys, *folders, "--condition", "edge", "--protocol", "tolerance", "--out", out)
    (record,) = read(out)
    assert record.numbers["tolerance_f1"] == 1
    assert "not BSDS" in record.settings["protocol"]


def person(x: float) -> np.ndarray:
    joints = np.ones((18, 3))
    joints[:, 0], joints[:, 1] = x + np.arange(18) % 6 * 5, 10 + np.arange(18) // 6 * 20
    return joints


def test_poses_are_scored_from_json_in_the_truths_pixels(folders, tmp_path, capsys):
    truth, guess = person(10), person(10)
    guess[4, :2] += 30
    (folders[1] / "a.json").write_text(json.dumps(joints_as_json([truth], (100, 80))))
    half = (guess + (0.5, 0.5, 0)) * (0.5, 0.5, 1) - (0.5, 0.5, 0)  # of a picture half as large
    (folders[0] / "a.json").write_text(json.dumps(joints_as_json([half], (50, 40))))
    out = tmp_path / "out.jsonl"
    run(capsys, *folders, "--condition", "pose", "--out", out)
    numbers = read(out)[0].numbers
    assert numbers["pck"] == pytest.approx(17 / 18)
    assert 15 / 17 < numbers["oks"] < 1
    assert (numbers["count_error"], numbers["figures"]) == (0, 1)


def test_normals_are_averaged_both_ways(folders, tmp_path, capsys):
    rng, parts = np.random.default_rng(0), []
    for n, shape in enumerate([(6, 8), (9, 4)]):
        p, g = rng.normal(size=(2, *shape, 3))
        g[0] = 0
        unit = g / np.maximum(np.linalg.norm(g, axis=-1, keepdims=True), 1e-9)
        np.save(folders[0] / f"{n}_normal.npy", p)
        deep = np.round(normal_to_map(unit) * 65535).astype(np.uint16)
        cv2.imwrite(str(folders[1] / f"{n}.png"), deep[..., ::-1])
        parts.append(angles(p, unit))
    out = tmp_path / "out.jsonl"
    run(capsys, *folders, "--condition", "normal", "--out", out)
    for record, way in zip(read(out), ("pictures", "pixels"), strict=True):
        assert record.settings["mean_over"] == way
        assert record.numbers["mean"] == pytest.approx(over_pictures(parts, way).mean, abs=0.01)
        assert record.numbers["num"] == 2


def test_arguments_that_do_not_belong_together_are_refused(folders, tmp_path, capsys):
    arguments = [*folders, "--condition", "depth"]
    assert "holds no map; expected files" in refusal(capsys, *arguments)
    assert "--protocol is 'bsds'; depth knows nyu" in refusal(capsys, *arguments, "--protocol", "bsds")
    assert "--truth-scale is 0.0" in refusal(capsys, *arguments, "--truth-scale", 0)
    assert "no such folder" in refusal(capsys, *arguments, "--masks", tmp_path / "none")
    why = refusal(capsys, *folders, "--condition", "edge", "--masks", tmp_path)
    assert "--masks say which pixels of depth and normals count" in why
    assert "no such folder" in refusal(capsys, tmp_path / "x", folders[1], "--condition", "depth")
    np.save(folders[0] / "a.npy", np.ones((3, 3)))
    np.save(folders[1] / "b.npy", np.ones((3, 3)))
    assert "have no stem in common, such as 'a' and 'b'" in refusal(capsys, *arguments)


def test_the_exactest_file_of_a_stem_is_taken(tmp_path):
    for name in ("a_depth.png", "a_depth_16bit.png", "b.png", "b.npy", "b_mask.npy", ".c.npy"):
        (tmp_path / name).write_bytes(b"")
    assert {k: v.name for k, v in by_stem(tmp_path, "depth").items()} == {
        "a": "a_depth_16bit.png", "b": "b.npy",
    }  # fmt: skip


def test_files_of_each_kind_are_read(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    cv2.imwrite(str(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, -1))
    np.testing.assert_array_equal(read_plane(tmp_path / "grey.png", scale=2), grey / 2)
    np.testing.assert_allclose(read_strength(tmp_path / "grey.png"), grey / 255)
    np.testing.assert_array_equal(read_mask(tmp_path / "grey.png"), grey > 0)
    np.savez(tmp_path / "one.npz", grey[None])
    np.testing.assert_array_equal(read_plane(tmp_path / "one.npz"), grey)
    np.save(tmp_path / "chw.npy", np.moveaxis(np.ones((4, 5, 3)), -1, 0))
    assert read_normals(tmp_path / "chw.npy").shape == (4, 5, 3)
    np.save(tmp_path / "three.npy", np.zeros((2, 4, 5)))
    assert read_boundaries(tmp_path / "three.npy").shape == (2, 4, 5)
    assert at_size(np.zeros((4, 6)), (2, 3)).shape == (2, 3)
    drawing = np.round(draw_pose([person(30) * (2, 2, 1)], (128, 160)) * 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "pose.png"), drawing[..., ::-1])
    guesses, people = read_people(tmp_path / "pose.png", tmp_path / "pose.png")
    assert len(guesses) == len(people)
    np.testing.assert_allclose(guesses, people)


def test_bsds_matlab_files_are_read(tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    cells = np.empty((1, 2), dtype=object)
    for k in range(2):
        cells[0, k] = {"Boundaries": np.eye(4, dtype=np.uint8) * (k + 1)}
    savemat(tmp_path / "a.mat", {"groundTruth": cells})
    np.testing.assert_array_equal(read_boundaries(tmp_path / "a.mat"), np.stack([np.eye(4) > 0] * 2))
    savemat(tmp_path / "b.mat", {"x": np.eye(2)})
    with pytest.raises(ValueError, match="holds no BSDS groundTruth"):
        read_boundaries(tmp_path / "b.mat")


def test_files_that_are_none_are_refused(tmp_path):
    broken = tmp_path / "a.npy"
    broken.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is no file of one array"):
        read_plane(broken)
    np.savez(tmp_path / "two.npz", a=np.ones(2), b=np.ones(2))
    with pytest.raises(ValueError, match="it holds a, b; expected one array"):
        read_plane(tmp_path / "two.npz")
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is not a picture that OpenCV can read"):
        read_plane(tmp_path / "a.png")
    cv2.imwrite(str(tmp_path / "colour.png"), np.arange(36, dtype=np.uint8).reshape(3, 4, 3))
    with pytest.raises(ValueError, match=r"has shape \(3, 4, 3\); expected one value per pixel"):
        read_plane(tmp_path / "colour.png")
    cv2.imwrite(str(tmp_path / "grey.png"), np.zeros((3, 4), dtype=np.uint8))
    with pytest.raises(ValueError, match="is grey; expected a picture of normals"):
        read_normals(tmp_path / "grey.png")
    np.save(tmp_path / "flat.npy", np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"expected normals \(H, W, 3\)"):
        read_normals(tmp_path / "flat.npy")
    np.save(tmp_path / "deep.npy", np.zeros((2, 2, 3, 4)))
    with pytest.raises(ValueError, match=r"expected \(H, W\) or \(annotators, H, W\)"):
        read_boundaries(tmp_path / "deep.npy")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match="holds no joints"):
        read_people(tmp_path / "a.json", tmp_path / "a.json")
