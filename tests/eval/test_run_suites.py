"""Does one command make pictures once, measure them and say what happened, for every suite?"""

from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pytest

from eval import __main__ as front
from eval.protocols.drawing import Painter
from eval.protocols.readers import JudgeReader
from eval.records import read
from eval.runs.costs import Costs
from eval.runs.report import read_run
from eval.runs.store import FactsFile
from tests.eval import suite_data
from tests.eval.conftest import NUM
from tests.programs import run_python


def refusal(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        front.main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err


def results(folder) -> dict[tuple[str, str], dict]:
    found = json.loads((folder / "report.json").read_text())["results"]
    return {(one["direction"], one["prediction"]): one for one in found}


def test_the_report_has_every_row_with_its_provenance(runs):
    rows = results(runs[0])
    assert list(rows) == [
        ("estimate", "adapter"), ("estimate", "adapter, another picture"),
        ("estimate", "mean map of the training set"), ("estimate", "the exact map"),
        ("generate", "adapter"), ("generate", "adapter, another map"), ("generate", "the item's own picture"),
        ("joint", "adapter"), ("joint", "halves of different samples"), ("joint", "true pairs"),
    ]  # fmt: skip
    own = rows["generate", "adapter"]
    assert (own["num"], own["num_seeds"], own["num_skipped"]) == (NUM, 2, 0)
    number = own["numbers"]["abs_rel"]
    assert number["mean"] == pytest.approx(np.mean(number["per_seed"]))
    assert number["deviation"] == pytest.approx(np.std(number["per_seed"], ddof=1))
    assert number["low"] < number["mean"] < number["high"]
    assert rows["estimate", "the exact map"]["numbers"]["abs_rel"]["mean"] < 0.05
    report = json.loads((runs[0] / "report.json").read_text())
    assert report["versions"]["torch"]
    assert re.fullmatch(r"([0-9a-f]{40}(-dirty)?|unknown)", report["commit"])
    assert report["command"].startswith("unicon eval mini --base")
    assert report["seeds"] == [0, 1]
    assert report["settings"]["judge"] == "mini"
    assert report["weights"]["judge"]
    assert report["costs"]["making depth-generate"]["num"] == 2 * NUM
    assert 0 < sum(cost["seconds"] for cost in report["costs"].values()) < report["seconds"] + 1
    assert set(report["likeness"]["tasks"]) == {"depth-generate", "depth-joint"}
    assert report["likeness"]["tasks"]["depth-joint"]["frechet"]["mean"] > 0
    sets = report["likeness"]["sets"]["depth-joint"]
    assert (sets["num_real"], sets["num_fake"], sets["k"]) == (NUM, NUM, 3)
    assert sets["full_rank"] == (sets["width"] < NUM)
    assert sets["kid_subset_size"] == NUM // 2


def test_it_measures_what_the_command_for_scenes_does(runs, scene_options, tmp_path, capsys):
    options = list(scene_options)
    at = options.index("--features")
    del options[at : at + 2]
    out = tmp_path / "scenes.jsonl"
    how = ["--conditions", "depth", "--seeds", "2", "--steps", "1", "--out", str(out)]
    assert front.main(["scenes", *options, "--direction", "estimate", *how]) == 0
    by_hand = {r.settings["prediction"]: r.numbers for r in read(out)}
    rows = results(runs[0])
    for name, other in [
        ("adapter", "adapter"),
        ("mean map of the training set",) * 2,
        ("the exact map",) * 2,
    ]:
        found = rows["estimate", name]["numbers"]["abs_rel"]["mean"]
        assert found == pytest.approx(by_hand[other]["abs_rel"], rel=2e-3, abs=1e-4)


def test_the_page_holds_everything_and_refers_to_nothing(runs):
    text = (runs[0] / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert "http" not in text
    assert text.count("<img") == 8 * (3 + 4 + 3)  # four best and four worst of eight in each direction
    assert text.count("<svg") == 6
    for words in (
        "depth: joint",
        "AbsRel",
        "the judge that ships",
        "What it cost",
        "making depth-joint",
        "unicon eval mini --base",
        "Worst by AbsRel",
        "Provenance",
    ):
        assert words in text


def test_the_table_has_a_line_for_every_picture_and_seed(runs):
    with (runs[0] / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * NUM
    own = [float(r["abs_rel"]) for r in rows if r["direction"] == "generate" and r["seed"] == "1"]
    assert np.mean(own) == pytest.approx(
        results(runs[0])["generate", "adapter"]["numbers"]["abs_rel"]["per_seed"][1], rel=1e-4
    )


def test_a_stopped_run_makes_only_what_is_missing(runs, tmp_path, monkeypatch):
    again = tmp_path / "again"
    shutil.copytree(runs[1], again)
    (again / "report.json").unlink()
    drawn = sorted((again / "pictures").rglob("seed1/*.png"))
    (read_back,) = drawn[0].parent.glob(f"read-*/{drawn[0].name}")
    before = drawn[0].read_bytes()
    drawn[0].unlink(), read_back.unlink()
    made = []
    for kind, name in ((Painter, "from_maps"), (JudgeReader, "read")):
        old = getattr(kind, name)

        def counted(self, first, *rest, old=old):
            made.append(len(first))
            return old(self, first, *rest)

        monkeypatch.setattr(kind, name, counted)
    command = json.loads((again / "run.json").read_text())["command"].split()[2:]
    command[command.index("--out") + 1] = str(again)
    assert front.main(command) == 0
    assert made == [1, 1]
    costs = [json.loads((run / "report.json").read_text())["costs"] for run in (runs[1], again)]
    for part in ("making depth-generate", "reading depth-generate"):
        assert [cost[part]["num"] for cost in costs] == [2 * NUM, 2 * NUM + 1]
        assert costs[0][part]["seconds"] < costs[1][part]["seconds"]
    assert drawn[0].read_bytes() == before
    assert (
        results(again)["generate", "adapter"]["numbers"] == results(runs[1])["generate", "adapter"]["numbers"]
    )


def test_a_changed_setting_or_weight_never_meets_old_pictures(runs):
    first, second = ({p.name for p in (r / "pictures").iterdir() if "generate" in p.name} for r in runs)
    assert len(first) == len(second) == 1
    assert first != second  # the steps differ
    items = [{p.name for p in (r / "items").iterdir()} for r in runs]
    assert items[0] == items[1]  # and the data do not


def test_another_adapter_of_one_name_is_told_by_its_weights(runs, base, scene_options, tmp_path):
    out = tmp_path / "swapped"
    adapter = f"depth={base / 'adapters' / 'edge'}"
    how = ["--conditions", "depth", "--directions", "generate", "--seeds", "1", "--steps", "2"]
    assert front.main(["mini", *scene_options, *how, "--adapter", adapter, "--out", str(out)]) == 0
    weights = [read_run(run).report["weights"] for run in (runs[1], out)]
    assert weights[0]["base"] == weights[1]["base"]
    assert weights[0]["adapters"]["depth"] != weights[1]["adapters"]["depth"]
    assert weights[0]["adapters"]["pose"] == weights[1]["adapters"]["pose"]
    assert {p.name for p in (runs[1] / "pictures").iterdir()} != {
        p.name for p in (out / "pictures").iterdir()
    }


def test_edges_choose_their_threshold_on_validation_scenes(scene_options, tmp_path):
    how = ["--conditions", "edge", "--directions", "estimate,joint", "--seeds", "1", "--steps", "1"]
    how += ["--judge", "base"]
    assert front.main(["mini", *scene_options, *how, "--num", "2", "--out", str(tmp_path / "e")]) == 0
    rows = results(tmp_path / "e")
    assert {row["measure"]["kind"] for row in rows.values()} == {"edge"}
    assert rows["estimate", "the exact map"]["numbers"]["f1"]["mean"] == 1
    thresholds = {rows[d, "adapter"]["measure"]["threshold"] for d in ("estimate", "joint")}
    assert len(thresholds) == 1  # read by the same reader


def short(base, out, *more: object) -> list[str]:
    how = ["--base", base, "--seeds", "1", "--steps", "1", "--features", "none", "--device", "cpu"]
    return [str(argument) for argument in [*how, "--out", out, *more]]


def test_nyu(base, tmp_path):
    data = suite_data.nyu(tmp_path / "nyu")
    out = tmp_path / "run"
    assert front.main(["nyu_depth", *short(base, out, "--data", data, "--num", 2, "--ensemble", 2)]) == 0
    rows = results(out)
    assert rows["estimate", "adapter"]["num"] == 2
    assert rows["estimate", "mean map of the other nine tenths"]["numbers"]["abs_rel"]["mean"] < 0.1
    assert json.loads((out / "report.json").read_text())["data"]["split"] == "held_out"


def test_nyu_of_rooms_that_were_left_out_and_in_another_size(base, tmp_path):
    data, out = suite_data.nyu(tmp_path / "nyu", num=200), tmp_path / "run"
    more = ["--data", data, "--num", 2, "--split", "other_rooms"]
    for size in ([], ["--work-size", "16,32"]):
        assert front.main(["nyu_depth", *short(base, out, *more, *size)]) == 0
    rows = results(out)
    assert rows["estimate", "mean map of the other rooms"]["num"] == 2
    assert len(list((out / "maps").iterdir())) == 2  # maps of another size are other maps
    assert len(list((out / "facts").iterdir())) == 2 * 2 + 2  # the mean and the exact map are the same
    assert "16, 32 px" in (out / "report.html").read_text()


def test_bsds_of_both_orientations(base, tmp_path):
    data = suite_data.bsds(tmp_path / "bsds")
    out = tmp_path / "run"
    more = ["--data", data, "--thresholds", 3, "--directions", "estimate,generate"]
    assert front.main(["bsds", *short(base, out, *more)]) == 0
    rows = results(out)
    assert rows["estimate", "adapter"]["num"] == 3
    assert rows["estimate", "adapter, another picture"]["num"] == 2  # one picture is alone in its size
    assert rows["estimate", "the exact map"]["numbers"]["ods"]["mean"] > 0.5
    assert rows["estimate", "Canny"]["num"] == 3
    assert ("generate", "Canny") not in rows
    assert "3 thresholds" in rows["generate", "adapter"]["convention"]


def test_lsp(base, tmp_path):
    out = tmp_path / "run"
    assert front.main(["lsp", *short(base, out, "--data", suite_data.lsp(tmp_path / "lsp"))]) == 0
    found = [
        r for r in json.loads((out / "report.json").read_text())["results"] if r["prediction"] == "adapter"
    ]
    assert [list(row["numbers"])[0] for row in found] == ["pck_bbox", "pck_torso"]


def test_a_folder_of_pairs_in_every_direction(base, tmp_path):
    out = tmp_path / "run"
    assert front.main(["folder", *short(base, out, "--data", suite_data.pairs(tmp_path / "pairs"))]) == 0
    rows = results(out)
    assert {direction for direction, _ in rows} == {"estimate", "generate", "joint"}
    assert rows["estimate", "the exact map"]["numbers"]["abs_rel"]["mean"] < 0.01
    assert read_run(out).items[0]["caption"] == "a picture </script> number 0"
    assert "a picture &lt;/script&gt; number 0" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    "more, text",
    [
        (["--num", "9"], "--num is 9, but there are 4 pairs in"),
        (["--num", "0"], "--num is 0; it is at least 1"),
        (["--conditions", "pose"], "--conditions pose: folder has no 'pose', only depth"),
        (["--directions", "backwards"], "--directions backwards: folder has no 'backwards', only estimate"),
        (["--adapter", "nowhere"], "adapter 'nowhere': no such folder"),
        (["--judge", "nowhere", "--directions", "generate"], "nowhere is no"),
    ],
)
def test_a_run_refuses(more, text, base, tmp_path, capsys):
    data = suite_data.pairs(tmp_path / "pairs")
    assert text in refusal(capsys, "folder", *short(base, tmp_path / "run", "--data", data), *more)
    assert not (tmp_path / "run" / "report.json").exists()


def test_pairs_that_are_not_whole_are_named(base, tmp_path, capsys):
    data = suite_data.pairs(tmp_path / "pairs")
    (data / "depth" / "p2.png").unlink()
    assert "pair p2 lacks depth; unicon check" in refusal(
        capsys, "folder", *short(base, tmp_path / "r", "--data", data)
    )


def test_other_folders_are_left_alone(runs, base, tmp_path, capsys):
    data = suite_data.pairs(tmp_path / "pairs")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    assert "is no run's folder" in refusal(capsys, "folder", *short(base, tmp_path / "mine", "--data", data))
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    assert "holds a run of mini" in refusal(capsys, "folder", *short(base, runs[0], "--data", data))


def test_runs_that_are_none_or_not_finished_are_told_apart(runs, tmp_path):
    with pytest.raises(ValueError, match=r"is no run's folder: report.json is missing"):
        read_run(tmp_path)
    shutil.copytree(runs[1], tmp_path / "half")
    (tmp_path / "half" / "report.json").unlink()
    with pytest.raises(ValueError, match="has not come to its end; continue it with: unicon eval mini"):
        read_run(tmp_path / "half")
    (tmp_path / "half" / "report.json").write_text("{")
    with pytest.raises(ValueError, match=r"report.json is damaged"):
        read_run(tmp_path / "half")


def test_costs_add_up_over_attempts(tmp_path):
    for num in (3, 4):
        with Costs.of(tmp_path).part("drawing") as cost:
            cost.num += num
            cost.seconds += 1
    with pytest.raises(RuntimeError), Costs.of(tmp_path).part("reading"):
        raise RuntimeError
    found = Costs.of(tmp_path).as_json()
    assert found["drawing"]["num"] == 7
    assert 2 <= found["drawing"]["seconds"] < 3
    assert found["reading"]["num"] == 0
    (tmp_path / "costs.json").write_text('{"drawing": 3}')
    with pytest.raises(ValueError, match=r"costs.json: is damaged .*; remove it, and costs begin anew"):
        Costs.of(tmp_path)


def test_a_line_that_was_cut_off_is_measured_again(tmp_path):
    file = FactsFile(tmp_path, "key", 0)
    file.add({"a": [1.0, 2.0], "b": None})
    with file.path.open("a") as raw:
        raw.write('{"c": [1.')
    file.add({"d": [3.0]})
    FactsFile(tmp_path, "key", 1).add({"e": [4.0]})
    assert file.read() == {"a": [1.0, 2.0], "b": None, "d": [3.0], "e": [4.0]}


@pytest.mark.slow
def test_two_processes_make_the_same_run(base, tmp_path):
    data = suite_data.pairs(tmp_path / "pairs", num=5)
    code = "import sys; from unicon.__main__ import main; sys.exit(main(sys.argv[1:]))"
    words = ["folder", *short(base, tmp_path / "two", "--data", data)]
    done = run_python(code, "eval", "--processes", "2", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert front.main(["folder", *short(base, tmp_path / "one", "--data", data)]) == 0
    one, two = results(tmp_path / "one"), results(tmp_path / "two")
    assert list(one) == list(two)
    for row in one:
        found = two[row]["numbers"]["abs_rel"]["mean"]
        assert found == pytest.approx(one[row]["numbers"]["abs_rel"]["mean"], rel=1e-2)
