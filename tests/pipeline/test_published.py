"""Do predictions and whole samplings equal those of the published code (tensors made with it)?

Before and after merging, by the code that writes `docs/parity.md`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import parity
from tests.adapters.tiny import FIXTURES
from tests.programs import ROOT

CASES = list(parity.cases())


@pytest.mark.parametrize("merged", [False, True], ids=["plain", "merged"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_the_published_code_computed(case, merged):
    found = parity.difference(case, merged=merged)
    assert found.magnitude > 1
    assert found.mean <= found.largest <= case.bound


def test_every_file_of_tensors_is_compared_and_stands_on_the_page():
    files = {path.stem for path in FIXTURES.glob("*.safetensors")}
    assert {case.name for case in CASES} == files
    page = (ROOT / "docs" / "parity.md").read_text()
    assert page.startswith(parity.HEAD)
    assert [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")] == [
        case.name for case in CASES
    ]
    assert [case.bound for case in CASES] == [1e-5] * 6 + [1e-3] * 3


def test_a_difference_above_its_bound_is_an_error(monkeypatch, tmp_path, capsys):
    few = [replace(CASES[0], bound=1e-9), CASES[1]]
    monkeypatch.setattr(parity, "cases", lambda: few)
    assert parity.main(["--out", str(tmp_path / "parity.md")]) == 1
    said = capsys.readouterr()
    assert said.err.endswith("above their bounds: train_forward_depth\n")
    assert (tmp_path / "parity.md").read_text() in said.out
