"""What do the votes of a study say? Win rates with intervals.

A vote for neither side is half a win for both. Intervals resample questions and judges, each with
replacement and independently (the pigeonhole bootstrap, Owen 2007): votes of one judge are alike, and so are
those on one pair of pictures. With one judge or one question the other alone is resampled. Votes that agree
have no spread to resample, so no interval is narrower than Wilson's (1927) of as many votes as there are
judges, or questions where those are more.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.command import command
from eval.metrics.summary import markdown_table
from eval.protocols.results import save
from eval.records import Record
from eval.study.command import KEY
from eval.study.questions import TEXTS

ANSWERS = ("left", "right", "tie")
RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Vote:
    """One answer of one judge."""

    judge: str
    question: int
    answer: str
    """One of `ANSWERS`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Answers to questions of one kind."""

    kind: str
    num_votes: int
    num_judges: int
    num_questions: int
    """With at least one vote."""
    wins: tuple[int, int]
    ties: int
    rate: float
    """Of the second run: wins and half the ties, over votes."""
    low: float
    """95% interval."""
    high: float
    left: float | None
    """Share of decided votes for the left side; far from 0.5 it is a habit, not a judgement."""

    def verdict(self, names: Sequence[str]) -> str:
        """Whom people prefer, as far as the interval says."""
        if self.low <= 0.5 <= self.high:
            return "undecided"
        return f"{names[self.rate > 0.5]} is preferred"


def outcomes(key: dict[str, Any], votes: Sequence[Vote]) -> list[Outcome]:
    """One for each kind that was voted on."""
    kinds = [kind for kind in TEXTS if any(q["kind"] == kind for q in key["questions"])]
    found = []
    for kind in kinds:
        own = [vote for vote in votes if key["questions"][vote.question]["kind"] == kind]
        if own:
            found.append(_outcome(kind, key, own))
    return found


def _outcome(kind: str, key: dict[str, Any], votes: list[Vote]) -> Outcome:
    second = np.array([_for_second(key["questions"][vote.question], vote.answer) for vote in votes])
    judges, who = np.unique([vote.judge for vote in votes], return_inverse=True)
    asked, what = np.unique([vote.question for vote in votes], return_inverse=True)
    low, high = _interval(second, who, what, len(judges), len(asked))
    decided = [vote.answer for vote in votes if vote.answer != "tie"]
    return Outcome(
        kind=kind, num_votes=len(votes), num_judges=len(judges), num_questions=len(asked),
        wins=(int((second == 0).sum()), int((second == 1).sum())), ties=int((second == 0.5).sum()),
        rate=float(second.mean()), low=low, high=high,
        left=decided.count("left") / len(decided) if decided else None,
    )  # fmt: skip


def _for_second(question: dict[str, Any], answer: str) -> float:
    """1 for the second run, 0 for the first, a half for neither."""
    if answer == "tie":
        return 0.5
    return float((answer == "left") == (question["left"] == 1))


def _interval(
    second: np.ndarray, who: np.ndarray, what: np.ndarray, num_judges: int, num_questions: int
) -> tuple[float, float]:
    rng, rates = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        weights = _drawn(rng, num_judges)[who] * _drawn(rng, num_questions)[what]
        if weights.sum():  # few votes can miss every one that was drawn
            rates.append(float((weights * second).sum() / weights.sum()))
    low, high = np.quantile(rates, (0.025, 0.975))
    least, most = _wilson(float(second.mean()), max(num_judges, num_questions))
    return min(float(low), least), max(float(high), most)


def _wilson(rate: float, num: int) -> tuple[float, float]:
    """95% interval of a share of `num` votes."""
    z = 1.96
    middle = (rate + z**2 / (2 * num)) / (1 + z**2 / num)
    half = z / (1 + z**2 / num) * math.sqrt(rate * (1 - rate) / num + z**2 / (4 * num**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _drawn(rng: np.random.Generator, num: int) -> np.ndarray:
    return rng.multinomial(num, np.full(num, 1 / num))


# --- files ------------------------------------------------------------------------------------------------


def read_key(folder: Path) -> dict[str, Any]:
    """Who is who; ValueError for a folder that is no study's."""
    path = folder / KEY
    if not path.is_file():
        raise ValueError(f"{folder} is no study: {KEY} is missing; give the --out of unicon eval study")
    key = _json(path)
    if not {"study", "runs", "questions"} <= set(key):
        raise ValueError(f"{path} is no key of a study; give the --out of unicon eval study")
    return key


def read_votes(key: dict[str, Any], paths: Sequence[Path]) -> list[Vote]:
    """All votes; ValueError for those of another study, of one judge twice, and for what is no vote."""
    votes: list[Vote] = []
    seen: dict[str, Path] = {}
    for path in paths:
        stored = _json(path)
        if stored.get("study") != key["study"]:
            raise ValueError(f"{path} has votes of study {stored.get('study')}, this one is {key['study']}")
        judge = str(stored.get("judge"))
        if judge in seen:
            raise ValueError(f"{path} and {seen[judge]} are both of judge {judge}; keep one of them")
        seen[judge] = path
        given = stored.get("votes") or []
        if not isinstance(given, list):
            raise ValueError(f"{path}: its votes are {given!r}; expected a list of them")
        own = [_vote(one, judge, len(key["questions"]), path) for one in given]
        if len({vote.question for vote in own}) < len(own):
            raise ValueError(f"{path} answers a question twice; download the votes again")
        votes += own
    if not votes:
        raise ValueError(f"the {len(paths)} files hold no vote; collect some first")
    return votes


def _vote(one: Any, judge: str, num: int, path: Path) -> Vote:
    if (
        not isinstance(one, dict)
        or one.get("answer") not in ANSWERS
        or type(one.get("question")) is not int
        or not 0 <= one["question"] < num
    ):
        raise ValueError(
            f"{path}: {one!r} is no vote; expected a question below {num} and an answer of {ANSWERS}"
        )
    return Vote(judge=judge, question=one["question"], answer=one["answer"])


def _json(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is no JSON ({error}); expected a file that the study's page wrote"
        ) from error
    if not isinstance(stored, dict):
        raise ValueError(
            f"{path} holds a {type(stored).__name__}; expected a file that the study's page wrote"
        )
    return stored


# --- the command ------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval votes",
        description="Turn the votes of a study into win rates with 95% intervals.",
        epilog="example: unicon eval votes out/study votes-*.json --out results/study.jsonl",
    )
    top.add_argument("study", metavar="STUDY", help="folder that unicon eval study wrote")
    top.add_argument("files", nargs="+", metavar="VOTES", help="files that the page gave to the judges")
    top.add_argument("--out", metavar="FILE", help="append the results to this file of JSON lines")
    return top


def _run(arguments: argparse.Namespace) -> str:
    key = read_key(Path(arguments.study))
    found = outcomes(key, read_votes(key, [Path(file) for file in arguments.files]))
    names = [run["name"] for run in key["runs"]]
    save(arguments.out, [_record(one, key, names) for one in found])
    return markdown_table([_cells(one, names) for one in found])


def _cells(one: Outcome, names: Sequence[str]) -> dict[str, object]:
    return {
        "judged": one.kind,
        "votes": one.num_votes,
        "judges": one.num_judges,
        "questions": one.num_questions,
        f"{names[0]} wins": one.wins[0],
        f"{names[1]} wins": one.wins[1],
        "cannot tell": one.ties,
        f"win rate of {names[1]} [95%]": f"{one.rate:.3f} [{one.low:.3f}, {one.high:.3f}]",
        "left": one.left,
        "verdict": one.verdict(names),
    }


def _record(one: Outcome, key: dict[str, Any], names: Sequence[str]) -> Record:
    numbers: dict[str, float | int] = {
        "win_rate": one.rate, "low": one.low, "high": one.high, "votes": one.num_votes,
        "judges": one.num_judges, "wins_first": one.wins[0], "wins_second": one.wins[1], "ties": one.ties,
    }  # fmt: skip
    settings: dict[str, str | int | float | bool] = {
        "study": key["study"], "first": names[0], "second": names[1], "win_rate_of": names[1],
    }  # fmt: skip
    return Record(name=f"study/{one.kind}", numbers=numbers, settings=settings)


main = command(parser, _run)
