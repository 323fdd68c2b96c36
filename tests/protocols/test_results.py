"""Do records keep mean, deviation and N, and tables show the newest of them?"""

from __future__ import annotations

import pytest

from eval.protocols import results
from eval.protocols.map_scores import DepthScore, PoseScore
from eval.protocols.results import Outcome, numbers_of, record, save, tables


def depth(abs_rel: float) -> DepthScore:
    return DepthScore(abs_rel=abs_rel, delta1=0.9, num=7)


def test_numbers_are_means_and_deviations_over_seeds():
    numbers = numbers_of([depth(0.1), depth(0.2)])
    assert numbers["abs_rel"] == pytest.approx(0.15)
    assert numbers["abs_rel_deviation"] == pytest.approx(0.0707, abs=1e-4)
    assert numbers["num"] == 7
    assert "num_deviation" not in numbers


def test_one_seed_has_no_deviation_and_undefined_numbers_are_left_out():
    assert numbers_of([PoseScore(pck=None, found=None, num=0)]) == {"num": 0}


def test_a_table_shows_rows_in_order_and_the_newest_of_equal_ones(tmp_path, capsys):
    settings = {"steps": 20}
    rows = [("adapter", [0.5]), ("mean map", [0.3]), ("adapter", [0.1, 0.2])]
    records = [
        record("scenes/estimate/depth", Outcome(prediction=n, scores=[depth(v) for v in s]), settings)
        for n, s in rows
    ]
    save(tmp_path / "new" / "out.jsonl", records)
    assert results.main([str(tmp_path / "new" / "out.jsonl")]) == 0
    text = capsys.readouterr().out
    assert text.strip() == tables(records)
    assert text.startswith("### scenes/estimate/depth\n\nsteps 20; commit ")
    assert "| adapter | 2 | 0.150 ± 0.071 | 0.900 ± 0.000 | 7 |" in text
    assert "| mean map | 1 | 0.300 | 0.900 | 7 |" in text
    assert "0.500" not in text
    assert text.index("adapter") < text.index("mean map")


def test_settings_that_differ_become_columns_and_replace_no_row():
    records = [
        record("x", Outcome(prediction="adapter", scores=[depth(v)]), {"steps": s, "base": "b"})
        for s, v in ((4, 0.2), (20, 0.1))
    ]
    text = tables(records)
    assert "base b; commit" in text
    assert "| adapter | 4 | 1 | 0.200 |" in text
    assert "| adapter | 20 | 1 | 0.100 |" in text


def test_a_file_that_holds_no_records_is_named(tmp_path, capsys):
    (tmp_path / "bad.jsonl").write_text("{}\n")
    with pytest.raises(SystemExit) as stop:
        results.main([str(tmp_path / "bad.jsonl")])
    assert stop.value.code == 2
    assert "bad.jsonl, line 1 is not a result record" in capsys.readouterr().err
