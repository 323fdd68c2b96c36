"""Do text, identity, diversity and attributes run from folders of pictures to records?"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from eval.clip import Clip
from eval.features import Extractor, open_source
from eval.metrics.likeness import diversity, likeness
from eval.metrics.text import SCALES, cosines
from eval.pictures import find_pictures
from eval.protocols.attributes import named_value
from eval.protocols.diversity import by_condition, map_stems
from eval.protocols.generated import by_subject, captioned, open_outputs, prompt_of_name
from eval.records import read
from tests.commands import refusal, run

WORDS = {"shape": {"cube": ["cube", "box"], "ball": ["ball", "sphere"]}}


def picture(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8))


@pytest.fixture
def made(tmp_path):
    """Pictures that say their own prompts, as `unicon generate` writes them."""
    folder = tmp_path / "made"
    folder.mkdir()
    for n, prompt in enumerate(["a red cube", "a blue ball", "a thing on a table", "a thing on a lawn"]):
        info = PngInfo()
        info.add_itxt("prompt", prompt)
        picture(n).save(folder / f"p{n // 2}_seed{n % 2}.png", pnginfo=info)
    return folder


def test_clip_scores_name_their_scale(made, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    for scale in SCALES:
        each = ["--csv", tmp_path / f"{scale}.csv"]
        run(capsys, "text", "--generated", made, "--scale", scale, "--device", "cpu", "--out", out, *each)
    by_scale = {r.settings["scale"]: r for r in read(out)}
    pictures, texts = captioned(made)
    assert texts == ("a red cube", "a blue ball", "a thing on a table", "a thing on a lawn")
    own = np.diag(cosines(Extractor()(find_pictures(made)).values, Clip().of_texts(texts).values))
    raw = by_scale[SCALES["cosine"]]
    assert raw.numbers["clip_score"] == pytest.approx(own.mean(), abs=1e-4)
    assert raw.numbers["clip_score_low"] <= raw.numbers["clip_score"] <= raw.numbers["clip_score_high"]
    assert by_scale[SCALES["hessel"]].numbers["clip_score"] == pytest.approx(
        2.5 * np.maximum(own, 0).mean(), abs=1e-3
    )
    assert by_scale[SCALES["percent"]].numbers["num"] == 4
    assert raw.settings["clip"].startswith("mini, 128 px")
    assert raw.settings["num_captions_cut"] == 0
    rows = list(csv.DictReader((tmp_path / "cosine.csv").read_text().splitlines()))
    assert [row["caption"] for row in rows] == list(texts)
    found = {row["name"]: float(row["clip_score"]) for row in rows}
    assert [found[name] for name in pictures.names] == pytest.approx(own.tolist(), abs=1e-4)


def test_maps_beside_joint_samples_are_no_pictures(tmp_path):
    for name in ("cat_image", "cat_edge"):
        picture(0).save(tmp_path / f"{name}.png")
    (tmp_path / "cat_image.txt").write_text("a cat")
    assert captioned(tmp_path)[0].names == ("cat_image.png",)


def test_captions_come_from_tables_and_files_and_are_missed(made, tmp_path, capsys):
    table = tmp_path / "captions.csv"
    table.write_text("name,caption\n" + "".join(f"p{n // 2}_seed{n % 2},thing {n}\n" for n in range(4)))
    assert captioned(made, table)[1] == ("thing 0", "thing 1", "thing 2", "thing 3")
    for path in made.iterdir():
        path.with_suffix(".txt").write_text(f"of {path.stem}\n")
    assert captioned(made)[1][0] == "of p0_seed0"
    table.write_text("name,caption\np0_seed0.png,thing\n")
    why = refusal(capsys, "text", "--generated", made, "--captions", table, "--device", "cpu")
    assert "p0_seed1.png: has no caption" in why
    table.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="has columns a, b; expected name and caption"):
        captioned(made, table)
    table.write_text("")
    with pytest.raises(ValueError, match="holds no rows"):
        captioned(made, table)
    with pytest.raises(ValueError, match="cannot be read as CSV or JSON lines"):
        captioned(made, tmp_path / "none.csv")


def test_captions_come_from_pairs_in_any_form(tmp_path):
    for n, text in enumerate(("a cat", "")):
        (tmp_path / "pairs" / "image").mkdir(parents=True, exist_ok=True)
        picture(n).save(tmp_path / "pairs" / "image" / f"{n}.png")
        (tmp_path / "pairs" / "image" / f"{n}.txt").write_text(text)
    with pytest.raises(ValueError, match=r"1.png: has no caption .* give --captions FILE"):
        captioned(tmp_path / "pairs")
    (tmp_path / "pairs" / "image" / "1.txt").write_text("a dog")
    pictures, texts = captioned(tmp_path / "pairs")
    assert (pictures.names, texts) == (("0", "1"), ("a cat", "a dog"))
    lines = [json.dumps({"file_name": f"pairs/image/{n}.png", "text": f"thing {n}"}) for n in range(2)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    for source in (tmp_path, tmp_path / "metadata.jsonl"):
        assert captioned(source)[1] == ("thing 0", "thing 1")


def test_folders_of_seeds_are_no_prompts_and_those_of_subjects_are(tmp_path):
    """One rule for every command that groups by names."""
    for n, name in enumerate(("seed0/item-1", "seed1/item-1", "seed0/item-2", "seed1/item-2")):
        for place in (tmp_path / "run" / name, tmp_path / "subjects" / name.replace("seed", "dog")):
            place.parent.mkdir(parents=True, exist_ok=True)
            picture(n).save(place.with_suffix(".png"))
    run = open_outputs(tmp_path / "run")
    assert run.prompts == ("item-1", "item-2") * 2
    assert by_condition(run) == (["item-1", "item-2"] * 2, "names")
    assert [path.parent.name for path in by_subject(tmp_path / "run")["all"]][::2] == ["seed0", "seed1"]
    assert open_outputs(tmp_path / "subjects").prompts == ("dog0", "dog0", "dog1", "dog1")
    assert list(by_subject(tmp_path / "subjects")) == ["dog0", "dog1"]
    assert set(open_source(tmp_path / "run").names) == set(run.pictures.names)
    # A loose picture neither hides the folders nor counts silently; maps of loose ones are none of the set.
    picture(9).save(tmp_path / "subjects" / "sheet.png")
    for of in (by_subject, find_pictures):
        with pytest.raises(ValueError, match=r"holds 1 pictures, such as sheet.png, and .* such as dog0"):
            of(tmp_path / "subjects")
    (tmp_path / "run" / "seed0" / "map").mkdir()
    picture(9).save(tmp_path / "run" / "seed0" / "map" / "item-1.png")
    assert find_pictures(tmp_path / "run" / "seed0").names == ("item-1.png", "item-2.png")


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("cat_3.png", "cat"), ("cat_seed3.png", "cat"), ("cat_seed3_image.png", "cat"), ("cat.png", "cat"),
        ("seed1/cat_3.png", "cat_3"), ("dogs/3.png", "dogs"), ("0_seed3.png", "0"), ("IMG_0001.png", None),
        ("DSC00012.JPG", None), ("PXL_20240101_123456789.jpg", None), ("00012.png", None), ("3_1.png", None),
    ],
)  # fmt: skip
def test_what_only_numbers_a_picture_is_no_prompt(name, prompt):
    assert prompt_of_name(name) == prompt


def test_counters_are_told_and_captions_take_their_place(tmp_path, capsys):
    for n in range(2):
        picture(n).save(tmp_path / f"IMG_000{n}.png")
    found = open_outputs(tmp_path)
    assert (found.prompts, found.grouped_by) == ((None, None), "nothing")
    assert found.notice.startswith("2 of 2 names, such as IMG_0000.png, are a camera's counter or digits")
    assert "IMG_0000.png: nothing says of which prompt it is" in refusal(
        capsys, "diversity", "--generated", tmp_path
    )
    for n in range(2):
        (tmp_path / f"IMG_000{n}.txt").write_text("a cat")
    told = open_outputs(tmp_path)
    assert (told.prompts, told.grouped_by, told.notice) == (("a cat", "a cat"), "captions", "")


EMBEDDER = """
import numpy as np
def colour(picture):
    mean = np.asarray(picture, dtype=float).mean((0, 1))
    return None if picture.width > 40 else mean
def matrix(picture):
    return np.ones((2, 2))
"""


def test_identity_by_a_users_own_function_counts_what_it_does_not_see(tmp_path, capsys):
    (tmp_path / "own.py").write_text(EMBEDDER)
    for kind, seeds in (("made", (0, 1, 2)), ("references", (3, 4))):
        for subject, shift in (("cat", 0), ("dog", 10)):
            (tmp_path / kind / subject).mkdir(parents=True)
            for seed in seeds:
                picture(seed + shift).save(tmp_path / kind / subject / f"{seed}.png")
    picture(2).resize((64, 64)).save(tmp_path / "made" / "cat" / "2.png")  # not seen
    out, own = tmp_path / "out.jsonl", f"{tmp_path / 'own.py'}:colour"
    run(capsys, "identity", "--generated", tmp_path / "made", "--references", tmp_path / "references",
        "--features", own, "--out", out)  # fmt: skip

    def colour(seed):
        return np.asarray(picture(seed), dtype=float).mean((0, 1))

    expected = likeness(
        {"cat": [colour(0), colour(1), None], "dog": [colour(10), colour(11), colour(12)]},
        {"cat": [colour(3), colour(4)], "dog": [colour(13), colour(14)]},
    )
    (record,) = read(out)
    assert record.numbers["likeness"] == pytest.approx(expected.with_missing)
    assert record.numbers["likeness_of_seen"] == pytest.approx(expected.seen)
    assert record.numbers["missing_rate"] == pytest.approx(1 / 6)
    assert (record.settings["num_subjects"], record.settings["num_references"]) == (2, 4)
    arguments = ["identity", "--generated", tmp_path / "made", "--references", tmp_path / "references"]
    assert "has no function face" in refusal(capsys, *arguments, "--features", f"{tmp_path}/own.py:face")
    assert "does not exist; expected FILE.py:FUNCTION" in refusal(capsys, *arguments, "--features", "x.py:f")
    why = refusal(capsys, *arguments, "--features", f"{tmp_path}/own.py:matrix")
    assert "--features gave (2, 2); expected a finite vector" in why
    (tmp_path / "made" / "cow").mkdir()
    picture(0).save(tmp_path / "made" / "cow" / "0.png")
    assert "has no folder cow of references" in refusal(capsys, *arguments, "--features", own)


def test_diversity_is_told_by_condition(made, tmp_path, capsys):
    picture(9).save(made / "alone.png")
    out = tmp_path / "out.jsonl"
    run(capsys, "diversity", "--generated", made, "--device", "cpu", "--out", out)
    features = Extractor()(find_pictures(made))
    rows = dict(zip(features.names, features.values, strict=True))
    groups = {k: np.stack([rows[n] for n in rows if n.startswith(k)]) for k in ("alone", "p0", "p1")}
    (record,) = read(out)
    assert record.numbers["diversity"] == pytest.approx(diversity(groups).mean, abs=1e-4)
    assert (record.settings["num_conditions"], record.settings["num_conditions_of_one"]) == (2, 1)


def test_captions_and_maps_say_what_belongs_together(tmp_path, capsys):
    made, maps, out = tmp_path / "made", tmp_path / "maps", tmp_path / "out.jsonl"
    for folder in (made, maps):
        folder.mkdir()
    for n in range(12):
        picture(n).save(made / f"p_{n}.png")
        picture(n).save(maps / f"p_{n}_depth.png")
    asked = ["diversity", "--generated", made, "--device", "cpu", "--out", out]
    printed = run(capsys, *asked)
    assert "grouped by names, group sizes 1 of 12 pictures" in printed  # all that names can tell
    assert "none of 12 conditions has two samples" in refusal(capsys, *asked, "--maps", maps)
    table = tmp_path / "captions.csv"
    table.write_text("name,caption\n" + "".join(f"p_{n},thing {n // 5}\n" for n in range(12)))
    printed = run(capsys, *asked, "--captions", table)
    assert "grouped by captions, group sizes 2 of 5 pictures, 1 of 2" in printed
    features = Extractor()(find_pictures(made))
    rows = {int(name[2:-4]): row for name, row in zip(features.names, features.values, strict=True)}
    groups = {str(k): np.stack([rows[n] for n in range(12) if n // 5 == k]) for k in range(3)}
    assert read(out)[1].numbers["diversity"] == pytest.approx(diversity(groups).mean, abs=1e-4)
    for n in range(12):
        (made / f"p_{n}.txt").write_text(f"thing {n // 6}")
    assert "grouped by names and captions, group sizes 2 of 6 pictures" in run(capsys, *asked)
    table.write_text("name,caption\np_0,thing\n")
    assert "p_1.png: has no caption" in refusal(capsys, *asked, "--captions", table)


def test_a_map_and_a_caption_together_make_a_condition(tmp_path):
    for n, stem in enumerate(("a_0", "a_1", "a_2", "b_0", "b_1")):
        picture(n).save(tmp_path / f"{stem}.png")
    table = tmp_path / "captions.csv"
    table.write_text("name,caption\na_0,x\na_1,x\na_2,y\nb_0,x\nb_1,x\n")
    assert map_stems([Path("a_depth.png"), Path("a_edge.png"), Path("b.png"), Path("c_image.png")]) == [
        "a",
        "b",
    ]
    found = by_condition(open_outputs(tmp_path, table), ["a", "b"])
    assert found == (["a: x", "a: x", "a: y", "b: x", "b: x"], "maps and captions")


def test_attribute_shares_beside_the_data(made, tmp_path, capsys):
    words, labels, data, out = (tmp_path / n for n in ("words.json", "labels.csv", "data.csv", "out.jsonl"))
    words.write_text(json.dumps(WORDS))
    labels.write_text("name,shape\np1_seed0,cube\np1_seed1,cube\np0_seed0,ball\n")
    texts = ["a cube", "two Boxes? no, a box", "a ball", "spheres", "a lawn", "a cube on a ball"]
    data.write_text("name,caption\n" + "".join(f'{n},"{t}"\n' for n, t in enumerate(texts)))
    arguments = ["attributes", "--attributes", words, "--generated", made, "--training", data]
    run(capsys, *arguments, "--labels", labels, "--out", out)
    (record,) = read(out)
    assert record.name == "attributes/shape"
    # two prompts are neutral, and both pictures show a cube; of four captions two name each
    assert record.numbers["num"] == 2
    assert (record.numbers["cube_generated"], record.numbers["cube_data"]) == (1, 0.5)
    assert record.numbers["cube_more"] == 0.5
    assert record.numbers["cube_more_low"] <= 0.5 <= record.numbers["cube_more_high"]
    told = {"num_not_neutral": 2, "num_reference": 4, "num_reference_several": 1, "num_reference_neutral": 1}
    assert {name: record.settings[name] for name in told} == told
    run(capsys, *arguments, "--device", "cpu", "--out", out)
    assert read(out)[1].settings["reader"].startswith("mini")
    run(
        capsys,
        *arguments[:-2],
        "--assume-neutral",
        "--training-pictures",
        made,
        "--device",
        "cpu",
        "--out",
        out,
    )
    assert read(out)[2].numbers["distance"] == 0


def test_errors_by_attribute(tmp_path, capsys):
    words, labels, errors, out = (tmp_path / n for n in ("w.json", "labels.csv", "errors.csv", "out.jsonl"))
    words.write_text(json.dumps(WORDS))
    labels.write_text("name,shape\na,cube\nb,cube\nc,ball\nd,ball\ne,\n")
    with errors.open("w", newline="") as file:
        csv.writer(file).writerows([["name", "abs_rel"], *zip("abcde", [0.1, 0.2, 0.5, 0.7, 9], strict=True)])
    arguments = ["attributes", "--attributes", words, "--errors", errors]
    run(capsys, *arguments, "--metric", "abs_rel", "--labels", labels, "--out", out)
    (record,) = read(out)
    assert (record.numbers["cube"], record.numbers["ball"]) == pytest.approx((0.15, 0.6))
    assert record.numbers["gap"] == pytest.approx(0.45)
    assert record.settings["num_unknown"] == 1
    captions_file = tmp_path / "captions.csv"
    captions_file.write_text("name,caption\na.png,a cube\nb,box\nc,a ball\nd,sphere\ne,cube and ball\n")
    run(capsys, *arguments, "--metric", "abs_rel", "--captions", captions_file, "--out", out)
    assert read(out)[1].numbers == record.numbers
    assert "--metric is 'rmse': name one" in refusal(capsys, *arguments, "--metric", "rmse")
    assert "give --labels or --captions" in refusal(capsys, *arguments, "--metric", "abs_rel")
    labels.write_text("name,kind\na,cube\n")
    assert "expected name and shape" in refusal(capsys, *arguments, "--metric", "abs_rel", "--labels", labels)


def test_words_are_whole_and_may_be_plural():
    words = {"woman": ["woman", "girl"], "man": ["man"]}
    assert named_value("Two girls", words) == "woman"
    assert named_value("a woman", words) == "woman"
    assert named_value("a manor", words) is None
    assert named_value("a man and a woman", words) == "several"


def test_bad_attributes_are_refused(made, tmp_path, capsys):
    words = tmp_path / "words.json"
    arguments = ["attributes", "--attributes", words, "--generated", made]
    assert "cannot be read as JSON" in refusal(capsys, *arguments)
    words.write_text("[]")
    assert "holds no attributes" in refusal(capsys, *arguments)
    words.write_text(json.dumps({"shape": {"cube": ["cube"]}}))
    assert "attribute 'shape' needs two or more values" in refusal(capsys, *arguments)
    words.write_text(json.dumps(WORDS))
    assert "give one of --training " in refusal(capsys, *arguments)
    assert "give --generated with" in refusal(capsys, *arguments[:3])
    words.write_text(json.dumps({"shape": {"cube": ["cube", "ball", "thing"], "cone": ["cone"]}}))
    assert "all 4 captions" in refusal(capsys, *arguments, "--training", tmp_path)
