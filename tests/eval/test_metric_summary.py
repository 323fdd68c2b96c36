"""Are numbers summarised, tabulated and recorded so that they can be trusted and repeated?"""

from __future__ import annotations

import math

import numpy as np
import pytest

from eval import records
from eval.metrics import summary


def test_over_seeds_by_hand():
    result = summary.over_seeds([1.0, 2.0, 3.0])
    assert (result.mean, result.deviation, result.num) == (2.0, 1.0, 3)
    assert str(result) == "2.000 ± 1.000"


def test_one_seed_has_no_deviation():
    result = summary.over_seeds([0.5])
    assert math.isnan(result.deviation)
    assert str(result) == "0.500"


def test_bootstrap_matches_the_normal_interval_and_repeats():
    values = np.random.default_rng(0).normal(1, 2, 400)
    one, two = summary.bootstrap_interval(values), summary.bootstrap_interval(values)
    assert one == two
    for level, z in ((0.95, 1.960), (0.8, 1.282)):
        found = summary.bootstrap_interval(values, level=level, num_resamples=20_000)
        half = z * values.std() / 20
        assert (found.low, found.high) == pytest.approx(
            (values.mean() - half, values.mean() + half), abs=0.01
        )
    assert str(one) == f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]"


@pytest.mark.parametrize("num", [2, 3, 5, 8, 20])
def test_intervals_of_few_pictures_hold_what_they_promise(num):
    """Plain percentiles hold the mean in half of all samples of 2, and in four of five of 5."""
    rng = np.random.default_rng(num)
    found = [summary.bootstrap_interval(rng.normal(size=num), num_resamples=400) for _ in range(400)]
    share = np.mean([each.low <= 0 <= each.high for each in found])
    assert 0.87 <= share <= 0.985


def test_table():
    rows = [{"model": "a|b", "AbsRel": 0.12345, "N": 7}, {"model": "c", "AbsRel": None, "N": 70}]
    assert summary.markdown_table(rows).splitlines() == [
        "| model | AbsRel | N |",
        "| --- | --: | --: |",
        "| a\\|b | 0.123 | 7 |",
        "| c | - | 70 |",
    ]


@pytest.mark.parametrize("values, message", [([], "no values"), ([1.0, math.nan], "1 of 2 values are NaN")])
def test_bad_values_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        summary.over_seeds(values)


def test_bootstrap_needs_two():
    with pytest.raises(ValueError, match="at least two values"):
        summary.bootstrap_interval([1.0])


def test_bootstrap_level():
    with pytest.raises(ValueError, match="strictly between"):
        summary.bootstrap_interval([1.0, 2.0], level=1.5)


def test_table_needs_rows():
    with pytest.raises(ValueError, match="at least one row"):
        summary.markdown_table([])


def test_table_names_unknown_cells():
    with pytest.raises(ValueError, match="outside the columns"):
        summary.markdown_table([{"a": 1}, {"b": 2}])


def record(**numbers) -> records.Record:
    return records.Record(
        name="nyu/mean_map", numbers=numbers, settings={"alignment": "scale_shift", "N": 70}
    )


def test_records_round_trip(tmp_path):
    path = tmp_path / "new" / "results.jsonl"
    written = [record(abs_rel=0.2), record(abs_rel=0.3)]
    for one in written:
        records.append(path, one)
    assert records.read(path) == written
    assert written[0].versions["numpy"] == np.__version__
    assert written[0].commit
    assert written[0].date.endswith("+00:00")


def test_a_folder_keeps_to_what_its_results_are_of(tmp_path):
    folder = tmp_path / "out"
    for _ in range(2):
        records.keep_to(folder, {"base": "mini", "scenes": 8})
    with pytest.raises(ValueError, match="out: holds results of base mini, and this run is of other"):
        records.keep_to(folder, {"base": "other", "scenes": 8})
    with pytest.raises(ValueError, match="holds results of scenes 8, and this run is of 9"):
        records.keep_to(folder, {"base": "mini", "scenes": 9})
    records.keep_to(folder, {"base": "mini", "scenes": 8})


def test_a_failed_measurement_is_not_recorded():
    with pytest.raises(ValueError, match="abs_rel not finite"):
        record(abs_rel=math.nan)


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "results.jsonl"
    records.append(path, record(abs_rel=0.2))
    path.write_text(path.read_text() + '{"name": "x"}\n')
    with pytest.raises(ValueError, match="line 2 is not a result record"):
        records.read(path)
