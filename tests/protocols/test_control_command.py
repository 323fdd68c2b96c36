"""Is a map read back from generated pictures by several readers, and compared as each kind of map is?"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from eval.metrics.edges import edge_counts
from eval.metrics.pictures import ms_ssim, ssim
from eval.protocols.control import another_of_its_size
from eval.protocols.fidelity import MapFiles, fidelity, remembering
from eval.protocols.generated import groups, halves
from eval.protocols.readers import JudgeReader
from eval.records import read
from tests import commands
from tests.tiny_base import SIDE_PX
from unicon.conditions.edges import canny, edges_to_map
from unicon.conditions.normals import normal_to_map
from unicon.conditions.pose import draw_pose
from unicon.data.photos import load_photo


def run(capsys, *arguments: object) -> str:
    return commands.run(capsys, "control", *arguments)


def refusal(capsys, *arguments: object) -> str:
    return commands.refusal(capsys, "control", *arguments)


def photo(seed: int, side: int = 48) -> np.ndarray:
    rng = np.random.default_rng(seed)
    picture = np.zeros((side, side, 3), dtype=np.uint8)
    for _ in range(4):
        x, y = rng.integers(0, side - 16, 2)
        picture[y : y + 14, x : x + 14] = rng.integers(40, 255, 3)
    return picture


@pytest.fixture
def edges(tmp_path):
    """Two photos, their Canny maps, and two pictures generated from each: the photo itself, and another."""
    for name in ("photos", "maps", "made"):
        (tmp_path / name).mkdir()
    for stem, seed in (("a", 0), ("b", 1)):
        own = photo(seed)
        Image.fromarray(own).save(tmp_path / "photos" / f"{stem}.png")
        Image.fromarray(np.uint8(255 * edges_to_map(canny(own)))).save(tmp_path / "maps" / f"{stem}_edge.png")
        Image.fromarray(own).save(tmp_path / "made" / f"{stem}_0.png")
        Image.fromarray(photo(seed + 7)).save(tmp_path / "made" / f"{stem}_1.png")
    return tmp_path


def test_edges_read_by_the_annotator_and_given_maps(edges, capsys):
    arguments = [
        "--generated", edges / "made", "--maps", edges / "maps", "--condition", "edge",
        "--annotator", "canny", "--real", edges / "photos", "--device", "cpu", "--out", edges / "out.jsonl",
    ]  # fmt: skip
    run(capsys, *arguments)
    rows = {r.settings["prediction"]: r for r in read(edges / "out.jsonl")}
    own, other, real = (rows[n] for n in ("generated", "generated, another's map", "the real pictures"))
    expected = [
        np.mean([edge_counts(canny(photo(s + d)), canny(photo(s)), tolerance_px=0, thin=False).f1
                 for s in (0, 1)]) for d in (0, 7)
    ]  # fmt: skip
    assert expected[0] == 1
    assert own.numbers["f1_exact"] == pytest.approx(np.mean(expected))
    assert own.numbers["f1_exact_deviation"] == pytest.approx(np.std(expected, ddof=1))
    assert (real.numbers["f1_exact"], real.numbers["ssim"]) == (1, pytest.approx(1))
    assert other.numbers["f1_exact"] < own.numbers["f1_exact"] < 1
    assert own.numbers["num"] == 4
    assert (own.settings["groups"], own.settings["num_maps"]) == (2, 2)
    assert (own.settings["read_by"], own.settings["reader"]) == ("canny", "made the condition")


def test_another_map_is_one_of_the_same_size_and_those_without_one_are_told(edges, capsys):
    for stem, seed, side in (("c", 2, 64), ("d", 3, 64), ("e", 4, 80)):
        own = photo(seed, side)
        Image.fromarray(np.uint8(255 * edges_to_map(canny(own)))).save(edges / "maps" / f"{stem}_edge.png")
        for place in (0, 1):
            Image.fromarray(own).save(edges / "made" / f"{stem}_{place}.png")
    sizes = {"a": (48, 48), "c": (64, 64), "b": (48, 48), "d": (64, 64), "e": (80, 80)}
    assert another_of_its_size(sizes) == {"a": "b", "c": "d", "b": "a", "d": "c"}
    printed = run(
        capsys, "--generated", edges / "made", "--maps", edges / "maps", "--condition", "edge",
        "--annotator", "canny", "--device", "cpu", "--out", edges / "out.jsonl",
    )  # fmt: skip
    assert "generated, another's map: 1 of 5 maps have a size that no other has" in printed
    own, other = read(edges / "out.jsonl")
    assert (own.settings["num_maps"], other.settings["num_maps"]) == (5, 4)
    assert other.settings["prediction"] == "generated, another's map"
    assert other.numbers["f1_exact"] < own.numbers["f1_exact"]
    assert other.numbers["num"] == 8


def changed_regressor(folder: Path, target: Path) -> Path:
    """A copy whose text embeddings are others."""
    shutil.copytree(folder, target)
    triggers = load_file(target / "triggers.safetensors")
    save_file({name: values + 1 for name, values in triggers.items()}, target / "triggers.safetensors")
    return target


def test_a_held_out_judge_reads_depth_and_what_it_read_is_kept(
    base, regressor, tmp_path, capsys, monkeypatch
):
    rng = np.random.default_rng(0)
    for name in ("maps", "made"):
        (tmp_path / name).mkdir()
        for stem in "ab":
            grey = rng.integers(0, 256, (SIDE_PX, SIDE_PX, 1), dtype=np.uint8)
            Image.fromarray(np.repeat(grey, 3, -1)).save(tmp_path / name / f"{stem}.png")
    arguments = [
        "--generated", tmp_path / "made", "--maps", tmp_path / "maps", "--condition", "depth", "--base", base,
        "--judge", regressor, "--device", "cpu", "--out", tmp_path / "out.jsonl",
        "--cache", tmp_path / "keep",
    ]  # fmt: skip
    run(capsys, *arguments)
    first = read(tmp_path / "out.jsonl")
    assert first[0].settings["reader"] == "second reader"
    assert 0 < first[0].numbers["rmse_255_fitted"] < first[0].numbers["rmse_255"]
    assert len(list((tmp_path / "keep").iterdir())) == 2
    changed = [*arguments, "--judge", changed_regressor(regressor, tmp_path / "changed")]
    run(capsys, *changed)
    assert len(list((tmp_path / "keep").iterdir())) == 4
    assert read(tmp_path / "out.jsonl")[len(first)].numbers != first[0].numbers
    monkeypatch.setattr("eval.protocols.readers.RegressorReader.read", None)
    run(capsys, *arguments)
    again = read(tmp_path / "out.jsonl")[2 * len(first) :]
    assert [r.numbers for r in again] == [r.numbers for r in first]


def test_a_judge_of_pixels_needs_no_base(edges, judge, capsys, monkeypatch):
    monkeypatch.setattr("eval.protocols.map_readers.load_pipeline", None)
    asked = [
        "--generated",
        edges / "made",
        "--maps",
        edges / "maps",
        "--condition",
        "edge",
        "--device",
        "cpu",
    ]
    run(capsys, *asked, "--judge", judge, "--out", edges / "out.jsonl")
    assert read(edges / "out.jsonl")[0].settings["read_by"] == str(judge)


def test_the_folder_of_joint_samples_is_both(tmp_path, capsys):
    for stem in ("cat_seed0", "cat_seed1"):
        Image.fromarray(photo(len(stem))).save(tmp_path / f"{stem}_image.png")
        Image.fromarray(np.uint8(255 * edges_to_map(canny(photo(len(stem)))))).save(
            tmp_path / f"{stem}_edge.png"
        )
    out = tmp_path / "results" / "out.jsonl"
    run(capsys, "--generated", tmp_path, "--maps", tmp_path, "--condition", "edge", "--annotator", "canny",
        "--device", "cpu", "--out", out)  # fmt: skip
    assert read(out)[0].numbers["f1_exact"] == 1


def scored(kind, given, seen, tmp_path, **more):
    """Numbers of one picture whose reader sees `seen`."""
    path = tmp_path / "x.png"
    Image.fromarray(np.zeros((*given.shape[:2], 3), dtype=np.uint8)).save(path)
    return fidelity(lambda *_: [seen], kind, {"x": given}, {"own": {"x": [path]}}, **more)["own"]


def test_depth_is_compared_as_8_bit_maps(tmp_path):
    given = np.repeat(np.linspace(0, 1, 80).reshape(8, 10, 1), 3, -1).astype(np.float32)
    found = scored("depth", given, 0.5 * given + 0.1, tmp_path).scores[0]
    gap = 255 * (0.5 * given[..., 0] - 0.1)
    assert found["rmse_255"] == pytest.approx(np.sqrt(np.mean(gap**2)), rel=1e-5)
    assert found["rmse_255_fitted"] == pytest.approx(0, abs=1e-3)
    # Near drawn far is as bad as a map that says nothing.
    turned = scored("depth", given, 1 - given, tmp_path).scores[0]
    assert turned["rmse_255_fitted"] == pytest.approx(255 * given.std(), rel=1e-5)


def test_soft_lines_are_compared_by_ssim_over_scales_where_they_are_large_enough(tmp_path):
    rng = np.random.default_rng(0)
    given = np.repeat(rng.random((180, 190, 1)), 3, -1).astype(np.float32)
    seen = np.clip(given + 0.1, 0, 1)
    found = scored("lines", given, seen, tmp_path).scores[0]
    assert found["ms_ssim"] == pytest.approx(ms_ssim(seen[..., 0], given[..., 0]), rel=1e-5)
    assert found["ssim"] == pytest.approx(ssim(seen[..., 0], given[..., 0]), rel=1e-5)
    small = scored("lines", given[:64, :64], seen[:64, :64], tmp_path).scores[0]
    assert set(small) == {"ssim", "psnr"}


def test_normals_are_compared_by_angle_and_no_direction_is_a_right_angle(tmp_path):
    turn = np.radians(np.repeat([[0, 10, 20, 0]], 8, axis=0).repeat(2, axis=1))
    vectors = np.stack([np.sin(turn), 0 * turn, np.cos(turn)], -1)
    seen = normal_to_map(vectors)
    seen[:, 6:] = 0.5
    given = normal_to_map(np.broadcast_to([0.0, 0, 1], (8, 8, 3)))
    found = scored("normal", given, seen, tmp_path).scores[0]
    assert found["mean"] == pytest.approx((0 + 10 + 20 + 90) / 4, abs=1e-3)
    assert found["under_11_25"] == 0.5


def test_poses_are_compared_by_their_joints(tmp_path):
    joints = np.ones((18, 3))
    joints[:, :2] = [
        (64, 20), (64, 35), (50, 36), (44, 55), (42, 72), (78, 36), (84, 55), (86, 72), (56, 72), (54, 95),
        (53, 117), (72, 72), (74, 95), (75, 117), (61, 17), (67, 17), (57, 19), (71, 19),
    ]  # fmt: skip
    given = draw_pose([joints], (128, 128))
    same = scored("pose", given, given, tmp_path)
    assert (same.scores[0]["oks"], same.scores[0]["pck"], same.scores[0]["ap"]) == (1, 1, 1)
    nobody = scored("pose", given, 0 * given, tmp_path).scores[0]
    assert (nobody["oks"], nobody["pck"], nobody["count_error"]) == (0, 0, 1)
    with pytest.raises(ValueError, match="no given map shows a figure"):
        scored("pose", 0 * given, given, tmp_path)


def test_classes_are_compared_by_mean_iou(tmp_path):
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], dtype=np.uint8)
    g, p = np.array([[0, 0, 1, 1], [2, 2, 2, 2]]), np.array([[0, 1, 1, 1], [2, 2, 2, 0]])
    g, p = (np.kron(x, np.ones((8, 8), dtype=int)) for x in (g, p))
    found = scored("segmentation", palette[g] / 255.0, palette[p], tmp_path, palette=palette).scores[0]
    assert found["mean_iou"] == pytest.approx((1 / 3 + 2 / 3 + 3 / 4) / 3)
    with pytest.raises(ValueError, match="need the palette"):
        scored("segmentation", palette[g] / 255.0, palette[p], tmp_path)


def test_what_was_read_is_not_read_again_unless_the_picture_changed(tmp_path):
    asked, path = [], tmp_path / "x.png"
    Image.fromarray(photo(0)).save(path)
    reader = remembering(
        lambda _, files: [asked.append(f) or np.ones((2, 2, 3)) for f in files],
        tmp_path / "keep", {"judge": "me"},
    )  # fmt: skip
    for _ in range(2):
        np.testing.assert_array_equal(reader([load_photo(path)], [path]), 1)
    assert len(asked) == 1
    Image.fromarray(photo(1, side=64)).save(path)
    reader([load_photo(path)], [path])
    assert len(asked) == 2
    # Another picture of its name, size and time is another picture.
    twin, told = tmp_path / "twin" / "x.png", path.stat()
    twin.parent.mkdir()
    twin.write_bytes(path.read_bytes()[:-1] + b"\0")
    os.utime(twin, ns=(told.st_atime_ns, told.st_mtime_ns))
    reader([load_photo(path)] * 2, [path, twin])
    assert asked[2:] == [twin], "of a batch only what is not known is read"
    other = remembering(lambda *_: [np.zeros((2, 2, 3))], tmp_path / "keep", {"judge": "another"})
    np.testing.assert_array_equal(other([load_photo(path)], [path]), 0)


def test_bad_folders_are_refused(edges, tmp_path, capsys):
    good = ["--generated", edges / "made", "--maps", edges / "maps", "--condition", "edge", "--device", "cpu"]
    assert "nobody reads the maps back" in refusal(capsys, *good)
    assert "--read is 'hed'; expected NAME=DIR" in refusal(capsys, *good, "--read", "hed")
    why = refusal(capsys, *good, "--read", f"hed={edges / 'maps'}")
    assert "no map of this stem was read" in why
    assert "--condition is 'dept'" in refusal(capsys, *good[:4], "--condition", "dept")
    (edges / "photos" / "b.png").unlink()
    assert "has no picture b; 1 are missing" in refusal(
        capsys, *good, "--annotator", "canny", "--real", edges / "photos"
    )
    assert "is no .npy file" in refusal(
        capsys, *good, "--annotator", "canny", "--palette", edges / "none.npy"
    )
    (edges / "made" / "b_1.png").unlink()
    why = refusal(capsys, *good, "--annotator", "canny")
    assert "conditions have 1 to 2 pictures, 'b' the fewest" in why
    Image.fromarray(photo(0)[:30]).save(edges / "made" / "b_1.png")
    assert "they must have one shape" in refusal(capsys, *good, "--annotator", "canny")
    with pytest.raises(ValueError, match="begins with none of 1 stems, such as 'c'"):
        groups([edges / "made" / "a_0.png"], ["c"])
    with pytest.raises(ValueError, match="no generated picture to score"):
        groups([], ["c"])
    with pytest.raises(ValueError, match="is it a picture or a map"):
        halves(edges / "photos", edges / "photos", "edge")


def test_pictures_of_another_size_are_counted(tmp_path):
    given = np.zeros((40, 60, 3), dtype=np.float32)
    given[20] = 1
    path = tmp_path / "x.png"
    Image.fromarray(np.zeros((80, 120, 3), dtype=np.uint8)).save(path)
    seen = cv2.resize(given, (120, 80))
    found = fidelity(lambda *_: [seen], "lines", {"x": given}, {"own": {"x": [path]}})
    assert found["own"].num_resized == 1


def test_a_picture_is_read_once_in_batches_of_its_size_and_maps_are_not_kept(tmp_path, monkeypatch):
    """Each picture is compared with its own map and with another's."""
    sides = {"a": 16, "b": 16, "c": 24, "d": 24, "e": 24, "f": 16}
    made, files = {}, {}
    for n, (stem, side) in enumerate(sides.items()):
        made[stem] = [tmp_path / f"{stem}_{k}.png" for k in range(2)]
        for k, path in enumerate(made[stem]):
            Image.fromarray(np.full((side, side, 3), 40 * n + k, np.uint8)).save(path)
        files[stem] = tmp_path / f"{stem}.png"
        values = np.repeat(np.linspace(0, 10 + 40 * n, side**2).reshape(side, side, 1), 3, axis=-1)
        Image.fromarray(np.uint8(values)).save(files[stem])
    another = {stem: made[other] for stem, other in another_of_its_size(
        {stem: (side, side) for stem, side in sides.items()}).items()}  # fmt: skip
    batches, opened = [], []

    def reader(pictures, paths):
        batches.append([path.stem for path in paths])
        return [np.asarray(picture) for picture in pictures]

    monkeypatch.setattr(
        "eval.protocols.fidelity.load_photo", lambda path: (opened.append(path), load_photo(path))[1]
    )
    sets = {"own": made, "another": another}
    found = fidelity(reader, "depth", MapFiles(files), sets, batch_size=3)
    assert [len(batch) for batch in batches] == [3, 1, 3, 3, 2]
    assert sorted(sum(batches, [])) == sorted(path.stem for paths in made.values() for path in paths)
    pictures = [path for path in opened if path not in files.values()]
    assert len(pictures) == len(set(pictures)) == 12
    for name, way in sets.items():
        for k, numbers in enumerate(found[name].scores):
            gaps = [load_grey(way[stem][k]) - load_grey(files[stem]) for stem in way]
            expected = np.mean([np.sqrt(np.mean(gap**2)) for gap in gaps])
            assert numbers["rmse_255"] == pytest.approx(expected, rel=1e-5)
    one = fidelity(reader, "depth", MapFiles(files), sets)
    assert one == found
    few = MapFiles(files)
    first = few["a"]
    assert few["a"] is first
    for stem in "bcdef":
        assert few[stem].shape == (sides[stem], sides[stem], 3)
    assert few["a"] is not first, "only the last few are kept"


def load_grey(path: Path) -> np.ndarray:
    return np.asarray(load_photo(path)).astype(float).mean(-1)


def test_the_size_of_a_batch_is_what_a_judge_is_asked_at_a_time(edges, judge, capsys, monkeypatch):
    sizes, read_ = [], JudgeReader.read
    monkeypatch.setattr(
        JudgeReader, "read", lambda self, seen, *more: (sizes.append(len(seen)), read_(self, seen, *more))[1]
    )
    asked = ["--generated", edges / "made", "--maps", edges / "maps", "--condition", "edge",
             "--device", "cpu", "--judge", judge, "--out", edges / "out.jsonl"]  # fmt: skip
    run(capsys, *asked, "--batch-size", "3")
    run(capsys, *asked, "--batch-size", "1")
    assert sizes == [3, 1, 1, 1, 1, 1]
    found = read(edges / "out.jsonl")
    for first, second in zip(found[:2], found[2:], strict=True):
        assert first.numbers == pytest.approx(second.numbers, rel=1e-3)
