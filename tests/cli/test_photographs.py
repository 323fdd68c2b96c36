"""Does `unicon estimate` take every photograph there is, or say why not, and keep what it knows to itself?"""

from __future__ import annotations

import io
import json
import struct
import sys
import zlib
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import PIL.Image
import pytest

from tests.cli.bases import command, names, opened, save_noise
from tests.conditions.test_drawings import person
from tests.programs import ROOT
from unicon.cli import estimate as module
from unicon.cli.map_files import write
from unicon.cli.photo_batches import left_out
from unicon.conditions.normals import map_to_normal, normal_to_map
from unicon.conditions.pose import draw_pose
from unicon.conditions.pose_ensembles import AgreedPerson
from unicon.conditions.pose_files import read_joints
from unicon.output import UniConOutput

NOISE = np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8)
RGB = PIL.Image.fromarray(NOISE)


def estimate(out: Path, *arguments: object) -> int:
    return command("estimate", *arguments, "--out", out, steps=1)


def saved(path: Path, image: PIL.Image.Image, **how) -> tuple[int, int]:
    image.save(path, **how)
    return image.size


def turned(path: Path, orientation: int) -> tuple[int, int]:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    saved(path, RGB, exif=exif)
    return (24, 36) if orientation > 4 else (36, 24)


def animated(path: Path) -> tuple[int, int]:
    return saved(path, RGB, save_all=True, append_images=[RGB.rotate(180)], duration=40)


def deep(path: Path) -> tuple[int, int]:
    """16 bits in each of three channels, which only OpenCV writes."""
    cv2.imwrite(str(path), NOISE.astype(np.uint16) * 257)
    return 36, 24


def palette_with_holes(path: Path) -> tuple[int, int]:
    return saved(path, RGB.quantize(16), transparency=3)


GOOD = {
    **{f"exif_{n}.jpg": lambda p, n=n: turned(p, n) for n in (1, 3, 5, 6, 8)},
    "grey.png": lambda p: saved(p, RGB.convert("L")),
    "one_bit.png": lambda p: saved(p, RGB.convert("1")),
    "alpha.png": lambda p: saved(p, RGB.convert("RGBA")),
    "grey_alpha.png": lambda p: saved(p, RGB.convert("LA")),
    "palette.png": lambda p: saved(p, RGB.quantize(16)),
    "palette_with_holes.png": palette_with_holes,
    "palette.gif": lambda p: saved(p, RGB.quantize(16)),
    "cmyk.jpg": lambda p: saved(p, RGB.convert("CMYK")),
    "cmyk.tiff": lambda p: saved(p, RGB.convert("CMYK")),
    "lab.tiff": lambda p: saved(p, PIL.Image.frombytes("LAB", (36, 24), NOISE.tobytes())),
    "deep_grey.png": lambda p: saved(p, PIL.Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)),
    "deep.png": deep,
    "deep.tiff": deep,
    "float.tiff": lambda p: saved(p, PIL.Image.fromarray(NOISE[..., 0].astype(np.float32) / 255)),
    "animated.gif": animated,
    "animated.webp": animated,
    "animated.png": animated,
    "progressive.jpg": lambda p: saved(p, RGB, progressive=True),
    "wide.png": lambda p: saved(p, RGB.resize((20_000, 40))),
    "thin.png": lambda p: saved(p, RGB.resize((20_000, 8))),
    "tall.png": lambda p: saved(p, RGB.resize((8, 3_000))),
    "odd.bmp": lambda p: saved(p, RGB.resize((37, 23))),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Every good photograph, estimated in one run: (folder of maps, exit code, sizes)."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "in").mkdir()
    sizes = {name: make(folder / "in" / name) for name, make in GOOD.items()}
    code = estimate(folder / "out", folder / "in", "--condition", "depth", "--raw", "npy", "--batch", 8)
    return folder / "out", code, sizes


@pytest.mark.parametrize("name", GOOD)
def test_a_photograph_gives_a_map_of_its_own_size(good, name):
    out, code, sizes = good
    assert code == 0
    stem = Path(name).stem
    stem = name.replace(".", "_") if sum(Path(other).stem == stem for other in GOOD) > 1 else stem
    values = np.load(out / f"{stem}_depth.npy")
    assert values.shape[::-1] == opened(out / f"{stem}_depth.png").size == sizes[name]
    assert np.isfinite(values).all()


def png_of(width: int, height: int) -> bytes:
    """A PNG that promises more pixels than it holds."""
    whole = io.BytesIO()
    RGB.save(whole, "PNG")
    header = b"IHDR" + struct.pack(">II", width, height) + whole.getvalue()[24:29]
    return whole.getvalue()[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole.getvalue()[33:]


def jpeg() -> bytes:
    whole = io.BytesIO()
    PIL.Image.fromarray(np.resize(NOISE, (200, 200, 3))).save(whole, "JPEG")
    return whole.getvalue()


BAD = {
    "truncated.jpg": (lambda: jpeg()[:3000], "is truncated or damaged"),
    "header_alone.jpg": (lambda: jpeg()[:30], "is truncated or damaged|is not a picture"),
    "one_pixel.png": (lambda: png_of(1, 1), "has 1 x 1 pixels; at least 8 are needed"),
    "huge.png": (lambda: png_of(60_000, 60_000), "at most 120 megapixels are read"),
    "large.png": (lambda: png_of(12_000, 12_000), "has 12000 x 12000 pixels; at most 120 megapixels"),
    "phone.heic": (
        lambda: b"\0\0\0\x18ftypheic" + bytes(64),
        "is an HEIC picture, which this Pillow cannot read",
    ),
    "empty.jpg": (lambda: b"", "is empty"),
    "page.jpg": (lambda: b"<html>not found</html>", "is not a picture that Pillow can read"),
    "program.jpg": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_estimated_says_why_and_nothing_else_is_lost(tmp_path, capsys, name):
    content, text = BAD[name]
    (tmp_path / name).write_bytes(content())
    assert estimate(tmp_path / "out", tmp_path / name, "--condition", "depth") == 2
    said = capsys.readouterr().err
    assert str(tmp_path / name) in said
    assert any(part in said for part in text.split("|")), said


def test_where_a_photo_was_taken_is_not_in_its_maps(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x010F] = "a maker of cameras"
    exif.get_ifd(0x8825)[2] = (51.0, 30.0, 0.0)
    RGB.save(tmp_path / "a.jpg", exif=exif, comment=b"at home", icc_profile=b"profile of a screen")
    assert opened(tmp_path / "a.jpg").getexif().get_ifd(0x8825)
    estimate(
        tmp_path / "out", tmp_path / "a.jpg", "--condition", "depth,pose", "--raw", "both", "--ensemble", 2
    )
    assert len(names(tmp_path / "out")) == 13
    for path in (tmp_path / "out").iterdir():
        content = path.read_bytes()
        assert not any(word in content for word in (b"cameras", b"home", b"screen", b"Exif", b"eXIf"))
        if path.suffix == ".png":
            assert not opened(path).getexif()
            assert set(opened(path).info) <= {"unicon-run", "unicon-beside", "base", "unicon-white"}
            assert opened(path).info.get("base", "base") == "base"  # the folder's name, not where it lies


def test_all_forms_at_once_and_the_median_of_an_ensemble(tmp_path):
    """Members are what single runs with the seeds give."""
    photo = save_noise(tmp_path / "a.png")
    how = ("--condition", "depth", "--raw", "both", "--colour")
    estimate(tmp_path / "all", photo, *how, "--ensemble", 3)
    singles = []
    for seed in range(3):
        estimate(tmp_path / f"{seed}", photo, *how, "--seed", seed)
        singles.append(np.load(tmp_path / f"{seed}" / "a_depth.npy"))
    values = np.load(tmp_path / "all" / "a_depth.npy")
    np.testing.assert_allclose(values, np.median(singles, axis=0), atol=2e-3)
    assert np.abs(values - np.mean(singles, axis=0)).max() > 2e-3
    assert np.load(tmp_path / "all" / "a_depth_uncertainty.npy").max() > 0
    deep_picture = cv2.imread(str(tmp_path / "all" / "a_depth_16bit.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(deep_picture / 65535, values, atol=1e-5)
    assert np.asarray(opened(tmp_path / "all" / "a_depth.png")).std(-1).max() > 1


def test_joints_and_normals_are_written_as_what_they_are(tmp_path):
    """Of maps that show something, which the tiny base's do not."""
    drawing = draw_pose([person()], 128)[None] / np.float32(255)
    vectors = np.random.default_rng(0).normal(size=(1, 128, 128, 3))
    vectors = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    result = UniConOutput(maps={"pose": drawing, "normal": normal_to_map(vectors[0])[None]})
    args = type("Args", (), {"raw": "both", "colour": False})
    paths = write(
        result, args, 0, tmp_path / "a", {"unicon-run": "mark"}, {"pose": "pose", "normal": "normal"}
    )  # pyright: ignore[reportArgumentType]
    assert [path.name for path in paths] == [
        "a_pose_16bit.png", "a_pose.npy", "a_pose.json", "a_pose.png",
        "a_normal_16bit.png", "a_normal.npy", "a_normal.png",
    ]  # fmt: skip
    (joints,) = read_joints(tmp_path / "a_pose.json", (128, 128), canvas=(1, 1))
    seen = joints[:, 2] > 0
    assert np.hypot(*(joints - person())[seen, :2].T).max() < 2
    np.testing.assert_allclose(np.load(tmp_path / "a_normal.npy"), vectors[0], atol=1e-5)


def test_the_joints_of_an_ensemble_say_how_sure_they_are(tmp_path):
    agreed = AgreedPerson(joints=person() * (1, 1, 0.6), spread_px=np.arange(18.0))
    drawing = draw_pose([person()], 128)[None] / np.float32(255)
    result = UniConOutput(maps={"pose": drawing}, people={"pose": [[agreed]]})
    args = type("Args", (), {"raw": "none", "colour": False})
    write(result, args, 0, tmp_path / "a", {}, {name: name for name in result.maps})  # pyright: ignore[reportArgumentType]
    (entry,) = json.loads((tmp_path / "a_pose.json").read_text())["people"]
    assert entry["pose_spread_px"] == list(range(18))
    (joints,) = read_joints(tmp_path / "a_pose.json", (128, 128), canvas=(1, 1))
    np.testing.assert_allclose(joints, agreed.joints, atol=0.01)


def test_normals_survive_eight_bits_and_bad_ones_are_named():
    vectors = np.array([[[0, 0, 1], [0.6, 0, -0.8], [0, 0, 0]]], np.float32)
    picture = np.round(normal_to_map(vectors) * 255).astype(np.uint8)
    np.testing.assert_allclose(map_to_normal(picture), vectors, atol=0.01)
    with pytest.raises(ValueError, match="normals reach 2; expected unit vectors"):
        normal_to_map(2 * vectors)
    with pytest.raises(ValueError, match="normals have shape"):
        normal_to_map(vectors[..., 0])


def test_what_is_done_is_skipped_until_something_changes(tmp_path, capsys):
    for seed, name in enumerate("ab"):
        save_noise(tmp_path / "in" / f"{name}.png", seed=seed)
    out = tmp_path / "out"

    def again(*more: object) -> set[str]:
        """What a run writes anew."""
        before = {name: (out / name).stat().st_mtime_ns for name in names(out)} if out.exists() else {}
        assert estimate(out, tmp_path / "in", "--condition", "depth", "--raw", "npy", *more) == 0
        return {name for name in names(out) if before.get(name) != (out / name).stat().st_mtime_ns}

    a, b = ({f"{name}_depth.npy", f"{name}_depth.png"} for name in "ab")
    both = a | b
    assert again() == both
    assert again() == set()
    assert "2 of 2 photos have their maps already (see --again)" in capsys.readouterr().out
    assert again("--again") == both
    assert again("--seed", 1) == both
    save_noise(tmp_path / "in" / "b.png", seed=5)
    (out / "a_depth.npy").unlink()
    assert again("--seed", 1) == both
    (out / "a_depth.png").write_bytes(b"half a file")
    assert again("--seed", 1) == a


def test_processes_must_be_counted_from_one(capsys):
    assert estimate(Path("out"), "a.png", "--condition", "depth", "--processes", 0) == 2
    assert "--processes must be at least 1, got 0" in capsys.readouterr().err


def test_processes_end_alike_once_all_are_there_and_the_first_lists_what_failed(capsys):
    for is_first in (True, False):
        ours = mock.Mock(is_first=is_first)
        for failures, status in ((["b", "a"], 2), (["a"], 1), ([], 0)):
            assert left_out(failures, 2, ours=ours) == status
        assert ours.wait.call_count == 3
        listed = "2 of 2 photos are left out:\n  a\n  b\n1 of 2 photos are left out:\n  a\n"
        assert capsys.readouterr().err == (listed if is_first else "")


@pytest.mark.slow
def test_two_processes_share_a_folder_and_one_that_has_nothing_to_read_waits_for_the_other(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for seed in (0, 2, 4):
        save_noise(tmp_path / "in" / f"{seed}.png", seed=seed)
    (tmp_path / "in" / "1.jpg").write_bytes(b"no picture")
    (tmp_path / "in" / "3.jpg").write_bytes(b"")
    how = ["--condition", "edge", "--raw", "npy"]
    code = estimate(tmp_path / "two", tmp_path / "in", *how, "--processes", "2")
    said = capfd.readouterr()
    assert code == 1, said.out + said.err
    assert sorted(said.out.split()) == [str(tmp_path / "two" / name) for name in names(tmp_path / "two")]
    assert said.err.count("2 of 5 photos are left out:") == 1
    assert "Traceback" not in said.err
    assert estimate(tmp_path / "one", tmp_path / "in", *how) == 1
    for seed in (0, 2, 4):
        alone, shared = (np.load(tmp_path / place / f"{seed}_edge.npy") for place in ("one", "two"))
        np.testing.assert_allclose(alone, shared, atol=1e-3)


def test_the_command_that_is_launched_names_this_very_run(monkeypatch):
    monkeypatch.setattr("unicon.cli.launch.wait_for", lambda words, env: words)
    words = module.launched(
        type("Args", (), {"processes": 2}),  # pyright: ignore[reportArgumentType]
        ["estimate", "a.png"],
    )
    assert words[0] == sys.executable
    assert words[-3:] == ["unicon", "estimate", "a.png"]
    assert json.dumps(words).count("--num_processes") == 1


def test_maps_of_another_photo_and_files_of_nobody_are_not_written_over(tmp_path, capsys):
    out = tmp_path / "out"
    for seed, folder in enumerate(("one", "two")):
        save_noise(tmp_path / folder / "a.png", seed=seed)
    assert estimate(out, tmp_path / "one" / "a.png", "--condition", "depth") == 0
    before = (out / "a_depth.png").read_bytes()
    assert estimate(out, tmp_path / "two" / "a.png", "--condition", "depth") == 2
    assert "a_depth.png is there and was not made of it; choose another --out" in capsys.readouterr().err
    assert (out / "a_depth.png").read_bytes() == before
    save_noise(tmp_path / "two" / "a_depth.png", seed=7)  # somebody's ground truth
    truth = (tmp_path / "two" / "a_depth.png").read_bytes()
    assert estimate(tmp_path / "two", tmp_path / "two" / "a.png", "--condition", "depth") == 2
    assert (tmp_path / "two" / "a_depth.png").read_bytes() == truth
    moved = tmp_path / "moved"
    (tmp_path / "one").rename(moved)
    assert estimate(out, moved / "a.png", "--condition", "depth", "--seed", 1) == 0


def test_files_of_other_settings_do_not_stay_beside_a_new_map(tmp_path):
    save_noise(tmp_path / "in" / "a.png", seed=0)
    out = tmp_path / "out"
    assert estimate(out, tmp_path / "in", "--condition", "depth", "--ensemble", 2, "--raw", "both") == 0
    assert (out / "a_depth_uncertainty.png").exists()
    assert estimate(out, tmp_path / "in", "--condition", "depth", "--raw", "none") == 0
    assert set(names(out)) == {"a_depth.png"}


def test_an_out_that_is_a_file_is_told_before_anything_is_loaded(tmp_path, capsys):
    save_noise(tmp_path / "a.png", seed=0)
    assert estimate(tmp_path / "a.png", tmp_path / "a.png", "--condition", "depth") == 2
    assert "a.png is a file; give a folder" in capsys.readouterr().err
