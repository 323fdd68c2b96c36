"""Are runs compared on the same pictures alone, judges kept blind, and votes counted?"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from eval import __main__ as front
from eval.records import read
from eval.runs.compare import compare
from eval.runs.report import read_run
from eval.study.questions import questions
from eval.study.votes import Vote, outcomes, read_key, read_votes
from tests.eval.test_run_suites import refusal


def test_runs_are_compared(runs, tmp_path, capsys):
    assert front.main(["compare", *map(str, runs), "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "| task | number | before | after |" in text
    assert "depth-estimate" not in text  # the second run has pictures alone
    stored = json.loads((tmp_path / "compare.json").read_text())["differences"]
    found = {one["number"]: one for one in stored}["abs_rel"]
    own = [read_run(run).report["results"] for run in runs]
    means = [next(r for r in rows if (r["direction"], r["prediction"]) == ("generate", "adapter"))
             ["numbers"]["abs_rel"]["mean"] for rows in own]  # fmt: skip
    assert [found["first"], found["second"]] == pytest.approx(means)
    assert found["low"] <= found["difference"] <= found["high"]
    page = (tmp_path / "compare.html").read_text()
    assert page.count("<img") == 8 * 4
    assert "Where after is furthest ahead by AbsRel" in page


def test_a_run_is_no_better_than_itself(runs):
    run = read_run(runs[0])
    assert {line.verdict(("A", "B")) for line in compare(run, run)} == {"undecided"}


def changed(run: Path, place: Path, change) -> Path:
    """A copy of a run whose report is changed."""
    shutil.copytree(run, place)
    report = json.loads((place / "report.json").read_text())
    change(report)
    (place / "report.json").write_text(json.dumps(report))
    return place


def test_other_data_or_suites_or_measures_are_not_compared(runs, tmp_path, capsys):
    def fewer(report):
        report["data"]["digest"] = "0"
        report["data"]["items"].pop()

    other = changed(runs[0], tmp_path / "fewer", fewer)
    assert "has 8 pictures, " in (text := refusal(capsys, "compare", runs[0], other))
    assert "7, and 7 are the same: compare runs of the same pictures" in text
    other = changed(runs[0], tmp_path / "other", lambda report: report.update(suite="nyu_depth"))
    assert "is a run of mini," in refusal(capsys, "compare", runs[0], other)
    assert "is no run's folder" in refusal(capsys, "compare", runs[0], tmp_path)
    other = changed(runs[0], tmp_path / "judged", lambda report: report["settings"].update(judge="another"))
    assert "was read back by" in refusal(capsys, "compare", runs[0], other)
    shutil.copytree(runs[0], tmp_path / "clipped")
    scores = json.loads((tmp_path / "clipped" / "scores.json").read_text())
    for row in scores["rows"]:
        row["measure"]["low"] = 0.5
    (tmp_path / "clipped" / "scores.json").write_text(json.dumps(scores))
    assert "was measured differently" in refusal(capsys, "compare", runs[0], tmp_path / "clipped")


# --- the study --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(runs, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("study")
    assert front.main(["study", *map(str, runs), "--num", "6", "--grids", "1", "--out", str(out)]) == 0
    return out


def test_the_page_tells_nobody_who_is_who(study, runs):
    text = (study / "study.html").read_text()
    assert not re.search(r"before|after|first_is_left|runs/|\.png", text.replace("afterwards", ""))
    assert "http" not in text
    data = re.search(r'<script type="application/json" id="study">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    stored = json.loads(data[1])
    key = read_key(study)
    assert stored["id"] == key["study"]
    assert [q["kind"] for q in stored["questions"]] == [q["kind"] for q in key["questions"]]
    assert Counter(q["kind"] for q in key["questions"]) == {"realism": 6, "caption": 6, "diversity": 1}
    assert all(q["left"].startswith("data:image/") and q["left"] != q["right"] for q in stored["questions"])
    assert all(bool(q["caption"]) == (q["kind"] == "caption") for q in stored["questions"])


def test_the_sides_show_what_the_key_says(study, runs):
    import base64
    from io import BytesIO

    from PIL import Image

    text = (study / "study.html").read_text()
    stored = json.loads(re.search(r'id="study">(.*?)</script>', text, re.DOTALL)[1])  # pyright: ignore[reportOptionalSubscript]
    both = [read_run(run) for run in runs]
    for shown, asked in zip(stored["questions"], read_key(study)["questions"], strict=True):
        if asked["kind"] == "diversity":
            continue
        (place, seed), run = asked["shown"][0], both[asked["left"]]
        task = next(task for task in run.rows if task.name == asked["task"])
        true = np.asarray(Image.open(run.answer(task, seed, run.items[place]["stem"])))
        left = np.asarray(Image.open(BytesIO(base64.b64decode(shown["left"].partition(",")[2]))))
        np.testing.assert_array_equal(left, true)


def test_sets_hold_sixteen_pictures_of_as_few_items_as_seeds_allow(runs):
    first, second = map(read_run, runs)
    (asked,) = questions(first, second, num=0, num_grids=1, seed=0)
    assert len(set(asked.shown)) == 16
    assert len({place for place, _ in asked.shown}) == 8  # two seeds each


def test_sides_are_shuffled_and_repeat_with_the_seed(runs):
    first, second = map(read_run, runs)
    asked = questions(first, second, num=16, num_grids=0, seed=1)
    assert asked == questions(first, second, num=16, num_grids=0, seed=1)
    assert asked != questions(first, second, num=16, num_grids=0, seed=2)
    assert 0.2 < np.mean([q.first_is_left for q in asked]) < 0.8


@pytest.mark.parametrize(
    "more, text",
    [
        (["--num", "17"], "17 pairs of pictures were asked for, but the runs have 16; ask for fewer"),
        (["--num", "2", "--grids", "2"], "2 sets of 16 pictures were asked for, but the runs have 1"),
        (["--num", "0", "--grids", "0"], "leave no question"),
    ],
)
def test_a_study_refuses(more, text, runs, tmp_path, capsys):
    assert text in refusal(capsys, "study", *runs, *more, "--out", tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_study_needs_generated_pictures(runs, tmp_path, capsys):
    shutil.copytree(runs[0], tmp_path / "estimates")
    scores = json.loads((tmp_path / "estimates" / "scores.json").read_text())
    scores["rows"] = [row for row in scores["rows"] if row["direction"] == "estimate"]
    (tmp_path / "estimates" / "scores.json").write_text(json.dumps(scores))
    how = [tmp_path / "estimates", runs[1], "--out", tmp_path / "s"]
    assert "have no generated pictures in common" in refusal(capsys, "study", *how)


# --- votes ------------------------------------------------------------------------------------------------

KEY = {
    "study": "s",
    "runs": [{"name": "A"}, {"name": "B"}],
    "questions": [{"kind": "realism", "left": n % 2} for n in range(40)],
}


def votes(share_for_second: float, judges: int = 3, seed: int = 0) -> list[Vote]:
    rng = np.random.default_rng(seed)
    found = []
    for judge in range(judges):
        for number, question in enumerate(KEY["questions"]):
            second = rng.random() < share_for_second
            found.append(
                Vote(
                    judge=str(judge),
                    question=number,
                    answer="left" if second == (question["left"] == 1) else "right",
                )
            )
    return found


def test_who_always_wins_wins():
    (found,) = outcomes(KEY, votes(1.0))
    assert (found.rate, found.high, found.wins) == (1, 1, (0, 120))
    assert found.low == pytest.approx(1 / (1 + 1.96**2 / 40))  # Wilson's of 40 questions
    assert found.verdict(("A", "B")) == "B is preferred"
    assert found.left == 0.5
    assert outcomes(KEY, votes(0.0))[0].verdict(("A", "B")) == "A is preferred"


def test_a_few_votes_that_agree_are_undecided():
    for num, verdict in ((1, "undecided"), (3, "undecided"), (6, "B is preferred")):
        few = [vote for vote in votes(1.0, judges=1) if vote.question < num]
        assert outcomes(KEY, few)[0].verdict(("A", "B")) == verdict


def test_what_is_no_list_of_votes_is_named(tmp_path):
    (tmp_path / "v.json").write_text(json.dumps({"study": "s", "judge": "a", "votes": 5}))
    with pytest.raises(ValueError, match="its votes are 5; expected a list"):
        read_votes(KEY, [tmp_path / "v.json"])


def test_chance_is_undecided_and_ties_are_halves():
    assert outcomes(KEY, votes(0.5))[0].verdict(("A", "B")) == "undecided"
    ties = [Vote(judge="a", question=n, answer="tie") for n in range(4)]
    (found,) = outcomes(KEY, ties)
    assert (found.rate, found.ties, found.left) == (0.5, 4, None)


def test_many_votes_of_judges_who_differ_are_less_sure_than_their_number():
    """Half the judges always choose B, half always A: more questions tell nothing more."""
    others = [Vote(judge=f"x{v.judge}", question=v.question, answer=v.answer) for v in votes(0.0, judges=2)]
    split = votes(1.0, judges=2) + others
    (found,) = outcomes(KEY, split)
    assert found.low < 0.1
    assert found.high > 0.9


def write(path: Path, **changes) -> Path:
    stored = {"study": "s", "judge": path.stem, "votes": [{"question": 1, "answer": "left"}], **changes}
    path.write_text(json.dumps(stored))
    return path


def test_votes_become_win_rates(study, tmp_path, capsys):
    key = read_key(study)
    ours = [
        {"question": n, "answer": "left" if q["left"] == 1 else "right"}
        for n, q in enumerate(key["questions"])
    ]
    files = [write(tmp_path / f"{name}.json", study=key["study"], votes=ours) for name in ("ann", "bob")]
    out = tmp_path / "votes.jsonl"
    assert front.main(["votes", str(study), *map(str, files), "--out", str(out)]) == 0
    assert "win rate of after [95%]" in capsys.readouterr().out
    records = {record.name: record for record in read(out)}
    assert records["study/realism"].numbers["win_rate"] == 1
    assert records["study/realism"].numbers["votes"] == 12
    assert records["study/diversity"].settings["win_rate_of"] == "after"


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"study": "t"}, "has votes of study t, this one is s"),
        ({"votes": [{"question": 40, "answer": "left"}]}, "is no vote; expected a question below 40"),
        ({"votes": [{"question": 1, "answer": "both"}]}, "is no vote"),
        ({"votes": ["left"]}, "is no vote"),
        ({"votes": [{"question": 1, "answer": "left"}] * 2}, "answers a question twice"),
        ({"votes": []}, "the 1 files hold no vote"),
    ],
)
def test_other_votes_are_refused(changes, text, tmp_path):
    with pytest.raises(ValueError, match=re.escape(text)):
        read_votes(KEY, [write(tmp_path / "a.json", **changes)])


def test_one_judge_counts_once(tmp_path):
    files = [write(tmp_path / f"{name}.json", judge="ann") for name in "ab"]
    with pytest.raises(ValueError, match="are both of judge ann; keep one of them"):
        read_votes(KEY, files)


def test_files_of_another_kind_are_refused(tmp_path):
    (tmp_path / "a.json").write_text("left")
    with pytest.raises(ValueError, match="is no JSON"):
        read_votes(KEY, [tmp_path / "a.json"])
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ValueError, match="holds a list; expected a file that the study's page wrote"):
        read_votes(KEY, [tmp_path / "a.json"])
    with pytest.raises(ValueError, match=r"is no study: key.json is missing"):
        read_key(tmp_path)
    (tmp_path / "key.json").write_text("{}")
    with pytest.raises(ValueError, match="is no key of a study"):
        read_key(tmp_path)
