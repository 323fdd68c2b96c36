"""Does one command make pictures once, measure them and say what happened, for every suite?"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from eval import __main__ as front
from eval.digests import digest_of, digests_of_adapters
from eval.protocols.drawing import Painter
from eval.protocols.readers import JudgeReader
from eval.protocols.setup import load_pipeline
from eval.records import read
from eval.runs.costs import Costs
from eval.runs.items import Item, Sample
from eval.runs.measures.spread import SpreadMeasure
from eval.runs.members import read_members
from eval.runs.report import read_run
from eval.runs.store import FactsFile
from eval.suites import nyu_depth
from tests.commands import refusal
from tests.eval import suite_data
from tests.eval.conftest import NUM
from tests.programs import launched
from unicon.cli import launch, runner
from unicon.cli import main as cli

SPREAD = (
    "calibration_error", "calibration_bias", "interval_coverage", "interval_coverage_all", "interval_width",
    "crps",
)  # fmt: skip


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
    assert (sets["num_real"], sets["num_generated"], sets["k"]) == (NUM, NUM, 3)
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
    edge = digests_of_adapters(load_pipeline(str(base), "cpu", "float32", ["edge"]))["edge"]
    assert weights[1]["adapters"] == {"depth": edge}
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


def test_nyu_in_both_spaces_with_the_spread_of_its_ensemble(base, tmp_path):
    data = suite_data.nyu(tmp_path / "nyu")
    out = tmp_path / "run"
    more = ["--data", data, "--num", 2, "--mirrored", "--alignment", "scale_shift", "disparity"]
    assert front.main(["nyu_depth", *short(base, out, *more)]) == 0
    rows = results(out)
    assert rows["estimate", "adapter"]["num"] == 2
    report = json.loads((out / "report.json").read_text())
    assert report["data"]["split"] == "held_out"
    own, other, spread = (r for r in report["results"] if r["prediction"] == "adapter")
    mean, inverse = (r for r in report["results"] if r["prediction"] == "mean map of the other nine tenths")
    assert mean["numbers"]["abs_rel"]["mean"] < 0.1
    assert inverse["numbers"]["abs_rel_disparity"]["mean"] < 0.1
    # Each column's exact map is drawn as the column reads maps, and loses what is clipped alone.
    exact, drawn = (r["numbers"] for r in report["results"] if r["prediction"] == "the exact map")
    assert exact["abs_rel"]["mean"] < 0.03
    assert drawn["abs_rel_disparity"]["mean"] < 0.03
    assert "fitted in depth per" in own["convention"]
    assert "fitted in disparity (1/depth), clipped at 0.001 and inverted" in other["convention"]
    assert own["numbers"].keys() & other["numbers"].keys() == set()
    assert set(spread["numbers"]) == set(SPREAD)
    assert all(len(number["per_seed"]) == 1 for number in spread["numbers"].values())
    assert "coverage of 90% interval" in (out / "report.html").read_text()
    table = next(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert float(table["interval_width"]) > 0
    assert float(table["abs_rel_disparity"]) > 0
    # Members that are lost are made again.
    kept = sorted(out.glob("maps/*/seed0/members/*.npz"))
    assert len(kept) == 2
    before = read_members(kept[0])
    assert before.shape == (2, 32, 40)  # the picture and its mirror image
    kept[0].unlink()
    assert front.main(["nyu_depth", *short(base, out, *more)]) == 0
    np.testing.assert_allclose(read_members(kept[0]), before, atol=2e-3)  # in a batch of another size
    kept[0].write_bytes(b"damaged")
    with pytest.raises(ValueError, match="is not there or damaged; delete it"):
        read_members(kept[0])


def test_models_that_are_not_there_are_refused_before_any_is_loaded(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("eval.runs.suite.load_pipeline", None)
    for option in ("--judge", "--regressor", "--features"):
        why = refusal(capsys, "mini", "--out", tmp_path / "run", option, tmp_path / "nowhere")
        assert "nowhere" in why
        assert "no such folder" in why


def test_an_ensemble_of_the_truth_is_calibrated():
    rng = np.random.default_rng(0)
    depth = np.linspace(2, 6, 40 * 60).reshape(40, 60)
    at = (depth - 2) / 4
    noise = rng.normal(0, 0.1, (24, 40, 60))
    item = Item(name="made up", key=0, image=np.zeros((40, 60, 3), np.uint8))

    def facts(stretched: float) -> np.ndarray:
        # The truth is a draw of the same law as the members, which leave no room at the ends.
        members = 0.5 + 0.25 * (0.5 - at) + stretched * noise[1:] / 4
        truth = 2 + 4 * (0.5 - 0.25 * (0.5 - at) - noise[0] / 4)
        sample = Sample(
            item=item, condition="depth", map=np.repeat(members.mean(0)[..., None], 3, -1), truth=truth,
            members=members.astype(np.float16),
        )  # fmt: skip
        found = SpreadMeasure().facts(sample)
        assert found is not None
        return found

    measure = SpreadMeasure()
    right, sure = (measure.of(facts(stretched) + facts(stretched), 2) for stretched in (1.0, 0.3))
    assert tuple(right) == SPREAD == tuple(n.name for n in measure.numbers)
    assert right["calibration_error"] < 0.05
    assert right["interval_coverage_all"] == pytest.approx(0.9, abs=0.03)
    assert sure["calibration_bias"] == pytest.approx(-sure["calibration_error"])
    assert sure["calibration_error"] > 0.2
    assert sure["interval_coverage"] < 0.6
    assert right["interval_width"] == pytest.approx(2 * 1.64 * 0.1, rel=0.3)
    assert right["crps"] < sure["crps"]
    assert measure.of(np.zeros(14), 0) == {}


@pytest.mark.parametrize("linear_in", ["scale_shift", "disparity"])
def test_a_map_is_exact_in_the_space_it_is_linear_in(linear_in):
    depth = np.linspace(0.2, 0.999, 32 * 40).reshape(32, 40)
    plane = 1 - depth if linear_in == "scale_shift" else 0.9 * (1 / depth) / 5
    item = Item(name="made up", key=0, image=np.zeros((32, 40, 3), np.uint8))

    def scored(alignment: str, values: np.ndarray) -> float:
        shown = np.repeat(values[..., None], 3, -1).astype(np.float32)
        found = nyu_depth.MEASURES[alignment].facts(
            Sample(item=item, condition="depth", map=shown, truth=depth)
        )
        return float(found[0])

    other = {"scale_shift": "disparity", "disparity": "scale_shift"}[linear_in]
    assert scored(linear_in, plane) < 1e-5 < 0.02 < scored(other, plane)
    black = scored("disparity", 0 * plane)  # no pixel to fit, and no reason to stop a run
    assert black == pytest.approx(scored("disparity", 0 * plane + 0.5))


def test_what_was_not_measured_of_a_room_is_neither_near_nor_in_its_map(tmp_path):
    data, hole = suite_data.nyu(tmp_path / "nyu", num=20), np.arange(suite_data.SIDE) >= 16
    asked = argparse.Namespace(data=data, split="held_out", num=None, alignment=["scale_shift"])

    def drawn_and_mean() -> tuple[np.ndarray, np.ndarray]:
        benchmark = nyu_depth.open_rooms(asked, ["depth"], suite_data.SIDE)
        assert benchmark.mean_map is not None
        mean = benchmark.mean_map("depth", nyu_depth.MEASURES["scale_shift"])
        return benchmark.items[0].maps["depth"], mean

    _, whole = drawn_and_mean()
    suite_data.cut_out(data, hole)
    drawn, mean = drawn_and_mean()
    assert not drawn[hole].any()
    assert (drawn[~hole].min(), drawn[~hole].max()) == (0, 1)
    np.testing.assert_array_equal(mean[~hole], whole[~hole])
    assert mean[~hole].min() < mean[hole].min() <= mean[hole].max() < mean[~hole].max()


def test_nyu_of_rooms_that_were_left_out_and_in_another_size(base, tmp_path):
    data, out = suite_data.nyu(tmp_path / "nyu", num=200), tmp_path / "run"
    more = ["--data", data, "--num", 2, "--split", "other_rooms"]
    for views in ([], ["--work-size", "16,32", "--mirrored"]):
        assert front.main(["nyu_depth", *short(base, out, *more, *views)]) == 0
    rows = results(out)
    assert rows["estimate", "mean map of the other rooms"]["num"] == 2
    assert len(list((out / "maps").iterdir())) == 2  # maps of another size are other maps
    # The mean and the exact map are the same; several views have a spread, too.
    assert len(list((out / "facts").iterdir())) == 2 * 2 + 2 + 1
    page = (out / "report.html").read_text()
    assert "16, 32 px" in page
    assert "mirror images" in page


def test_weights_under_another_configuration_are_others():
    from diffusers import UNet2DModel

    def model(**more):
        torch.manual_seed(0)
        return UNet2DModel(
            sample_size=8, block_out_channels=(8,), down_block_types=("DownBlock2D",),
            up_block_types=("UpBlock2D",), norm_num_groups=4, layers_per_block=1, **more,
        )  # fmt: skip

    same, again, other = model(), model(), model(act_fn="gelu")
    assert digest_of(same) == digest_of(again)
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), other.parameters(), strict=True))
    assert digest_of(same) != digest_of(other)


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
        (["--num", "0"], "argument --num: expected a whole number from 1"),
        (["--conditions", "pose"], "--conditions pose: folder has no 'pose', only depth"),
        (["--directions", "backwards"], "--directions backwards: folder has no 'backwards', only estimate"),
        (["--adapter", "nowhere"], "adapter 'nowhere': no such folder"),
        (["--judge", "nowhere", "--directions", "generate"], "nowhere: no such folder"),
        (["--adapter", "near={base}/adapters/depth"], "measured is depth: write depth="),
    ],
)
def test_a_run_refuses(more, text, base, tmp_path, capsys):
    data = suite_data.pairs(tmp_path / "pairs")
    more = [word.format(base=base) for word in more]
    assert text in refusal(capsys, "folder", *short(base, tmp_path / "run", "--data", data), *more)
    assert not (tmp_path / "run" / "report.json").exists()


def test_who_cannot_read_a_condition_is_refused_before_anything_is_loaded(tmp_path, capsys):
    data = suite_data.pairs(tmp_path / "pairs")
    (data / "depth").rename(data / "tint")
    command = ["folder", *short("nowhere", tmp_path / "run", "--data", data)]
    for by in (["--judge", "mini", "--directions", "generate"], ["--regressor", "mini"]):
        assert "mini reads no 'tint', only depth, edge, pose" in refusal(capsys, *command, *by)
    unasked = refusal(capsys, *command, "--judge", "mini", "--directions", "estimate")
    assert "reads no" not in unasked, "only the base is missing"


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
    words = ["eval", "folder", *short(base, tmp_path / "two", "--data", data)]
    options = launch.launch_options(cli.parse(["eval", "--processes", "2"]))
    codes = launched(Path(runner.__file__), words, options, tmp_path / "log")
    assert codes == [0, 0], (tmp_path / "log").read_text()
    assert front.main(["folder", *short(base, tmp_path / "one", "--data", data)]) == 0
    one, two = results(tmp_path / "one"), results(tmp_path / "two")
    assert list(one) == list(two)
    for row in one:
        found = two[row]["numbers"]["abs_rel"]["mean"]
        assert found == pytest.approx(one[row]["numbers"]["abs_rel"]["mean"], rel=1e-2)
