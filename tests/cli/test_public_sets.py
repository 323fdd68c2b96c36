"""Does `unicon pairs` turn copies of public sets into pairs, leave out what is held out, and name what is
wrong?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from eval import data
from tests.eval import suite_data
from train.pairs.public import LINES, SETS, boundary_map, spoken
from unicon.cli import main as cli
from unicon.cli import pairs as cli_pairs
from unicon.cli.pairs import NAMES
from unicon.conditions.palettes import depth_to_map
from unicon.conditions.pose import draw_pose
from unicon.data.pairs import Entry, open_pairs


def make(name: str, source: Path, out: Path, *more: object) -> int:
    return cli.main(["pairs", name, str(source), "--out", str(out), *map(str, more)])


def sides(entry: Entry, condition: str) -> tuple[np.ndarray, np.ndarray]:
    assert entry.image is not None
    return np.asarray(entry.image.load()), np.asarray(entry.maps[condition].load())


def views(folder: Path, column: str, sizes: dict[str, int], *, table: bool = True) -> Path:
    """Pictures of groups by name and number, in the layout of DreamBooth or DAVIS."""
    rows = []
    for seed, (name, num) in enumerate(sizes.items()):
        (folder / name).mkdir(parents=True)
        for n in range(num):
            pixels = np.full((40, 48, 3), 40 * seed + n, np.uint8)
            PIL.Image.fromarray(pixels).save(folder / name / f"{n:02}.png")
            rows.append({"file_name": f"{name}/{n:02}.png", column: name})
    if table:
        (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def held_out_name() -> str:
    return next(f"mug{n}" for n in range(100) if data.is_held_out(f"mug{n}"))


def test_every_set_can_be_named():
    assert (tuple(SETS), tuple(LINES)) == (NAMES, cli_pairs.LINES)


def test_rooms_become_depth_maps_of_which_both_test_sets_are_left_out(tmp_path, capsys):
    source, out = suite_data.nyu(tmp_path / "nyu", num=220), tmp_path / "pairs"
    assert make("nyu_depth", source, out) == 0
    assert f"unicon train adapter --data {out} --condition depth" in capsys.readouterr().out
    pairs = open_pairs(out, ["depth"])
    tested = {
        Path(name).stem
        for split in ("held_out", "other_rooms")
        for name in data.nyu_depth(source, split).names
    }
    assert {entry.key for entry in pairs} == {f"d{n}" for n in range(220)} - tested
    photos = data.nyu_depth(source, "train")
    image, drawn = sides(next(e for e in pairs if e.key == Path(photos.names[0]).stem), "depth")
    assert np.array_equal(image, photos[0].image)
    assert np.array_equal(drawn, np.round(depth_to_map(photos[0].depth) * 255).astype(np.uint8))
    facts = json.loads((out / "annotate.json").read_text())["depth"]
    assert (facts["annotator"], facts["settings"], facts["num_pairs"]) == (
        "nyu_depth", {"split": "train"}, len(pairs),
    )  # fmt: skip


def test_what_a_sensor_did_not_see_is_not_drawn_as_near(tmp_path):
    source, out = suite_data.nyu(tmp_path / "nyu", num=2), tmp_path / "pairs"
    hole = np.arange(32) < 16
    suite_data.cut_out(source, hole)
    assert make("nyu_depth", source, out, "--split", "all") == 0
    _, drawn = sides(open_pairs(out, ["depth"])[0], "depth")
    seen = data.nyu_depth(source, "all")[0].depth[~hole]
    assert not drawn[hole].any()
    assert np.array_equal(drawn[~hole], np.round(depth_to_map(seen) * 255).astype(np.uint8))


def test_boundaries_are_as_bright_as_annotators_agree(tmp_path):
    out = tmp_path / "pairs"
    assert make("bsds", suite_data.bsds(tmp_path / "bsds"), out) == 0
    image, drawn = sides(open_pairs(out)[0], "edge")
    truth = data.bsds(tmp_path / "bsds")[0]
    assert np.array_equal(image, truth.image)
    assert np.array_equal(drawn[..., 0], np.round(truth.boundaries.mean(0) * 255).astype(np.uint8))


def test_a_line_stays_a_line_in_a_smaller_picture():
    lines = np.zeros((2, 60, 80), bool)
    lines[:, 31, 3:70] = True
    lines[1, 5:50, 41] = True
    drawn = boundary_map(lines, (20, 15))
    assert drawn.shape == (15, 20, 3)
    assert (drawn[7, 1:17] == 1).all()
    assert (drawn[2:7, 10] == 0.5).all()
    assert set(np.unique(drawn)) == {0, 0.5, 1}
    assert np.array_equal(boundary_map(lines, (20, 15), "any"), np.ceil(drawn))


def test_joints_become_drawings_also_of_smaller_pictures(tmp_path):
    source = suite_data.lsp(tmp_path / "lsp")
    assert make("lsp", source, tmp_path / "pairs") == 0
    pairs, photos = open_pairs(tmp_path / "pairs"), data.lsp(source, "rest")
    assert len(pairs) == len(photos) < 40
    image, drawn = sides(next(e for e in pairs if e.key == Path(photos.names[0]).stem), "pose")
    assert np.array_equal(image, photos[0].image)
    assert np.array_equal(drawn, draw_pose(list(photos[0].joints), 32))


def test_a_few_pairs_are_taken_from_all_over_the_set(tmp_path):
    source = suite_data.lsp(tmp_path / "lsp")
    names = [Path(name).stem for name in data.lsp(source, "rest").names]
    for num in (5, 7, 1000):
        assert make("lsp", source, tmp_path / str(num), "--num", num) == 0
        wanted = names if num == 1000 else [names[n * len(names) // num] for n in range(num)]
        assert {entry.key for entry in open_pairs(tmp_path / str(num))} == set(wanted)


def test_joints_move_with_their_picture(tmp_path):
    row = {"file_name": "0.png", "keypoints": [[100 + n, 60, 1] for n in range(14)]}
    PIL.Image.new("RGB", (200, 120)).save(tmp_path / "0.png")
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    assert make("lsp", tmp_path, tmp_path / "pairs", "--longest", 100, "--split", "all") == 0
    image, drawn = sides(open_pairs(tmp_path / "pairs")[0], "pose")
    assert image.shape == drawn.shape == (60, 100, 3)
    rows, columns = np.nonzero(drawn.max(-1) > 200)
    assert (rows.mean(), columns.mean()) == (pytest.approx(30, abs=1), pytest.approx(53, abs=2))


def test_two_photographs_of_a_subject_are_a_pair_and_unseen_subjects_are_left_out(tmp_path):
    source = views(tmp_path / "s", "subject", {"berry_bowl": 3, "cat2": 2, held_out_name(): 3, "lonely": 1})
    assert data.is_held_out("cat2")
    assert make("subjects", source, tmp_path / "pairs", "--split", "all") == 0
    entries = {entry.key: entry for entry in open_pairs(tmp_path / "pairs", ["appearance"])}
    assert len(entries) == 6 + 2 + 6
    image, other = sides(entries["berry_bowl/02-00"], "appearance")
    assert (int(image[0, 0, 0]), int(other[0, 0, 0])) == (2, 0)
    assert entries["berry_bowl/02-00"].captions == ("a photo of a berry bowl",)
    assert make("subjects", source, tmp_path / "rest") == 0
    assert {entry.key.split("/")[0] for entry in open_pairs(tmp_path / "rest")} == {"berry_bowl"}


@pytest.mark.parametrize("table", [True, False])
def test_frames_of_a_clip_are_pairs_both_ways_also_in_a_folder_with_other_views(table, tmp_path):
    clips = views(tmp_path / "c", "clip", {"swan": 4, "car": 3}, table=table)
    out = tmp_path / "pairs"
    assert make("clips", clips, out, "--every", 2) == 0
    assert make("subjects", views(tmp_path / "s", "subject", {"berry_bowl": 2}), out) == 0
    entries = {entry.key: entry for entry in open_pairs(out)}
    assert set(entries) == {
        "swan/00-02", "swan/02-00", "swan/01-03", "swan/03-01", "car/00-02", "car/02-00",
        "berry_bowl/00-01", "berry_bowl/01-00",
    }  # fmt: skip
    assert entries["swan/00-02"].captions == ()
    image, other = sides(entries["swan/03-01"], "appearance")
    assert (int(image[0, 0, 0]), int(other[0, 0, 0])) == (3, 1)


def test_names_are_spoken_without_numbers():
    assert [spoken(name) for name in ("cat2", "berry_bowl", "Red-Mug_03")] == ["cat", "berry bowl", "red mug"]


def test_what_is_there_is_kept_and_what_is_damaged_is_named(tmp_path, capsys):
    source, out = suite_data.bsds(tmp_path / "bsds"), tmp_path / "pairs"
    whole = (source / "1.png").read_bytes()
    (source / "1.png").write_bytes(whole[:40])
    assert make("bsds", source, out) == 1
    assert f"cannot read the picture {source / '1.png'}" in capsys.readouterr().err
    first = (out / "edge" / "0.png").stat().st_mtime_ns
    (source / "1.png").write_bytes(whole)
    assert make("bsds", source, out) == 0
    assert (out / "edge" / "0.png").stat().st_mtime_ns == first
    assert len(open_pairs(out)) == 3


def test_another_split_does_not_go_into_the_same_folder(tmp_path, capsys):
    source = suite_data.nyu(tmp_path / "nyu")
    assert make("nyu_depth", source, tmp_path / "pairs", "--split", "rest") == 0
    assert make("nyu_depth", source, tmp_path / "pairs", "--split", "all") == 2
    assert "holds depth with settings {'split': 'rest'}, not {'split': 'all'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "more", "text"),
    [
        ("nyu_depth", (), "line 1 lacks image_file_name, depth_file_name: is this another data set?"),
        ("bsds", ("--split", "test"), "split is 'test'; known: held_out, rest, all"),
        ("nyu_depth", ("--split", "test"), "split is 'test'; known: held_out, rest, all, other_rooms, train"),
        ("subjects", ("--split", "train"), "split is 'train'; known: held_out, rest, all"),
        ("subjects", (), "line 1 lacks subject: is this another data set?"),
        ("clips", ("--every", "9"), "no clip has 10 frames; take frames nearer together (--every 1)"),
        ("clips", ("--split", "held_out"), "none of its 2 clips is in split 'held_out'"),
        ("clips", ("--longest", "20"), "--longest is 20; give at least 64 px"),
    ],
)
def test_what_is_refused(name, more, text, tmp_path, capsys):
    source = views(tmp_path / "c", "clip", {"swan": 4, "car": 3})
    assert make(name, source, tmp_path / "pairs", *more) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "pairs").exists()


def test_a_folder_that_holds_no_groups(tmp_path, capsys):
    (tmp_path / "c" / "swan").mkdir(parents=True)
    assert make("clips", tmp_path / "c", tmp_path / "pairs") == 2
    assert "no clip with two pictures; expected metadata.jsonl with columns" in capsys.readouterr().err
    assert make("lsp", tmp_path / "nowhere", tmp_path / "pairs") == 2
    assert "give the folder that holds metadata.jsonl" in capsys.readouterr().err
