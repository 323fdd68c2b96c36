"""Does `unicon check` say what is wrong with a set of pairs, and does it take what `unicon scenes` writes?"""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from unicon.cli import main as cli


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    assert cli.main(["scenes", "--count", "3", "--size", "64", "--out", str(folder)]) == 0
    return folder


def test_scenes_are_pairs_without_a_problem(scenes, tmp_path, capsys):
    out = tmp_path / "check"
    assert cli.main(["check", str(scenes), "--conditions", "depth,edge", "--out", str(out)]) == 0
    report = json.loads((out / "check.json").read_text())
    assert report["num_usable"] == report["num_pairs"] == report["num_captions"] == 3
    assert report["conditions"] == ["depth", "edge"]
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width > 3 * 160
    assert "3 of 3 pairs can be used; conditions depth, edge" in capsys.readouterr().out


def test_a_damaged_file_is_named_and_the_exit_status_says_so(scenes, tmp_path, capsys):
    broken = sorted((scenes / "depth").iterdir())[0]
    whole = broken.read_bytes()
    broken.write_bytes(whole[:200])
    try:
        arguments = ["check", str(scenes), "--conditions", "depth", "--out", str(tmp_path)]
        assert cli.main(arguments) == 1
    finally:
        broken.write_bytes(whole)
    printed = capsys.readouterr().out
    assert "2 of 3 pairs can be used" in printed
    assert (
        "unreadable: 1 (a file that cannot be decoded, or whose values are out of range; not used)" in printed
    )
    assert f"  {broken}: is truncated or damaged" in printed


def test_what_holds_for_a_whole_set_is_said_with_files_and_what_to_do(tmp_path, capsys):
    """Also where it is every pair of it."""
    for name, plane in (("image", np.arange(64 * 64)), ("depth", np.arange(64 * 64) % 2000)):
        (tmp_path / name).mkdir()
        Image.fromarray(plane.reshape(64, 64).astype(np.uint16)).save(tmp_path / name / "0.png")
    assert cli.main(["check", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    told = f"depth: 1 map of 0 to 8 of 255, such as {tmp_path / 'depth' / '0.png'}; unicon rescale"
    assert (
        f"narrow range: 1 (all maps of a condition together span less than 40 of 255; used)\n  {told}"
        in printed
    )
    report = json.loads((tmp_path / "out" / "check.json").read_text())
    assert report["counts"] == {"no caption": 1, "narrow range": 1}


def test_poses_that_cannot_be_mirrored_are_good_where_none_is(tmp_path, capsys):
    """Why they are not is said even where all are alike."""
    for name, seed in (("image", 0), ("pose", 1)):
        (tmp_path / name).mkdir()
        noise = np.random.default_rng(seed).integers(140, 160, (64, 64), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / name / "0.png")
    command = ["check", str(tmp_path), "--conditions", "pose", "--out", str(tmp_path / "out")]
    assert cli.main(command) == 1
    printed = capsys.readouterr().out
    assert f"  {tmp_path / 'pose' / '0.png'}: 0% of this drawing has OpenPose's colours" in printed
    assert "(--flip false)" in printed
    assert cli.main([*command, "--unflipped"]) == 0


def test_maps_that_are_arrays_are_said_to_be_left_out(tmp_path, capsys):
    for name in ("image", "depth"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.arange(64 * 64).reshape(64, 64).astype(np.uint16)).save(tmp_path / "image" / "0.png")
    np.save(tmp_path / "depth" / "0.npy", np.ones((64, 64)))
    assert cli.main(["check", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    told = f"depth is left out: {tmp_path / 'depth' / '0.npy'} is an array, and maps are read as pictures: "
    assert told in capsys.readouterr().out


def test_bad_arguments(scenes, tmp_path, capsys):
    assert cli.main(["check", str(scenes), "--workers", "0", "--out", str(tmp_path)]) == 2
    assert cli.main(["check", str(scenes), "--conditions", "dpeth", "--out", str(tmp_path)]) == 2
    printed = capsys.readouterr().err
    assert "--workers must be at least 1, got 0" in printed
    assert "there is no 'dpeth'; did you mean depth?" in printed
    assert not (tmp_path / "check.json").exists()


def test_outliers_are_ordered_and_shown(scenes, tmp_path, capsys):
    many = tmp_path / "many"
    (many / "image").mkdir(parents=True)
    for number, photo in enumerate(sorted((scenes / "image").iterdir())):
        (many / "image" / f"{number}.png").write_bytes(photo.read_bytes())
        with Image.open(photo) as picture:
            picture.crop((2, 2, 62, 62)).save(many / "image" / f"{number}_crop.png")
    assert cli.main(["check", str(many), "--outliers", "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "outliers.json").read_text())
    distances = [row["distance"] for row in found["pictures"]]
    assert len(distances) == 6
    assert distances == sorted(distances, reverse=True)
    assert found["features"] == "mini, 128 px, centred square, bicubic"
    assert "outliers: " in capsys.readouterr().out
    assert (tmp_path / "out" / "outliers.png").exists()
    assert cli.main(["check", str(scenes), "--outliers", "--out", str(tmp_path / "few")]) == 0
    assert "outliers: 3 usable pictures are too few; 4 or more can be ordered" in capsys.readouterr().out
