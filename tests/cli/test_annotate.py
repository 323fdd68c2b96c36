"""Does `unicon annotate` write pairs that the other commands take, continue, and name what it left out?"""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.cli.bases import names, opened, save_noise
from tests.conditions.test_annotators import depth_anything, person  # noqa: F401  (a fixture)
from tests.conditions.test_dwpose import folder as dwpose  # noqa: F401  (a fixture)
from tests.conditions.test_dwpose import planted
from tests.data.test_captioner import blip  # noqa: F401  (a fixture)
from tests.programs import ROOT
from unicon.cli import main as cli
from unicon.conditions.edges import canny
from unicon.conditions.pose_reading import read_pose
from unicon.data.pairs import open_pairs
from unicon.data.pairs.writing import Made, PairFolder


def annotate(photos: Path, out: Path, *arguments: object) -> int:
    return cli.main(["annotate", str(photos), "--out", str(out), *map(str, arguments)])


def gps_photo(path: Path, **size: int) -> Path:
    """A photograph that knows where it was taken, and lies on its side."""
    picture, exif = opened(save_noise(path.with_suffix(".png"), **size)), PIL.Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (51.0, 30.0, 0.0)
    path.with_suffix(".png").unlink()
    picture.save(path, exif=exif, comment=b"at home", quality=98)
    return path


def manifest(out: Path) -> dict:
    return json.loads((out / "annotate.json").read_text())


def test_photos_become_pairs_that_check_takes(tmp_path, capsys):
    gps_photo(tmp_path / "in" / "a.jpg", width=90, height=70)
    (tmp_path / "in" / "a.txt").write_text("a red chair\na chair\n")
    save_noise(tmp_path / "in" / "deep" / "b.png", width=200, height=80, seed=1)
    (tmp_path / "in" / "c.jpg").write_bytes(b"no picture")
    out = tmp_path / "pairs"
    assert annotate(tmp_path / "in", out, "--condition", "edge", "--recursive", "--longest", 100) == 1
    said = capsys.readouterr()
    assert f"2 pairs with edge in {out}" in said.out
    assert f"1 of 3 files were left out:\n  {tmp_path / 'in' / 'c.jpg'}: is not a picture" in said.err
    pairs = open_pairs(out, ["edge"])
    assert [(e.key, e.image.load().size, e.captions) for e in pairs] == [
        ("a", (70, 90), ("a red chair", "a chair")), ("deep/b", (100, 40), ()),
    ]  # fmt: skip
    for entry in pairs:
        image, drawn = (np.asarray(picture.load()) for picture in (entry.image, entry.maps["edge"]))
        assert np.array_equal(drawn[..., 0] > 0, canny(image))
    written = manifest(out)["edge"]
    assert (written["annotator"], written["num_pairs"], len(written["left_out"])) == ("canny", 2, 1)
    assert written["versions"]["torch"]
    assert cli.main(["check", str(out), "--conditions", "edge", "--out", str(tmp_path / "check")]) == 0
    assert opened(out / "sheet.png").width > 2 * 160


def test_no_metadata_of_a_photo_is_copied(tmp_path):
    photo = gps_photo(tmp_path / "in" / "a.jpg")
    assert opened(photo).getexif().get_ifd(0x8825)
    assert annotate(tmp_path / "in", tmp_path / "out", "--condition", "edge") == 0
    written = list((tmp_path / "out").rglob("*.png"))
    assert len(written) == 3  # picture, map and sheet
    for path in written:
        picture = opened(path)
        assert not picture.getexif()
        assert picture.info == {}
        assert b"home" not in path.read_bytes()


def test_a_second_run_does_only_what_is_missing_and_a_second_condition_joins(tmp_path):
    for name in "abc":
        save_noise(tmp_path / "in" / f"{name}.png", seed=ord(name))
    out = tmp_path / "out"
    assert annotate(tmp_path / "in", out, "--condition", "edge") == 0
    before = {name: (out / name).stat().st_mtime_ns for name in names(out)}
    (out / "edge" / "b.png").unlink()
    assert annotate(tmp_path / "in", out, "--condition", "edge") == 0
    changed = {name for name in names(out) if before[name] != (out / name).stat().st_mtime_ns}
    assert changed == {"edge/b.png", ".records/edge/b.json", "annotate.json", "sheet.png"}
    for name in "abc":
        joints = {"people": [{"pose_keypoints_2d": (person() / 4).ravel().tolist()}]}
        (tmp_path / "in" / f"{name}.json").write_text(json.dumps(joints))
    assert annotate(tmp_path / "in", out, "--condition", "pose", "--annotator", "keypoints") == 0
    assert open_pairs(out).conditions == ("edge", "pose")
    assert set(manifest(out)) == {"edge", "pose"}


def test_a_folder_made_in_another_way_is_not_mixed(tmp_path, capsys):
    save_noise(tmp_path / "in" / "a.png", width=90, height=90)
    assert annotate(tmp_path / "in", tmp_path / "out", "--condition", "edge") == 0
    assert annotate(tmp_path / "in", tmp_path / "out", "--condition", "edge", "--longest", 64) == 2
    assert "holds pictures made as {'from': 'photos', 'longest_px': 0}" in capsys.readouterr().err
    record = manifest(tmp_path / "out")
    record["edge"]["settings"]["low"] = 10.0
    (tmp_path / "out" / "annotate.json").write_text(json.dumps(record))
    assert annotate(tmp_path / "in", tmp_path / "out", "--condition", "edge") == 2
    assert "holds edge with settings {'low': 10.0, 'high': 180.0}, not" in capsys.readouterr().err
    (tmp_path / "out" / "annotate.json").write_text("{")
    assert annotate(tmp_path / "in", tmp_path / "out", "--condition", "edge") == 2
    assert "annotate.json: is no JSON" in capsys.readouterr().err


def test_a_run_that_made_nothing_does_not_bind_the_next(tmp_path, capsys):
    save_noise(tmp_path / "in" / "a.png", width=90, height=90)
    how = ("--condition", "pose", "--annotator", "keypoints")
    assert annotate(tmp_path / "in", tmp_path / "out", *how) == 2  # no joints beside the photo
    (tmp_path / "in" / "a.json").write_text('{"people": []}')
    assert annotate(tmp_path / "in", tmp_path / "out", *how, "--longest", 64) == 0
    assert annotate(tmp_path / "in", tmp_path / "out", *how) == 2
    assert "holds pictures made as {'from': 'photos', 'longest_px': 64}" in capsys.readouterr().err


def test_pictures_that_are_there_are_kept_as_they_are_and_others_of_their_name_refused(tmp_path, capsys):
    out, photos = tmp_path / "pairs", tmp_path / "pairs" / "images"
    photos.mkdir(parents=True)
    gps_photo(photos / "a.JPG", width=90, height=70)
    (photos / "a.txt").write_text("a chair")
    assert annotate(photos, out, "--condition", "edge") == 0
    assert names(photos) == ["a.JPG", "a.txt"]
    (entry,) = open_pairs(out, ["edge"])
    assert entry.image.load().size == entry.maps["edge"].load().size == (70, 90)
    save_noise(tmp_path / "others" / "a.png", width=70, height=90, seed=1)
    joints = {"people": [{"pose_keypoints_2d": (person() / 4).ravel().tolist()}]}
    (tmp_path / "others" / "a.json").write_text(json.dumps(joints))
    how = ("--condition", "pose", "--annotator", "keypoints")
    assert annotate(tmp_path / "others", out, *how) == 2
    assert f"{photos / 'a.JPG'} is there already and shows something else" in capsys.readouterr().err
    assert not (out / "pose").exists()
    for source, recursive in ((out, ()), (tmp_path, ("--recursive",))):
        assert annotate(source, out, "--condition", "edge", *recursive) == 2
        assert "lies among the photos of" in capsys.readouterr().err


def test_what_a_folder_holds_is_done_or_told_apart(tmp_path):
    folder = PairFolder(tmp_path, "edge")
    for captioned in (False, True):  # a model may say nothing of a picture
        folder.finish("a", [], captioned=captioned)
        assert folder.is_done("a")
        assert folder.is_done("a", captioned=True) == captioned
    save_noise(tmp_path / "image" / "b.png", width=40, height=30)
    picture = PIL.Image.new("RGB", (20, 15))
    with pytest.raises(ValueError, match="with 40 x 30 pixels, not 20 x 15: give the --longest that it"):
        folder.write(Made(stem="b", image=picture, map=picture))


def test_depth_and_captions_by_folders_of_weights(tmp_path, depth_anything, blip):  # noqa: F811
    save_noise(tmp_path / "in" / "a.png", width=70, height=64)
    weights, out = depth_anything["relative"], tmp_path / "out"
    how = ("--condition", "depth", "--weights", weights, "--caption", blip, "--device", "cpu")
    assert annotate(tmp_path / "in", out, *how[:4], *how[6:]) == 0
    assert not open_pairs(out, ["depth"])[0].captions
    assert annotate(tmp_path / "in", out, *how) == 0  # captions may come later
    (entry,) = open_pairs(out, ["depth"])
    assert entry.captions
    assert entry.maps["depth"].load().size == (70, 64)
    written = manifest(out)["depth"]
    assert (written["annotator"], written["weights"], written["captioner"]) == (
        "depth-anything-v2", str(weights), str(blip),
    )  # fmt: skip


def test_people_are_drawn_by_dwpose_without_an_extra(tmp_path, dwpose, capsys):  # noqa: F811
    picture = np.zeros((640, 640, 3), np.uint8)
    expected = planted(picture, 16, 5, 20)
    (tmp_path / "in").mkdir()
    PIL.Image.fromarray(picture).save(tmp_path / "in" / "a.png")
    how = ("--condition", "pose", "--annotator", "dwpose", "--weights", dwpose)
    assert annotate(tmp_path / "in", tmp_path / "out", *how) == 0
    (entry,) = open_pairs(tmp_path / "out", ["pose"])
    (found,) = read_pose(np.asarray(entry.maps["pose"].load()))
    seen = found[:, 2] > 0
    assert seen.sum() >= 16
    assert np.median(np.hypot(*(found - expected)[seen, :2].T)) < 1
    assert manifest(tmp_path / "out")["pose"]["annotator"] == "dwpose"
    (tmp_path / "empty").mkdir()
    assert annotate(tmp_path / "in", tmp_path / "again", *how[:-1], tmp_path / "empty") == 2
    assert (
        "yolox_l.onnx does not exist: annotator dwpose needs it; run: hf download" in capsys.readouterr().err
    )


def test_appearance_pairs_are_crops_of_one_photo(tmp_path):
    save_noise(tmp_path / "in" / "a.png", width=120, height=90)
    out = tmp_path / "out"
    assert annotate(tmp_path / "in", out, "--condition", "appearance", "--views", 3) == 0
    pairs = open_pairs(out, ["appearance"])
    assert [entry.key for entry in pairs] == ["a_0000", "a_0001", "a_0002"]
    for entry in pairs:
        assert entry.image.load().size == entry.maps["appearance"].load().size
    assert cli.main(["check", str(out), "--out", str(tmp_path / "check")]) == 0


def test_appearance_pairs_are_frames_of_a_video_or_photos_by_name(tmp_path):
    (tmp_path / "in").mkdir()
    writer = cv2.VideoWriter(str(tmp_path / "in" / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 4, (96, 64))
    for number in range(12):
        writer.write(np.random.default_rng(number).integers(0, 255, (64, 96, 3), np.uint8))
    writer.release()
    how = ("--condition", "appearance", "--annotator")
    assert annotate(tmp_path / "in", tmp_path / "frames", *how, "frames", "--every", 1) == 0
    assert [entry.key for entry in open_pairs(tmp_path / "frames")] == ["v_0000", "v_0001"]
    for number in (1, 2):
        save_noise(tmp_path / "in" / f"mug_{number}.png", width=60 + 20 * number, seed=number, height=70)
    assert annotate(tmp_path / "in", tmp_path / "named", *how, "named") == 0
    entry = open_pairs(tmp_path / "named")[0]
    assert (entry.image.load().size, entry.maps["appearance"].load().size) == ((80, 70), (80, 70))


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("--condition", "smell"), "condition 'smell': no annotator makes it"),
        (("--condition", "edge", "--longest", "20"), "--longest is 20; give at least 64 px"),
        (("--condition", "edge", "--views", "4"), "--views has no effect here: it is of --cond"),
        (
            ("--condition", "appearance", "--annotator", "named", "--every", "9"),
            "--every has no effect here: it is of --condition appearance --annotator frames",
        ),
        (("--condition", "edge", "--processes", "0"), "--processes must be at least 1, got 0"),
        (("--condition", "edge", "--weights", "w"), "annotator canny needs no weights"),
        (("--condition", "appearance", "--annotator", "canny"), "'canny': makes no appearance; choose one"),
        (("--condition", "appearance", "--weights", "w"), "appearance is made without a network"),
        (("--condition", "appearance", "--annotator", "frames"), "no video; expected files in .mp4"),
        (("--condition", "appearance", "--annotator", "frames", "--every", "0"), "--every is 0.0; expected"),
        (("--condition", "appearance", "--annotator", "named"), "no two are named alike"),
        (("--condition", "depth"), "run: hf download depth-anything/Depth-Anything-V2-Small-hf --rev"),
        (("--condition", "pose", "--annotator", "keypoints"), "1 of 1 files were left out:\n"),
    ],
)  # fmt: skip
def test_bad_input_is_explained(tmp_path, capsys, arguments, text):
    save_noise(tmp_path / "in" / "a.png")
    assert annotate(tmp_path / "in", tmp_path / "out", *arguments) == 2
    assert text in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_share_the_work(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for number in range(5):
        save_noise(tmp_path / "in" / f"{number}.png", seed=number)
    (tmp_path / "in" / "bad.jpg").write_bytes(b"no picture")
    out, how = tmp_path / "out", ("--condition", "edge", "--processes", "2")
    code, said = annotate(tmp_path / "in", out, *how), capfd.readouterr()
    assert code == 1, said.out + said.err
    assert "5 pairs with edge" in said.out
    assert said.err.count("1 of 6 files were left out") == 1
    assert "Traceback" not in said.err
    assert annotate(tmp_path / "in", tmp_path / "alone", "--condition", "edge") == 1
    for entry, alone in zip(open_pairs(out), open_pairs(tmp_path / "alone"), strict=True):
        assert entry.maps["edge"].read() == alone.maps["edge"].read()
    assert "WORLD_SIZE" not in os.environ


def test_another_photo_of_a_known_name_is_named(tmp_path, capsys):
    for seed, folder in enumerate(("one", "two")):
        save_noise(tmp_path / folder / "a.png", seed=seed, width=80 + 20 * seed)
    assert annotate(tmp_path / "one", tmp_path / "out", "--condition", "edge") == 0
    before = (tmp_path / "out" / "image" / "a.png").read_bytes()
    assert annotate(tmp_path / "two", tmp_path / "out", "--condition", "edge") == 2
    assert "has pairs of another of this name, a.png (" in capsys.readouterr().err
    assert (tmp_path / "out" / "image" / "a.png").read_bytes() == before
    assert annotate(tmp_path / "one", tmp_path / "out", "--condition", "edge") == 0
