"""Is every form of a user's pairs read alike, and is what is wrong with them found and named?"""

from __future__ import annotations

import importlib
import io
import json
import re
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import pytest

from unicon.conditions.arrays import as_bytes
from unicon.conditions.pose import draw_pose
from unicon.data.pairs import open_pairs
from unicon.data.pairs.check import check_pairs, usable
from unicon.data.pairs.entries import Unreachable
from unicon.data.pairs.patterns import matching
from unicon.data.pairs.ranges import KINDS, doubts
from unicon.data.pairs.streams import open_stream
from unicon.data.pairs.tables import ATTEMPTS, Remote
from unicon.data.photos import list_photos, load_photo

if TYPE_CHECKING:
    from collections.abc import Callable

STEMS = ("a", "b", "c")
CAPTIONS = {"a": ["one", "another"], "b": ["two"], "c": []}


def picture(seed: int, size: tuple[int, int] = (80, 64), mode: str = "RGB") -> PIL.Image.Image:
    width, height = size
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return PIL.Image.fromarray(values).convert(mode)


def encoded(image: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_folders(root: Path) -> Path:
    for name, seed in (("image", 0), ("depth", 10)):
        (root / name).mkdir(parents=True)
        for i, stem in enumerate(STEMS):
            picture(seed + i).save(root / name / f"{stem}.png")
    (root / "caption").mkdir()
    for stem, captions in CAPTIONS.items():
        (root / "caption" / f"{stem}.txt").write_text("\n".join(captions))
    return root


def write_jsonl(root: Path) -> Path:
    write_folders(root)
    rows = [
        {
            "file_name": f"image/{s}.png",
            "depth_file_name": f"depth/{s}.png",
            "points_file_name": f"{s}.npz",
            "captions": CAPTIONS[s],
        }
        for s in STEMS
    ]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    return root


def write_parquet(root: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    feature = {"image": datasets.Image(), "depth": datasets.Image()}
    columns = {
        "image": [picture(i) for i in range(3)],
        "depth": [picture(10 + i) for i in range(3)],
        "captions": list(CAPTIONS.values()),
    }
    features = datasets.Features({**feature, "captions": datasets.Sequence(datasets.Value("string"))})
    root.mkdir()
    datasets.Dataset.from_dict(columns, features=features).to_parquet(str(root / "train.parquet"))
    return root


def write_tar(root: Path) -> Path:
    root.mkdir()
    with tarfile.open(root / "000.tar", "w") as tar:
        for i, stem in enumerate(STEMS):
            members = {
                f"{stem}.image.png": encoded(picture(i)),
                f"{stem}.depth.png": encoded(picture(10 + i)),
                f"{stem}.json": json.dumps({"captions": CAPTIONS[stem]}).encode(),
            }
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return root


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


FORMS = [write_folders, write_jsonl, write_parquet, write_tar]


@pytest.mark.parametrize("write", FORMS)
def test_every_form_gives_the_same_pairs(write, tmp_path):
    pairs = open_pairs(write(tmp_path / "data"))
    assert len(pairs) == 3
    assert pairs.conditions == ("depth",)
    for i, entry in enumerate(pairs):
        assert entry.captions == tuple(CAPTIONS[STEMS[i]])
        assert np.array_equal(entry.image.load(), picture(i))
        assert np.array_equal(entry.maps["depth"].load(), picture(10 + i))


def test_a_file_stands_for_its_form(tmp_path):
    root = write_jsonl(tmp_path / "data")
    assert len(open_pairs(root / "metadata.jsonl")) == len(
        open_pairs(write_tar(tmp_path / "tar") / "000.tar")
    )


def test_a_pattern_names_several_files(tmp_path):
    """Two of them have one name and the same stems: pairs of both are there."""
    for folder in ("one", "two"):
        write_tar(tmp_path / folder)
    for pattern in (f"{tmp_path}/{{one,two}}/000.tar", f"{tmp_path}/*/*.tar"):
        pairs = open_pairs(pattern, ["depth"])
        assert len({entry.key for entry in pairs}) == len(pairs) == 6
    (tmp_path / "two" / "000.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match="is no file of pairs; expected folders image/"):
        open_pairs(f"{tmp_path}/*/000.*")
    with pytest.raises(ValueError, match=r"9.tar: no such file, named by .*; check the pattern"):
        open_pairs(f"{tmp_path}/{{9..9}}.tar")


@pytest.mark.parametrize(
    ("columns", "condition"),
    [
        (("file_name", "depth", "caption"), "depth"),
        (("image", "depth_file_name", "prompt"), "depth"),
        (("image", "conditioning_image", "text"), "edge"),
        (("image", "conditioning_image", "text"), ""),
    ],
)
def test_rows_as_other_tools_write_them(columns, condition, tmp_path):
    picture(1).save(tmp_path / "a.png")
    picture(2).save(tmp_path / "b.png")
    row = dict(zip(columns, ("a.png", "b.png", "a sign that says b.png"), strict=True))
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    pairs = open_pairs(tmp_path, [condition] if condition else [])
    assert pairs.conditions == (condition or "conditioning_image",)
    (entry,) = pairs
    assert np.array_equal(entry.image.load(), picture(1))
    assert np.array_equal(entry.maps[pairs.conditions[0]].load(), picture(2))
    assert entry.captions == ("a sign that says b.png",)
    with pytest.raises(ValueError, match="there is no '.*'; found "):
        open_pairs(tmp_path, ["pose", pairs.conditions[0]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ada/pairs", ("ada/pairs", None, {"split": "train", "revision": None})),
        ("ada/pairs:large", ("ada/pairs", "large", {"split": "train", "revision": None})),
        ("ada/pairs:large:test@v1", ("ada/pairs", "large", {"split": "test", "revision": "v1"})),
        ("ada/pairs::test", ("ada/pairs", None, {"split": "test", "revision": None})),
        ("ada/pairs::test:more", None),
    ],
)
def test_parts_of_a_hub_data_set(text, expected, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked, files = [], str(write_parquet(tmp_path / "data") / "train.parquet")
    rows = datasets.load_dataset("parquet", data_files=files, split="train")

    def load(name, subset, **how):
        asked.append((name, subset, how))
        return rows

    monkeypatch.setattr(datasets, "load_dataset", load)
    if expected is None:
        with pytest.raises(ValueError, match=r"expected OWNER/NAME\[:SUBSET\[:SPLIT\]\]\[@REVISION\]"):
            open_pairs(text)
        return
    assert len(open_pairs(text, ["depth"])) == 3
    assert asked == [expected]


def test_only_the_conditions_asked_for(tmp_path):
    root = write_folders(tmp_path / "data")
    (root / "edge").mkdir()
    picture(20).save(root / "edge" / "a.png")
    assert open_pairs(root).conditions == ("depth", "edge")
    assert open_pairs(root, ["depth"]).conditions == ("depth",)
    report = check_pairs(open_pairs(root, ["depth"]))
    assert report.num_usable == 3
    assert report.counts == {"no caption": 1}
    assert check_pairs(open_pairs(root)).counts["no map"] == 2


def test_every_kind_of_problem_is_found_and_named(tmp_path):
    root = write_folders(tmp_path / "data")

    def put(name: str, image: PIL.Image.Image | None, depth: PIL.Image.Image | None) -> None:
        for folder, content in (("image", image), ("depth", depth)):
            if content is not None:
                content.save(root / folder / f"{name}.png")

    put("alone", picture(30), None)
    put("map_alone", None, picture(31))
    put("wide", picture(32), picture(33, (100, 64)))
    put("larger", picture(34), picture(35, (160, 128)))
    put("same", picture(36), picture(36))
    put("black", picture(37), PIL.Image.new("RGB", (80, 64)))
    put("twin", picture(0), picture(38))
    put("tiny", picture(39, (32, 32)), picture(40, (32, 32)))
    put("cut", picture(41), picture(42))
    cut = root / "depth" / "cut.png"
    cut.write_bytes(cut.read_bytes()[:300])
    report = check_pairs(open_pairs(root))
    found = {(p.kind, p.key) for p in report.problems if p.kind != "no caption"}
    assert found == {
        ("no map", "alone"),
        ("no picture", "map_alone"),
        ("other shape", "wide"),
        ("other size", "larger"),
        ("map is the picture", "same"),
        ("constant", "black"),
        ("duplicate", "twin"),
        ("small", "tiny"),
        ("unreadable", "cut"),
    }
    loose = check_pairs(open_pairs(root), aligned=False)
    assert {kind for kind in report.counts if kind not in loose.counts} == {
        "other shape", "other size", "map is the picture",
    }  # fmt: skip
    assert loose.num_usable == report.num_usable + 2
    assert report.num_pairs == 12
    assert [entry.key for entry in usable(open_pairs(root), report)] == [
        "a", "b", "black", "c", "larger", "tiny", "twin",
    ]  # fmt: skip
    (broken,) = (p for p in report.problems if p.kind == "unreadable")
    assert broken.place == str(cut)
    assert "is truncated or damaged" in broken.text
    assert json.dumps(report.as_json())


def test_a_pair_is_good_whatever_another_of_its_name_is(tmp_path):
    """Rows may name one picture with several maps."""
    root = write_folders(tmp_path / "data")
    (root / "depth" / "b.png").write_bytes(b"")
    rows = [{"file_name": "image/a.png", "depth_file_name": f"depth/{stem}.png"} for stem in "abc"]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pairs = open_pairs(root)
    report = check_pairs(pairs)
    assert report.num_usable == 2
    assert [entry.maps["depth"].place for entry in usable(pairs, report)] == [
        str(root / "depth" / f"{stem}.png") for stem in "ac"
    ]
    assert [p.index for p in report.problems if p.kind == "unreadable"] == [1]


def test_poses_that_training_cannot_mirror_are_named(tmp_path):
    root = tmp_path / "data"
    for name in ("image", "pose"):
        (root / name).mkdir(parents=True)
    joints = np.array([[30 + 4 * (n % 3), 8 + 3 * n, 1.0] for n in range(18)], np.float32)
    drawings = {"a": draw_pose([joints], 64), "b": np.full((64, 64, 3), 160, np.uint8)}
    for seed, (stem, drawing) in enumerate(drawings.items()):
        picture(seed, (64, 64)).save(root / "image" / f"{stem}.png")
        PIL.Image.fromarray(as_bytes(drawing, "pose")).save(root / "pose" / f"{stem}.png")
    report = check_pairs(open_pairs(root))
    (problem,) = (p for p in report.problems if p.kind == "no left and right")
    assert (problem.key, problem.place) == ("b", str(root / "pose" / "b.png"))
    assert "0% of this drawing has OpenPose's colours" in problem.text
    assert "--flip false" in problem.text
    assert report.num_usable == 1
    loose = check_pairs(open_pairs(root), flipped=False)
    assert loose.num_usable == 2
    (root / "pose").rename(root / "depth")
    assert "no left and right" not in check_pairs(open_pairs(root)).counts


def test_values_that_no_map_has_are_named(tmp_path):
    root = write_folders(tmp_path / "data")
    bad = root / "depth" / "b.tiff"
    (root / "depth" / "b.png").unlink()
    PIL.Image.fromarray(np.full((64, 80), -1.0, np.float32)).save(bad)
    (problem,) = (p for p in check_pairs(open_pairs(root)).problems if p.kind == "unreadable")
    assert "holds negative or non-finite values" in problem.text


def _write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _two_of_a_stem(root: Path) -> Path:
    write_folders(root)
    picture(0).save(root / "image" / "a.jpg")
    return root


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root / "nothing here", "no such file or folder; check the spelling"),
        (lambda root: _write(root / "a.zip", b"PK").parent, "has 0 folders of pictures .* found no folder"),
        (lambda root: _write(root / "a.zip", b"PK"), "is no file of pairs; expected folders image/"),
        (lambda root: _write(root / "depth" / "a.png", b"").parent.parent, "has 0 folders .* found depth"),
        (_two_of_a_stem, "has the same stem; keep one of them"),
        (lambda root: _write(root / "metadata.jsonl", "{"), r"metadata.jsonl:1: is no JSON"),
        (lambda root: _write(root / "metadata.jsonl", "\n[1]"), r"jsonl:2: is a list; expected one object"),
        (
            lambda root: _write(root / "metadata.jsonl", '{"file_name": "a", "image_file_name": "b"}'),
            "names 2 images; expected one file_name or image_file_name",
        ),
        (
            lambda root: _write(root / "metadata.jsonl", '{"file_name": 3}'),
            "a file name is no text; expected a path",
        ),
        (
            lambda root: _write(root / "metadata.jsonl", '{"file_name": "a.png", "text": 3}'),
            "a caption is a int; expected a text or a list of texts",
        ),
        (lambda root: _write(root / "metadata.jsonl", ""), "holds no pairs; expected folders image/"),
        (lambda root: _write(root / "a.tar", b"x" * 2000), "is no plain tar file, or is cut short"),
    ],
)
def test_what_is_no_source_of_pairs(make, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        open_pairs(make(tmp_path / "data"))


def test_a_condition_that_is_nowhere(tmp_path):
    with pytest.raises(ValueError, match="there is no 'pose'; found depth"):
        open_pairs(write_folders(tmp_path / "data"), ["pose"])


def _arrays(write: Callable[[Path], Path], root: Path) -> Path:
    """The same with maps as arrays."""
    write(root)
    if write is write_tar:
        with tarfile.open(root / "000.tar", "w") as tar:
            for name in ("a.jpg", "a.depth.npy"):
                tar.addfile(tarfile.TarInfo(name))
        return root
    for path in (root / "depth").iterdir():
        np.save(path.with_suffix(".npy"), np.ones((64, 80), np.float32))
        path.unlink()
    if write is write_jsonl:
        text = (root / "metadata.jsonl").read_text()
        (root / "metadata.jsonl").write_text(re.sub(r"depth/(.).png", r"depth/\1.npy", text))
    return root


@pytest.mark.parametrize("write", [write_folders, write_jsonl, write_tar])
def test_maps_that_are_arrays_are_told_from_none(write, tmp_path):
    root = _arrays(write, tmp_path / "data")
    with pytest.raises(
        ValueError, match=r"a.*\.npy is an array, .* pictures: unicon rescale writes a folder"
    ):
        open_pairs(root, ["depth"])
    pairs = open_pairs(root)
    assert not pairs.conditions
    assert "depth" in pairs.unread()
    assert not open_pairs(write(tmp_path / "whole")).unread().keys() & {"depth", "image"}


def test_pictures_that_are_arrays_are_told_from_none(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((64, 80), np.float32))
    with pytest.raises(ValueError, match=r"holds no picture; .*; unicon rescale writes a folder of .npy"):
        list_photos(tmp_path)
    with pytest.raises(ValueError, match=r"a.npy: is an array of numpy; expected a picture: unicon rescale"):
        load_photo(tmp_path / "a.npy")
    root = write_folders(tmp_path / "data")
    for path in (root / "image").iterdir():
        path.rename(path.with_suffix(".npy"))
    with pytest.raises(
        ValueError, match=r"a.npy: is an array; expected pictures in .*image: save them as PNG"
    ):
        open_pairs(root)


def test_heic_is_read_where_its_plug_in_is_and_named_where_it_is_not(tmp_path):
    root = write_folders(tmp_path / "data")
    (root / "image" / "a.png").unlink()
    target = root / "image" / "a.heic"
    try:
        heif = importlib.import_module("pillow_heif")
    except ImportError:
        target.write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
        (problem,) = (p for p in check_pairs(open_pairs(root)).problems if p.kind == "unreadable")
        assert problem.place == str(target)
        assert "is an HEIC picture, which this Pillow cannot read; convert it to JPEG or PNG, or pip" in (
            problem.text
        )
    else:
        heif.from_pillow(picture(0)).save(target, quality=-1)
        entry = next(iter(open_pairs(root)))
        assert entry.image.load().size == (80, 64)
        assert check_pairs(open_pairs(root)).num_usable == 3


def test_parquet_without_pictures(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(str(tmp_path / "a.parquet"))
    with pytest.raises(ValueError, match="has 0 columns of pictures named image or"):
        open_pairs(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="is no readable parquet file"):
        open_pairs(_write(tmp_path / "b.parquet", b"nothing"))


@pytest.mark.parametrize("kind", ["binary", "large_binary", "binary_view"])
def test_columns_of_bytes_that_do_not_say_that_they_are_pictures(kind, tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    maps = [encoded(picture(10)), None, b"no picture"]
    columns = {
        "image": arrow.array([encoded(picture(i)) for i in range(3)], getattr(arrow, kind)()),
        "depth": arrow.array(maps, getattr(arrow, kind)()),
        "embedding.npy": arrow.array([b"0"] * 3, getattr(arrow, kind)()),
        "text": [f"picture {i}" for i in range(3)],
    }
    parquet.write_table(arrow.table(columns), tmp_path / "a.parquet")
    stream, pairs = open_stream(tmp_path / "a.parquet"), open_pairs(tmp_path / "a.parquet")
    assert pairs.conditions == ("depth",)
    for entries in (list(pairs), [stream.entry(row) for row in stream.rows]):
        assert [entry.captions for entry in entries] == [(f"picture {i}",) for i in range(3)]
        assert all(np.array_equal(entry.image.load(), picture(i)) for i, entry in enumerate(entries))
        assert np.array_equal(entries[0].maps["depth"].load(), picture(10))
        assert not entries[1].maps
        with pytest.raises(ValueError, match=r"a.parquet row .*, depth: is not a picture that Pillow"):
            entries[2].maps["depth"].load()
        assert len({entry.key for entry in entries}) == 3
    report = check_pairs(pairs)
    assert report.counts == {"no map": 1, "unreadable": 1}


def write_zipped_folder(root: Path) -> Path:
    """A data set of the hub in imagefolder form, packed: `metadata.jsonl` beside what it names."""
    write_jsonl(root / "plain")
    with zipfile.ZipFile(root / "set.zip", "w") as file:
        for path in sorted((root / "plain").rglob("*.*")):
            file.write(path, path.relative_to(root / "plain"))
    return root / "set.zip"


def test_pictures_of_a_table_may_lie_in_an_archive(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    archive, real = str(write_zipped_folder(tmp_path)), datasets.load_dataset

    def of_the_hub(name, subset=None, **how):
        return real("imagefolder", data_files=[archive], split="train", streaming=how.get("streaming"))

    monkeypatch.setattr(datasets, "load_dataset", of_the_hub)
    stream, pairs = open_stream("ada/pairs"), open_pairs("ada/pairs", ["depth"])
    for entries in (list(pairs), [stream.entry(row) for row in stream.rows]):
        assert [entry.captions for entry in entries] == [tuple(CAPTIONS[stem]) for stem in STEMS]
        for i, entry in enumerate(entries):
            assert np.array_equal(entry.image.load(), picture(i))
            assert np.array_equal(entry.maps["depth"].load(), picture(10 + i))


def test_a_file_elsewhere_is_missing_damaged_or_out_of_reach(tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    archive = write_zipped_folder(tmp_path)
    with pytest.raises(ValueError, match="no such file, named by its table; check the table"):
        Remote(f"zip://gone.png::{archive}").read()
    (tmp_path / "cut.zip").write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(ValueError, match="is in a damaged archive .*; copy it again"):
        Remote(f"zip://image/a.png::{tmp_path / 'cut.zip'}").read()
    asked = []

    def broken(url, mode):
        asked.append(url)
        raise TimeoutError("the other side is silent")

    monkeypatch.setattr(fsspec, "open", broken)
    with pytest.raises(Unreachable, match="is silent.*; the same command continues when it can"):
        Remote("hf://datasets/ada/pairs/a.png").read()
    assert len(asked) == ATTEMPTS


def depths(root: Path, values: list[np.ndarray]) -> Path:
    """Pairs with these maps: 16 bits as PNG, floats as TIFF."""
    for name in ("image", "depth"):
        (root / name).mkdir(parents=True)
    for i, plane in enumerate(values):
        picture(i).save(root / "image" / f"{i}.png")
        PIL.Image.fromarray(plane).save(
            root / "depth" / f"{i}.{'png' if plane.dtype == np.uint16 else 'tiff'}"
        )
    return root


def ramp(low: float, high: float, kind: type) -> np.ndarray:
    return np.linspace(low, high, 64 * 80).reshape(64, 80).astype(kind)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        # Millimetres, that end at 10 metres; and the same written for 16 bits.
        ([ramp(400, 9900, np.uint16)] * 2, ["narrow range: 2 maps of 2 to 39 of 255, such as "]),
        ([ramp(400, 9900, np.uint16), ramp(400, 11000, np.uint16)], []),
        ([ramp(0, 0, np.uint16), ramp(0, 65535, np.uint16)], []),
        # In [0, 1], in metres, black at any scale, and 16 bits, which say their scale.
        (
            [ramp(0, 1, np.float32), ramp(0, 8, np.float32), ramp(0.5, 9, np.float32),
             ramp(0, 0, np.float32), ramp(0, 65535, np.uint16)],
            ["mixed scales: read 1 with 1 as white, such as {0}; 2 with 255 as white, such as {1}, {2}; "],
        ),
        ([ramp(0, 1, np.float32), ramp(0, 0.2, np.float32), ramp(0, 65535, np.uint16)], []),
    ],
)  # fmt: skip
def test_maps_of_next_to_no_range_and_of_mixed_scales_are_named_for_the_set(values, told, tmp_path):
    pairs = open_pairs(depths(tmp_path / "data", values))
    files = [entry.maps["depth"].place for entry in pairs]
    report = check_pairs(pairs)
    found = [p for p in report.problems if p.kind in KINDS]
    texts = [f"{p.key}: {p.kind}: {p.text}" for p in found]
    assert report.num_usable == len(values)
    assert len(texts) == len(told)
    for text, start in zip(texts, told, strict=True):
        assert text.startswith(f"depth: {start.format(*files)}")
        assert "unicon rescale" in text
    assert doubts(pairs, pairs.conditions) == texts  # what a training says when it starts


def test_a_training_looks_at_maps_from_all_over_a_set(tmp_path):
    values = [ramp(0, 1, np.float32)] * 40
    root = depths(tmp_path / "data", [*values, *[ramp(0, 8, np.float32)] * 4])
    (root / "depth" / "0.tiff").write_bytes(b"")
    looked = []
    pairs = open_pairs(root)
    assert len(pairs) == 44
    seen = replace(pairs, entry=lambda index: looked.append(index) or pairs.entry(index))
    assert "read 19 with 1 as white" in doubts(seen, ["depth"])[0]
    assert len(looked) == 22
    assert doubts(pairs, ["lowres"]) == []


def test_a_file_that_a_pattern_names_twice_is_there_once(tmp_path):
    for name in ("ab", "b"):
        (tmp_path / f"{name}.tar").write_bytes(b"")
    found = matching(str(tmp_path / "{a*,ab,b}.tar"))
    assert [file.rpartition("/")[2] for file in found] == ["ab.tar", "b.tar"]


def test_what_a_png_says_of_white_is_no_value(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    told = PngInfo()
    told.add_text("white", "paper")
    for folder in ("image", "depth"):
        (tmp_path / folder).mkdir()
        for n in range(2):
            seed = n + 10 * (folder == "depth")
            picture(seed).save(tmp_path / folder / f"{n}.png", pnginfo=told)
    kinds = {problem.kind for problem in check_pairs(open_pairs(tmp_path)).problems}
    assert "mixed scales" not in kinds


def test_captions_may_hold_what_some_take_for_the_end_of_a_line(tmp_path):
    root = write_jsonl(tmp_path / "set")
    path = next(root.glob("*.jsonl"))
    rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    odd = "a red\u2028chair\u0085here"
    text = "\n".join(json.dumps({**row, "captions": [odd]}, ensure_ascii=False) for row in rows)
    path.write_text(text, encoding="utf-8")
    assert {entry.captions for entry in open_pairs(str(root))} == {(odd,)}


def test_hidden_folders_are_no_pairs_and_linked_ones_are(tmp_path):
    root = write_folders(tmp_path / "set")
    num = len(open_pairs(str(root)))
    (root / "image" / ".ipynb_checkpoints").mkdir()
    PIL.Image.new("RGB", (8, 8)).save(root / "image" / ".ipynb_checkpoints" / "a-checkpoint.png")
    assert len(open_pairs(str(root))) == num
    (tmp_path / "elsewhere").mkdir()
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "elsewhere" / "z.png")
    (root / "image" / "more").symlink_to(tmp_path / "elsewhere")
    assert "more/z" in {entry.key for entry in open_pairs(str(root))}


def test_a_tar_holds_one_picture_for_each_side_and_links_are_files(tmp_path):
    root = write_tar(tmp_path / "set")
    with tarfile.open(root / "000.tar", "a") as tar:
        link = tarfile.TarInfo("linked.depth.png")
        link.type, link.linkname = tarfile.LNKTYPE, f"{STEMS[0]}.depth.png"
        tar.addfile(link)
    found = {entry.key: entry for entry in open_pairs(str(root))}
    maps = [np.asarray(found[f"000.tar/{stem}"].maps["depth"].load()) for stem in (STEMS[0], "linked")]
    assert np.array_equal(*maps)
    with tarfile.open(root / "000.tar", "a") as tar:
        info = tarfile.TarInfo(f"{STEMS[0]}.depth.jpg")
        tar.addfile(info, io.BytesIO(b""))
    with pytest.raises(ValueError, match="is the same side of the same pair; keep one of them"):
        open_pairs(str(root))
