"""Are the public sets read as documented, and is the held-out tenth fixed?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eval as eval_package
from eval import __main__ as front
from eval import baselines, data

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the public sets are not beside the checkout")


def write(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def tiny_nyu(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(60):
        row = {"image_file_name": f"{number:05d}.png", "depth_file_name": f"d{number:05d}.png"}
        Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).save(
            tmp_path / row["image_file_name"]
        )
        depth = rng.integers(20, 256, (6, 8), dtype=np.uint8)
        Image.fromarray(depth).save(tmp_path / row["depth_file_name"])
        rows.append(row)
    return write(tmp_path, rows)


def test_folds_never_move():
    assert [data.fold(f"{n:05d}.png") for n in (2, 3, 4, 5, 6)] == FOLDS
    assert data.fold("depth/00002.png") == data.fold("elsewhere/00002.png")


FOLDS = [9, 3, 7, 2, 7]


def test_splits_partition_the_set(tiny_nyu):
    held_out, rest, everything = (data.nyu_depth(tiny_nyu, s).names for s in ("held_out", "rest", "all"))
    assert sorted(held_out + rest) == sorted(everything)
    assert len(everything) == 60
    assert all(data.is_held_out(name) for name in held_out)
    assert held_out


def test_other_rooms_are_stretches_of_neighbours_and_no_test_picture_is_trained_on(tmp_path):
    names = [f"d{n:05d}.png" for n in range(430)]
    rows = [{"image_file_name": f"i{name}", "depth_file_name": name} for name in names]
    folder = write(tmp_path, rows)
    other, train, held_out = (
        data.nyu_depth(folder, split).names for split in ("other_rooms", "train", "held_out")
    )
    assert other == [*names[180:200], *names[380:400]]
    assert set(train) == set(names) - set(other) - set(held_out)


def test_nyu_depth_is_a_share_of_the_maximum(tiny_nyu):
    photos = data.nyu_depth(tiny_nyu, "all")
    photo = photos[3]
    assert (photo.image.shape, photo.image.dtype, photo.depth.shape) == ((6, 8, 3), np.uint8, (6, 8))
    stored = np.asarray(Image.open(tiny_nyu / "d00003.png"))
    np.testing.assert_array_equal(photo.depth, stored / 255)
    assert photos[2:5].names == photos.names[2:5]


def test_depth_of_more_than_eight_bits_is_refused(tmp_path):
    folder = write(tmp_path, [{"image_file_name": "i.png", "depth_file_name": "d.png"}])
    Image.new("RGB", (8, 6)).save(folder / "i.png")
    Image.fromarray(np.full((6, 8), 3000, np.uint16)).save(folder / "d.png")
    with pytest.raises(ValueError, match="d.png: has values of more than 8 bits"):
        data.nyu_depth(folder, "all")[0]


def test_baselines_by_hand(tiny_nyu):
    photos = data.nyu_depth(tiny_nyu, "all")
    depths = np.stack([p.depth for p in photos])
    expected = np.mean([np.mean(np.abs(d.mean() - d) / d) for d in depths])
    assert baselines.constant_errors(depths, "scale_shift").abs_rel == pytest.approx(expected)


def test_a_mean_map_is_that_of_what_was_measured():
    depths = np.random.default_rng(0).uniform(1, 9, (3, 4, 5))
    folds = np.array([0, 1, 1])
    holed = np.concatenate([depths, depths[1:]])
    holed[1, :2] = holed[2, :2] = 0  # the same places are measured in their doubles
    holed[3, 2:] = holed[4, 2:] = 0
    found = baselines.mean_map_errors(holed, np.array([0, 1, 1, 1, 1]), 0, "scale_shift")
    assert found == baselines.mean_map_errors(depths, folds, 0, "scale_shift")


def test_bsds_bits_unpack(tmp_path):
    truth = np.random.default_rng(0).random((3, 5, 11)) < 0.3
    np.savez(tmp_path / "b.npz", boundaries=np.packbits(truth, axis=-1), shape=np.array(truth.shape))
    Image.fromarray(np.zeros((5, 11, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    write(tmp_path, [{"image_file_name": "a.png", "boundary_file_name": "b.npz", "annotators": 3}])
    photo = data.bsds(tmp_path)[0]
    np.testing.assert_array_equal(photo.boundaries, truth)


def test_lsp_joints_land_in_openpose_order():
    points = np.array([[i, 10 * i, 1] for i in range(14)], dtype=float)
    points[0, 2] = 0
    joints = data.openpose_from_lsp(points)
    assert tuple(joints[1]) == (12, 120, 1)  # neck
    assert tuple(joints[2]) == (8, 80, 1)  # right shoulder
    assert tuple(joints[11]) == (3, 30, 1)  # left hip
    assert tuple(joints[7]) == (11, 110, 1)  # left wrist
    assert tuple(joints[10]) == (0, 0, 0)  # right ankle, hidden
    assert (joints[[0, 14, 15, 16, 17], 2] == 0).all()


def test_lsp_wants_fourteen_points():
    with pytest.raises(ValueError, match=r"expected \(14, 3\)"):
        data.openpose_from_lsp(np.zeros((18, 3)))


def test_unknown_split(tiny_nyu):
    with pytest.raises(ValueError, match="known: held_out, rest, all"):
        data.nyu_depth(tiny_nyu, "test")


def test_missing_folder(tmp_path):
    with pytest.raises(ValueError, match=r"holds metadata\.jsonl"):
        data.nyu_depth(tmp_path / "nowhere")


def test_another_data_set(tiny_nyu):
    with pytest.raises(ValueError, match="line 1 lacks boundary_file_name"):
        data.bsds(tiny_nyu)


def test_empty_split(tmp_path):
    write(tmp_path, [{"image_file_name": "a.png", "depth_file_name": f"{NOT_HELD_OUT}"}])
    with pytest.raises(ValueError, match="none of its 1 pictures"):
        data.nyu_depth(tmp_path)


NOT_HELD_OUT = next(f"{n}.png" for n in range(100) if not data.is_held_out(f"{n}.png"))


def test_truncated_picture(tiny_nyu):
    (tiny_nyu / "d00000.png").write_bytes((tiny_nyu / "d00000.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"cannot read the picture .*d00000\.png"):
        _ = data.nyu_depth(tiny_nyu, "all")[0]


def test_a_row_without_files():
    with pytest.raises(ValueError, match="without a '.file_name' column"):
        data.key({"text": "no file"})


def test_front_door(tiny_nyu, capsys):
    assert front.main(["baselines", "nyu", "--data", str(tiny_nyu)]) == 0
    assert "mean map of the other tenths" in capsys.readouterr().out
    assert front.main(["nothing"]) == 2
    assert "baselines" in capsys.readouterr().err
    assert front.main(["--help"]) == 0
    assert front.main([]) == 2


def test_bad_folder_ends_with_the_reason(tmp_path, capsys):
    with pytest.raises(SystemExit):
        baselines.main(["nyu", "--data", str(tmp_path)])
    assert "metadata.jsonl" in capsys.readouterr().err


def test_every_exported_name_loads_and_others_are_refused():
    for name in eval_package.__all__:
        assert getattr(eval_package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'metric'"):
        _ = eval_package.metric


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, eval; print(sorted({'torch', 'diffusers', 'numpy', 'cv2', 'scipy'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@needs_shared
def test_shared_sets_read():
    nyu = data.nyu_depth(SHARED / "nyu_depth_v2")
    assert (len(nyu), nyu[0].depth.shape) == (70, (213, 280))
    photo = data.bsds(SHARED / "bsds500" / "val")[0]
    assert photo.boundaries.shape[1:] == photo.image.shape[:2]
    assert 0.005 < photo.boundaries.mean() < 0.1
    person = data.lsp(SHARED / "lsp_extended")[0]
    assert person.joints.shape == (1, 18, 3)
    assert person.joints[..., 2].sum() >= 11


@pytest.mark.slow
@needs_shared
def test_floors_on_nyu():
    """The floors a depth estimator must beat: about 0.24 and 0.35, by scale and shift in depth per
    picture."""
    photos = data.nyu_depth(SHARED / "nyu_depth_v2", "all")
    rows = baselines.nyu_baselines(photos, photos.names, "scale_shift")
    assert [row["AbsRel"] for row in rows] == ["0.233", "0.240 ± 0.010", "0.348", "0.349 ± 0.018"]
    assert rows[0]["delta1"] == "0.634"
