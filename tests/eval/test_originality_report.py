"""Are outputs judged beside those of their prompt and what was given, kept only if true, and seen once?"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval import __main__ as front
from eval.features import Extractor, FeatureSet
from eval.kept import KeptRows
from eval.metrics.text import cosines
from eval.originality.assessment import Assessment, References, assess
from eval.originality.references import open_references
from eval.originality.sight import Sight
from eval.originality.truth import judged
from eval.pictures import Pictures, find_pictures
from eval.protocols.fidelity import judge_reader, picture_fidelity
from eval.protocols.generated import open_outputs
from eval.protocols.readers import PipelineReader
from eval.protocols.setup import load_pipeline
from tests.commands import refusal
from tests.eval.test_originality import drawing
from tests.tiny_clip import save_tiny_clip
from unicon.cli import main as cli
from unicon.conditions.edges import canny, edges_to_map
from unicon.conditions.pose import draw_pose
from unicon.data.photos import load_photo

NUM_REAL = 20
NAMES = [f"{prompt}_{n}.png" for prompt in "ab" for n in range(4)]


def colours(pictures: Pictures) -> FeatureSet:
    """Coarse colours: features that need no network."""
    small = [pictures.load(n).resize((4, 4), Image.Resampling.BOX) for n in range(len(pictures))]
    values = np.stack([np.asarray(p, np.float32).ravel() - 128 for p in small])
    return FeatureSet(values=values, names=pictures.names, source="colours")


def held(**pictures: Image.Image) -> Pictures:
    return Pictures(tuple(pictures), lambda n: list(pictures.values())[n])


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Training and generated pictures in folders, a tiny CLIP, and a cache for all tests."""
    root = tmp_path_factory.mktemp("originality")
    save_tiny_clip(root / "clip")
    sets = {
        "training": {f"{seed:03d}.png": drawing(seed) for seed in range(NUM_REAL)},
        "made": {name: drawing(500 + n) for n, name in enumerate(NAMES)},
        "given": {"a.png": drawing(500), "b.png": drawing(700)},
    }
    for name, pictures in sets.items():
        (root / name).mkdir()
        for file, picture in pictures.items():
            picture.save(root / name / file)
    return root


@pytest.fixture(scope="module")
def training(place) -> Pictures:
    return find_pictures(place / "training")


@pytest.fixture(scope="module")
def beside(place, training) -> Assessment:
    """Of prompt p two outputs are nearly one, and the second is what was given for it; r stands alone."""
    brighter = drawing(500).point(lambda v: min(255, v + 12))
    seeds = {"p0": 500, "p2": 501, "q0": 504, "q1": 505, "r0": 506}
    made = held(**{name: drawing(seed) for name, seed in seeds.items()}, p1=brighter)
    given = held(a=drawing(500), b=drawing(603))
    return assess(
        made, training, colours, level=0.05, prompts=["p", "p", "q", "q", "r", "p"],
        references=References(pictures=given, places=np.array([1, 1, 1, 1, 1, 0])),
        sight=Sight(place / "cache"),
    )  # fmt: skip


def test_outputs_of_one_prompt_are_compared_on_the_training_sets_scale(beside):
    rows = {row.name: row for row in beside.rows}
    for name, other in (("p0", "p1"), ("p1", "p0"), ("q0", "q1"), ("q1", "q0")):
        assert rows[name].same_prompt.look.name == rows[name].same_prompt.meaning.name == other
    assert {name for name, row in rows.items() if row.is_repeat} == {"p0", "p1"}
    assert rows["p2"].same_prompt.look.name in ("p0", "p1")
    assert rows["p0"].same_prompt.look.share < 0.1 < rows["p2"].same_prompt.look.share
    assert rows["r0"].same_prompt is None
    assert beside.num_repeats == 2
    assert {name: len(group) for name, group in beside.prompts.items()} == {"p": 3, "q": 2}


def test_what_was_given_is_compared_with_its_own_output_alone(beside):
    given = {row.name: row.reference for row in beside.rows}
    assert {name: each.look.name for name, each in given.items()} == dict.fromkeys(given, "b") | {"p1": "a"}
    assert {name for name, each in given.items() if each.is_copy} == {"p1"}
    assert given["p1"].look.distance < 0.1 < given["p0"].look.distance
    assert given["p1"].meaning.distance < given["p0"].meaning.distance


def test_features_stand_for_a_training_set_without_pictures(training):
    made = held(p0=drawing(3), p1=drawing(501))
    found = assess(made, colours(training), colours, level=0.05, prompts=["p", "p"])
    assert found.look is None
    copy, other = found.rows
    assert copy.training.look is None
    assert (copy.training.meaning.name, copy.is_copy, other.is_copy) == ("003.png", True, False)
    assert copy.training.disagreement == ""
    assert copy.same_prompt.meaning.name == "p1"


def arguments(place: Path, out: Path, *more: object) -> list[str]:
    asked = [
        "originality", "--generated", place / "made", "--training", place / "training", "--features",
        place / "clip", "--clip", place / "clip", "--cache", place / "cache", "--level", "0.05", "--device",
        "cpu", "--out", out, *more,
    ]  # fmt: skip
    return list(map(str, asked))


def table(out: Path) -> dict[str, dict[str, str]]:
    rows = csv.DictReader((out / "originality.csv").read_text().splitlines())
    return {row["name"]: row for row in rows}


@pytest.fixture(scope="module")
def plain(place) -> Path:
    """A report without captions, with the rarest two."""
    assert front.main(arguments(place, place / "plain", "--keep", "2")) == 0
    return place / "plain"


@pytest.fixture(scope="module")
def planted(plain) -> str:
    """The picture that is kept first where nothing says what is true to what was asked."""
    return (plain / "rarest.txt").read_text().split()[0]


def test_a_rare_picture_that_is_off_its_prompt_is_not_kept(place, plain, planted, tmp_path, capsys):
    texts = {name: "QQ" if name == planted else ("a cat" if name < "b" else "dogs 12") for name in NAMES}
    lines = [json.dumps({"name": name, "caption": text}) for name, text in texts.items()]
    (tmp_path / "captions.jsonl").write_text("\n".join([*lines, '{"name": "no.png", "caption": "no"}']))
    more = ["--captions", tmp_path / "captions.jsonl", "--references", place / "given", "--keep", "2"]
    assert front.main(arguments(place, tmp_path, *more)) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^kept 2 of 8: .*1 not true to their prompt \(CLIP cosine below", printed, re.MULTILINE)
    assert "1 of 9 names in" in printed
    assert "near-copies of another output of the same prompt (grouped by captions)" in printed
    kept = (tmp_path / "rarest.txt").read_text().split()
    assert planted not in kept
    assert len(kept) == 2
    rows = table(tmp_path)
    assert rows[planted]["selection"].startswith("not true to their prompt")
    assert [rows[name]["selection"] for name in kept] == ["kept", "kept"]
    assert float(rows[planted]["clip_score"]) == min(float(row["clip_score"]) for row in rows.values())
    assert rows["a_0.png"]["prompt"] == texts["a_0.png"]
    assert rows["a_0.png"]["reference"] == "a.png"
    assert float(rows["a_0.png"]["reference_look_distance"]) == pytest.approx(0, abs=1e-6)
    assert [rows[name]["is_copy_of_reference"] for name in ("a_0.png", "b_0.png")] == ["True", "False"]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["numbers"]["clip_score_true"] == 7
    assert report["settings"]["clip_score_by"].startswith(f"{place / 'clip'}, ")
    assert report["numbers"]["near_copies_of_reference"] == 1
    page = (tmp_path / "originality.html").read_text()
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    for text in ("Kept, the rarest first", "Outputs of one prompt", "nearest of the same prompt</th>",
                 "reference</th>", "not true to its prompt</span>", "<h3>dogs 12</h3>"):  # fmt: skip
        assert text in page
    # A limit that is given comes before the batch's own.
    assert front.main(arguments(place, tmp_path, *more, "--clip-limit", "-1")) == 0
    assert (tmp_path / "rarest.txt").read_text().split()[0] == planted


def test_a_rare_picture_that_is_off_its_map_is_not_kept(place, planted, tmp_path, capsys):
    for n, name in enumerate(NAMES):
        seed = 900 if name == planted else 500 + n
        drawn = np.uint8(255 * edges_to_map(canny(np.asarray(drawing(seed)))))
        Image.fromarray(drawn).save(tmp_path / f"{Path(name).stem}_edge.png")
    more = ["--maps", tmp_path, "--condition", "edge", "--annotator", "canny", "--keep", "2"]
    out = tmp_path / "out"
    assert front.main(arguments(place, out, *more)) == 0
    assert "1 not true to their edge map (f1 below 1, the fence of all 8)" in capsys.readouterr().out
    assert planted not in (out / "rarest.txt").read_text().split()
    told = json.loads((out / "report.json").read_text())["settings"]
    assert told["control_by"] == "canny, made the condition"
    rows = table(out)
    assert [float(rows[name]["control"]) == 1 for name in NAMES] == [name != planted for name in NAMES]


def test_what_a_base_drew_is_read_back_by_its_own_estimate(place, base, tmp_path, capsys):
    """Captions are those of the files, and the one picture whose map is another's is left out."""
    drawn = ["--base", str(base), "--num", "4", "--steps", "1", "--device", "cpu", "--dtype", "float32"]
    assert cli.main(["generate", "a cat", *drawn, "--out", str(tmp_path / "made")]) == 0
    files = sorted((tmp_path / "made").iterdir())
    pipe = load_pipeline(str(base), "cpu", "float32", ["depth"])
    reader = judge_reader(PipelineReader(pipe=pipe, steps=2), "depth")
    maps = reader([load_photo(file) for file in files], files)
    (tmp_path / "maps").mkdir()
    for file, values in zip(files, [maps[1], *maps[1:]], strict=True):
        Image.fromarray(np.uint8(np.round(255 * values))).save(tmp_path / "maps" / f"{file.stem}_depth.png")
    more = ["--generated", tmp_path / "made", "--maps", tmp_path / "maps", "--condition", "depth", "--judge",
            "base", "--base", base, "--steps", "2", "--keep", "4", "--neighbours", "19"]  # fmt: skip
    capsys.readouterr()
    assert front.main(arguments(place, tmp_path / "out", *more)) == 0
    printed = capsys.readouterr().out
    assert "(grouped by names and captions)" in printed
    assert "1 of 4 are not true to their depth map (rmse_255_fitted above" in printed
    rows = table(tmp_path / "out")
    assert [float(rows[file.name]["control"]) < 1 for file in files] == [False, True, True, True]
    assert {row["prompt"] for row in rows.values()} == {"a-cat: a cat"}
    assert files[0].name not in (tmp_path / "out" / "rarest.txt").read_text()


def test_a_second_run_reuses_what_the_first_saw(place, plain, tmp_path, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("seen again")

    monkeypatch.setattr("eval.originality.sight.describe", never)
    monkeypatch.setattr("eval.originality.sight.nearest_look", never)
    with monkeypatch.context() as patch:
        patch.setattr(Extractor, "of_pixels", never)
        assert front.main(arguments(place, tmp_path, "--keep", "2")) == 0
    assert (tmp_path / "originality.csv").read_text() == (plain / "originality.csv").read_text()
    # Features of the training set in a file, without its pictures.
    Extractor(str(place / "clip"))(find_pictures(place / "training")).save(tmp_path / "training.npz")
    files = ["--training", tmp_path / "training.npz"]
    assert front.main(arguments(place, tmp_path, *files)) == 0
    rows, known = table(tmp_path), table(plain)
    for name in NAMES:
        assert rows[name]["meaning_nearest"] == known[name]["meaning_nearest"]
        assert rows[name]["rarity"] == known[name]["rarity"]
        assert rows[name]["look_nearest"] == rows[name]["is_copy_by_look"] == ""
    assert "training pictures are not given" in (tmp_path / "originality.html").read_text()


def test_captions_of_generate_are_read_from_its_pictures(place, tmp_path):
    from unicon.cli.files import write_picture

    for n, prompt in enumerate(["a cat", "a cat", "a dog"]):
        write_picture(tmp_path / f"x_seed{n}.png", drawing(n), {"prompt": prompt})
    found = open_outputs(tmp_path)
    assert found.captions == ("a cat", "a cat", "a dog")
    assert found.prompts == ("x: a cat", "x: a cat", "x: a dog")
    assert found.grouped_by == "names and captions"
    named = open_outputs(place / "made")
    assert (named.captions, named.prompts, named.grouped_by) == (None, tuple("aaaabbbb"), "names")
    pairs = tmp_path / "pairs" / "image"
    for n, text in enumerate(["a cat", "a cat"]):
        write_picture(pairs / f"{n}.png", drawing(n))
        (pairs / f"{n}.txt").write_text(text)
    assert open_outputs(pairs.parent).prompts == ("a cat", "a cat")
    (pairs / "1.txt").unlink()
    write_picture(pairs.parent / "sheet.png", drawing(2))  # beside the set, not of it
    assert open_outputs(pairs.parent).prompts == (None, None)
    assert open_outputs(pairs.parent).pictures.names == ("0", "1")
    assert open_references(pairs, open_outputs(pairs.parent)).places.tolist() == [0, 1]
    in_memory = replace(open_outputs(pairs.parent), pictures=held(a=drawing(0)))
    with pytest.raises(ValueError, match="--references goes by files' names"):
        open_references(place / "given", in_memory)
    for seed in (0, 1):  # a run of `unicon eval`
        write_picture(tmp_path / "run" / f"seed{seed}" / "item.png", drawing(seed))
    run = open_outputs(tmp_path / "run")
    assert run.pictures.names == ("seed0/item.png", "seed1/item.png")
    assert run.prompts == ("item", "item")


def test_rows_that_are_known_are_not_made_again(tmp_path):
    asked: list[int] = []

    def make(places: list[int]) -> dict[str, np.ndarray]:
        asked.extend(places)
        if 5 in places:
            raise ValueError("broken")
        return {"square": np.array([place**2 for place in places])}

    names = [*"abcde", "broken", "a"]
    kept = KeptRows(tmp_path, "squares-1")
    with pytest.raises(ValueError, match="broken"):
        kept.of(7, make, names=names, step=2)
    assert asked == [0, 1, 2, 3, 4, 5]
    asked.clear()
    found = kept.of(5, make, names=[*"edcb", "a"], step=2)["square"]
    assert found.tolist() == [0, 9, 4, 1, 0]  # of e its place here; the others as they were made
    assert asked == [0]
    (tmp_path / "squares-1.bad.npz").write_bytes(b"PK no")
    assert kept.of(1, make, names=["a"])["square"].tolist() == [0]
    asked.clear()
    KeptRows(tmp_path, "squares-2").of(1, make, names=["a"])
    KeptRows(tmp_path, "squares-1").of(2, make, names=None)
    assert asked == [0, 0, 1]


def test_limits_are_given_or_reached_by_true_pairs_or_the_batchs_own():
    scores = np.array([0.3, 0.31, 0.29, 0.3, -0.2, np.nan])
    batch = judged("prompt", "cosine", scores, by="x")
    assert batch.is_true.tolist() == [True, True, True, True, False, True]
    assert "the fence of all 5" in batch.reason
    true = judged("prompt", "cosine", scores, by="x", true=np.linspace(0, 1, 101))
    assert true.limit == pytest.approx(0.05)
    assert "which 95% of 101 true pairs reach" in true.reason
    given = judged("depth map", "RMSE", scores, by="x", higher=False, given=0.295)
    assert given.is_true.tolist() == [False, False, True, False, True, True]
    assert given.reason == "not true to their depth map (RMSE above 0.295, as given)"
    lower = judged("depth map", "RMSE", -scores, by="x", higher=False)
    assert lower.is_true.tolist() == batch.is_true.tolist()
    with pytest.raises(ValueError, match="no picture can be compared with its prompt"):
        judged("prompt", "cosine", np.full(3, np.nan), by="x")
    with pytest.raises(ValueError, match="5 true pairs cannot tell their lowest 5%"):
        judged("prompt", "cosine", scores, by="x", true=np.ones(5))


def test_a_map_that_shows_nobody_says_nothing_of_its_picture(place):
    path = place / "made" / "a_0.png"
    empty = draw_pose([], (64, 64)).astype(np.float32) / 255
    assert np.isnan(picture_fidelity(lambda *_: [empty], "pose", empty, path))
    grey = np.full((64, 64, 3), 0.5, np.float32)
    assert picture_fidelity(lambda *_: [grey], "depth", grey, path) == 0
    with pytest.raises(ValueError, match="must have one shape"):
        picture_fidelity(lambda *_: [grey], "depth", grey[:32], path)


def test_bad_sets_are_refused_by_name(place, tmp_path, capsys):
    for name in ("empty", "one", "broken", "odd"):
        (tmp_path / name).mkdir()
    drawing(0).save(tmp_path / "one" / "one.png")
    drawing(0).save(tmp_path / "broken" / "good.png")
    (tmp_path / "broken" / "bad.png").write_bytes(b"no picture")
    drawing(0).save(tmp_path / "odd" / "zebra.png")
    (tmp_path / "few.csv").write_text("name,caption\na_0.png,a cat\n")
    FeatureSet(
        values=np.ones((30, 8), np.float32), names=tuple(map(str, range(30))), source="dino, 8 px"
    ).save(tmp_path / "other.npz")
    maps = ["--maps", place / "made", "--condition"]
    for options, why in (
        (["--generated", tmp_path / "empty"], "empty: holds no picture; expected files that end in .jpg"),
        (["--generated", tmp_path / "nowhere"], "nowhere: no such file or folder"),
        (["--training", tmp_path / "one"], "1 training pictures cannot tell a level of 0.05"),
        (["--neighbours", "20"], "the training set has 20 features; k = 20 needs at least 21"),
        (["--generated", tmp_path / "broken"], "bad.png: is not a picture that Pillow can read"),
        (["--training", tmp_path / "other.npz"], "features differ: those of --training are dino, 8 px"),
        (["--captions", tmp_path / "few.csv"], "a_1.png: has no caption"),
        (["--references", tmp_path / "odd"], "--references: "),
        (["--references", tmp_path / "empty"], "empty: holds no picture"),
        (["--clip-limit", "0.2"], "--clip-limit has no effect without captions"),
        (["--condition", "depth"], "--condition has no effect without --maps"),
        (["--judge", "mini"], "--judge has no effect without --maps"),
        ([*maps, "smell"], "--condition is 'smell'; known: depth"),
        ([*maps, "edge"], "nobody reads the maps back"),
        ([*maps, "edge", "--annotator", "canny", "--read", f"x={place / 'made'}"], "2 read the maps back"),
    ):
        assert why in refusal(capsys, *arguments(place, tmp_path / "out", *options))
    assert not list((tmp_path / "out").glob("*.html"))


def test_what_can_be_known_is_refused_before_anything_is_embedded(place, tmp_path, capsys, monkeypatch):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("embedded")

    monkeypatch.setattr("eval.originality.command.assess", never)
    monkeypatch.setattr("eval.protocols.map_readers.load_pipeline", never)
    (tmp_path / "captions.csv").write_text("name,caption\n" + "".join(f"{name},a cat\n" for name in NAMES))
    np.save(tmp_path / "narrow.npy", np.ones((30, 3), np.float32))
    np.save(tmp_path / "holed.npy", np.full((30, 8), np.nan, np.float32))
    np.save(tmp_path / "grey.npy", np.array([[0, 0, 0], [1, 1, 1]], np.uint8))
    np.save(tmp_path / "flat.npy", np.zeros(3, np.uint8))
    for name, size in (("flat", (64, 32)), ("black", (64, 64))):
        (tmp_path / name).mkdir()
        for prompt in "ab":
            Image.new("RGB", size).save(tmp_path / name / f"{prompt}.png")
    maps = ["--maps", place / "given", "--condition"]
    classes = [*maps, "seg", "--read", f"x={place / 'made'}", "--palette"]
    for options, why in (
        (["--captions", tmp_path / "captions.csv", "--clip", tmp_path], "no such folder with config.json"),
        (["--training", tmp_path / "narrow.npy"], "of --training they have width 3, of --generated"),
        (["--training", tmp_path / "holed.npy"], "--training: 30 of 30 rows hold NaN"),
        (["--maps", tmp_path / "flat", "--condition", "depth", "--annotator", "x"], "must have one shape"),
        (
            ["--maps", tmp_path / "black", "--condition", "pose", "--judge", "mini"],
            "maps shows a figure",
        ),
        (
            [*maps, "depth", "--read", f"x={place / 'given'}"],
            "a_0.png: no map of this stem was read",
        ),
        (classes[:-1], "give --palette"),
        ([*classes, tmp_path / "grey.npy"], ": if that is a background, give it a row of the palette"),
        ([*classes, tmp_path / "flat.npy"], "holds uint8 of shape (3,); expected uint8 (classes, 3)"),
        ([*maps, "normal", "--judge", "mini"], "mini reads no 'normal', only depth, edge, pose"),
    ):
        assert why in refusal(capsys, *arguments(place, tmp_path / "out", *options)), why


def test_one_generated_picture_is_judged_as_far_as_it_goes(place, tmp_path, capsys):
    (tmp_path / "one").mkdir()
    drawing(500).save(tmp_path / "one" / "one.png")
    assert front.main(arguments(place, tmp_path / "out", "--generated", tmp_path / "one", "--keep", "3")) == 0
    printed = capsys.readouterr().out
    assert "kept 1 of 1, 3 were asked for" in printed or "kept 0 of 1, 3 were asked for" in printed
    assert "no captions and no maps are known" in printed
    assert "too few generated pictures" in (tmp_path / "out" / "originality.html").read_text()
    assert "same_prompt_look_distance" not in table(tmp_path / "out")["one.png"]


def test_true_pairs_of_the_training_set_set_the_limit(place, tmp_path):
    from eval.clip import Clip
    from eval.originality.truth import true_to_prompt

    clip, real = Clip(str(place / "clip")), find_pictures(place / "training")
    made = find_pictures(place / "made")
    texts = ["a cat"] * NUM_REAL
    found = true_to_prompt(made, ["a cat"] * len(made), clip, true=(real, texts), folder=tmp_path)
    expected = cosines(clip.pictures(real).values, clip.of_texts(["a cat"]).values)[:, 0]
    assert found.limit == pytest.approx(np.quantile(expected, 0.05), abs=1e-6)
    assert found.limit_from == "which 95% of 20 true pairs reach"
    with pytest.raises(ValueError, match="1 captions for 8 pictures"):
        true_to_prompt(made, ["a cat"], clip)
