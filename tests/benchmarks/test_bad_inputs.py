"""Is every kind of bad input named, and is all whole afterwards? (The table: `benchmarks/bad_inputs.py`.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bad_input_kinds.case import Case, Place
from benchmarks.bad_input_kinds.cases import CASES
from benchmarks.bad_input_kinds.outcomes import line_of, outcome, starter
from tests.pipeline.test_prior import tiny_prior
from tests.tiny_base import tiny_pipeline
from tests.tiny_clip import tiny_decoder, with_clip
from unicon.embeddings import identity

datasets = pytest.importorskip("datasets")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """With a CLIP, a decoder adapter and a prior."""
    folder = tmp_path_factory.mktemp("base")
    pipe = with_clip(tiny_pipeline(folder / "words"))
    pipe.add_decoder(tiny_decoder(pipe))
    pipe.add_prior(tiny_prior(), identity(pipe.image_encoder))
    pipe.save_pretrained(folder / "tiny")
    return folder / "tiny"


@pytest.fixture(scope="module")
def started(base, tmp_path_factory):
    return starter(str(base), tmp_path_factory.mktemp("started") / "run")


def test_there_are_many_kinds():
    assert len({case.name for case in CASES}) == len(CASES) >= 30


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c.name, marks=[pytest.mark.slow] if c.runs else []) for c in CASES]
)
def test_bad_input(case: Case, base, started, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "case"
    folder.mkdir()
    found = outcome(case, Place(folder, str(base), started))
    said = line_of(found.said)
    assert [part for part in case.told if part not in said] == [], said
    assert "Traceback" not in said
    assert found.status == case.status
    assert found.damage == ()
