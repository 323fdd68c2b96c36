"""Does `unicon estimate` take any photographs, write every form of a map, and say what went wrong?"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.cli.bases import base, command, names, opened, save_noise
from unicon.cli.estimate import command_for_photos
from unicon.cli.models import STABLE_DIFFUSION
from unicon.cli.photo_batches import PhotoFile, Reader, find_photos


def estimate(out: Path, *arguments: object) -> int:
    return command("estimate", *arguments, "--out", out)


def test_a_photo_of_any_mode_and_rotation_gives_maps_of_its_upright_size(tmp_path, capsys):
    photo = opened(save_noise(tmp_path / "a.png", width=50, height=30)).convert("RGBA")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    photo.convert("L").save(tmp_path / "turned.jpg", exif=exif)
    photo.save(tmp_path / "a.png")
    assert (
        estimate(tmp_path / "out", tmp_path / "a.png", tmp_path / "turned.jpg", "--condition", "depth,pose")
        == 0
    )
    assert opened(tmp_path / "out" / "a_depth.png").size == (50, 30)
    assert opened(tmp_path / "out" / "turned_depth.png").size == (30, 50)
    assert opened(tmp_path / "out" / "a_depth.png").mode == "L"
    assert opened(tmp_path / "out" / "a_pose.png").mode == "RGB"
    assert json.loads((tmp_path / "out" / "turned_pose.json").read_text())["canvas_height"] == 50
    assert sorted(capsys.readouterr().out.split()) == [
        str(tmp_path / "out" / name) for name in names(tmp_path / "out")
    ]


def test_raw_values_agree_with_the_view_in_both_forms(tmp_path):
    photo = save_noise(tmp_path / "a.png")
    for kind in ("npy", "png16"):
        estimate(tmp_path / kind, photo, "--condition", "depth", "--raw", kind)
    view = np.asarray(opened(tmp_path / "npy" / "a_depth.png"))
    raw = np.load(tmp_path / "npy" / "a_depth.npy")
    deep = cv2.imread(str(tmp_path / "png16" / "a_depth_16bit.png"), cv2.IMREAD_UNCHANGED)
    assert (raw.dtype, raw.shape, deep.dtype) == (np.float32, (32, 32), np.uint16)
    np.testing.assert_allclose(raw, deep / 65535, atol=1e-5)
    np.testing.assert_allclose(raw, view / 255, atol=0.5 / 255 + 1e-6)


def test_an_ensemble_gives_an_uncertainty_and_colours_show_depth(tmp_path, capsys):
    photo = save_noise(tmp_path / "a.png")
    assert estimate(tmp_path / "out", photo, "--condition", "depth,edge", "--ensemble", 2, "--colour") == 0
    assert "--colour shows depth in colours; edge: written as without it" in capsys.readouterr().err
    assert names(tmp_path / "out") == [
        f"a_{name}{kind}.png" for name in ("depth", "edge")
        for kind in ("", "_16bit", "_uncertainty", "_uncertainty_16bit")
    ]  # fmt: skip
    shown = opened(tmp_path / "out" / "a_depth_uncertainty.png")
    deep = cv2.imread(str(tmp_path / "out" / "a_depth_uncertainty_16bit.png"), cv2.IMREAD_UNCHANGED)
    deviation = deep / 65535
    white = float(shown.text["unicon-white"])  # the same for every photo
    np.testing.assert_allclose(np.asarray(shown) / 255, (deviation / white).clip(0, 1), atol=0.5 / 255 + 1e-4)
    assert "unicon-white" not in opened(tmp_path / "out" / "a_depth.png").text
    assert len(np.unique(np.asarray(opened(tmp_path / "out" / "a_depth.png")).std(-1))) > 1


def test_a_map_does_not_depend_on_the_photos_it_was_made_with(tmp_path):
    for seed, name in enumerate("abc"):
        save_noise(tmp_path / "in" / f"{name}.png", seed=seed)
    estimate(tmp_path / "all", tmp_path / "in", "--condition", "edge", "--raw", "npy", "--batch", 2)
    estimate(tmp_path / "one", tmp_path / "in" / "b.png", "--condition", "edge", "--raw", "npy")
    together, alone = (np.load(tmp_path / place / "b_edge.npy") for place in ("all", "one"))
    np.testing.assert_allclose(together, alone, atol=1e-3)


def test_maps_that_are_written_among_the_photos_are_not_taken_for_photos(tmp_path, capsys):
    save_noise(tmp_path / "a.png")
    save_noise(tmp_path / "deep" / "b.png")
    how = (tmp_path, "--recursive", "--condition", "depth")
    assert estimate(tmp_path, *how) == 0
    before = names(tmp_path)
    assert len(before) == 6
    assert estimate(tmp_path, *how) == 0
    assert names(tmp_path) == before
    said = capsys.readouterr().out
    assert "2 of 2 photos have their maps already" in said
    assert f"4 pictures below {tmp_path} are results of earlier runs, no photos" in said
    assert estimate(tmp_path / "of_maps", tmp_path / "a_depth.png", "--condition", "depth") == 0
    for photo in ("a.png", "deep/b.png"):
        (tmp_path / photo).unlink()
    (tmp_path / "a_depth.png").unlink()  # as a run that was interrupted leaves it
    assert estimate(tmp_path, *how) == 2
    assert "nothing but what an earlier run wrote" in capsys.readouterr().err


def test_a_folder_is_read_past_files_that_cannot_be(tmp_path, capsys):
    save_noise(tmp_path / "in" / "a.png")
    save_noise(tmp_path / "in" / "deep" / "c.png", width=20)
    (tmp_path / "in" / "b.jpg").write_bytes(b"no picture")
    how = (tmp_path / "in", "--recursive", "--condition", "edge", "--raw", "none")
    for _ in range(2):  # the second time the other two are done
        assert estimate(tmp_path / "out", *how) == 1
        assert names(tmp_path / "out") == ["a_edge.png", "deep/c_edge.png"]
        assert "1 of 3 photos are left out:\n  " in capsys.readouterr().err


@pytest.mark.parametrize(
    "size, text",
    [
        ("-1", "at least 16 px, or 0 to leave pictures as they are, got '-1'"),
        ("128,9", "got '9'"),
        ("128,", "got ''"),
        ("64,64", "every size counts once, got 64,64"),
    ],
)
def test_sizes_that_are_none(size, text, capsys):
    from unicon.cli import main as cli

    with pytest.raises(SystemExit):
        cli.main(["estimate", "a.png", "--condition", "depth", f"--size={size}"])
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("no.jpg", "--condition", "depth"), "1 of 1 photos are left out:\n  no.jpg: no such file"),
        (("empty", "--condition", "depth"), "empty: holds no picture"),
        (("empty", "--recursive", "--condition", "depth"), "empty: holds no picture, nor do its folders"),
        (("a.png", "--condition", "sketch"), "condition 'sketch': "),
        (("a.png", "--condition", "depth", "--adapter", "empty"), "empty/config.json does not exist"),
        (("a.png", "--condition", "depth", "--adapter", "x=nowhere"), "adapter 'nowhere': no such folder"),
        (("a.png", "--condition", "depth", "--base", "empty"), "the folder holds no model_index.json"),
        (
            ("a.png", "--condition", "edge,pose", "--colour"),
            "--colour shows depth in colours; edge, pose would look as without it: leave --colour out",
        ),
        (("a.png", "--condition", "depth", "--base", "a.png"), "a.png is no checkpoint"),
        (
            ("a.png", "--condition", "depth", "--base", "no/such/base"),
            "base 'no/such/base': no such folder",
        ),
    ],
)
def test_bad_input_is_explained_and_nothing_is_written(tmp_path, monkeypatch, capsys, arguments, text):
    monkeypatch.chdir(tmp_path)
    save_noise(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    if arguments[0] != "no.jpg":  # all else is told before weights are loaded
        monkeypatch.setattr("unicon.pipeline.UniConPipeline.__init__", None)
    if "--base" in arguments:
        from unicon.cli import main as cli

        assert (
            cli.main(["estimate", *arguments, "--out", "out", "--dtype", "float32", "--device", "cpu"]) == 2
        )
    else:
        assert estimate(tmp_path / "out", *arguments) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_condition_must_be_named(capsys):
    with pytest.raises(SystemExit, match="2"):
        command("estimate", "a.png")
    assert "--condition" in capsys.readouterr().err


def test_a_temperature_is_not_negative(capsys):
    with pytest.raises(SystemExit, match="2"):
        command("estimate", "a.png", "--condition", "depth", "--temperature", "-1")
    assert (
        "temperature is 0 (mean), 1 (sample) or another number of at least 0, got -1"
        in capsys.readouterr().err
    )


def test_far_photos_are_named_with_the_command_that_suits_them(tmp_path, monkeypatch, capsys):
    limits = {"reconstruction": 0.0, "surprise": 1e9, "percentile": 99.0, "num_pictures": 1, "source": "x"}
    photo = save_noise(tmp_path / "a b.png")
    monkeypatch.setattr("unicon.limits.FILE", "strict.json")
    (base() / "strict.json").write_text(json.dumps(limits))
    assert estimate(tmp_path / "out", photo, "--condition", "depth,appearance") == 0
    said = capsys.readouterr().err
    assert "far from what the base knows (reconstruction " in said
    assert "surprise" not in said
    adapter = "--condition depth --adapter lixirui142/unicon/depth --base stable-diffusion-v1-5/"
    assert f"unicon estimate '{photo}' {adapter}" in said
    assert "For appearance no adapter is published: train one" in said


def test_the_suggested_command_works_as_it_stands_and_keeps_what_was_given():
    from unicon.cli import main as cli

    files = [PhotoFile(path=Path(f"{n} x.jpg"), stem=str(n)) for n in range(9)]
    given = ["in", "--recursive", "--conditions", "depth,edge", "--steps", "4", "--colour", "--out", "a b"]
    given += ["--size", "128,192", "--mirrored"]
    args = cli.parse(["estimate", *given, "--adapter", "mine", "--again", "--temperature", "0.5"])
    for far, photos in ((files[:2], ["0 x.jpg", "1 x.jpg"]), (files, ["in"])):
        words = shlex.split(command_for_photos(args, ["depth", "edge"], far))
        again = cli.parse(words[1:])
        assert again.photos == photos
        assert again.adapter == ["lixirui142/unicon/depth", "lixirui142/unicon/edge"]
        assert (again.condition, again.base) == (["depth", "edge"], STABLE_DIFFUSION)
        assert (again.steps, again.colour, again.out, again.temperature) == (4, True, "a b", 0.5)
        assert (again.size, again.mirrored) == ((128, 192), True)
        assert (again.recursive, again.again) == (photos == ["in"], False)


def test_results_of_equal_names_are_told_apart(tmp_path):
    for name in ("x/a.png", "x/a.jpg", "y/a.png", "y/a.jpg", "y/b.png"):
        save_noise(tmp_path / name)
    found = find_photos(
        [str(tmp_path / "x"), str(tmp_path / "y"), str(tmp_path / "y" / "b.png")], recursive=False
    )
    assert [file.stem for file in found] == ["a_jpg", "a_png", "a_jpg_2", "a_png_2", "b"]


def test_photos_of_one_size_go_together_and_few_wait(tmp_path):
    sizes = [16, 17, 16, 18, 19, 20, 21, 22, 16]
    files = [
        PhotoFile(path=save_noise(tmp_path / f"{n}.png", width=width), stem=str(n))
        for n, width in enumerate(sizes)
    ]
    reader = Reader(files=files, batch_size=2)
    batches = [[photo.file.stem for photo in batch] for batch in reader.batches()]
    assert batches[0] == ["0", "2"]
    assert sorted(sum(batches, [])) == sorted(file.stem for file in files)
