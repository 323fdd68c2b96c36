"""Do maps of known quality get the scores they must?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eval.protocols.map_scores import (
    agreement,
    choose_threshold,
    nearer_than_sky,
    score,
    score_coverage,
    score_pose,
    typical_range,
)
from unicon.conditions.palettes import depth_to_map
from unicon.conditions.pose import draw_pose
from unicon.data.scenes import FAR_M


def figure(x: float = 60.0) -> np.ndarray:
    """A figure with arms and legs spread, 18 visible joints."""
    spots = [
        (0, -40), (0, -28), (-10, -28), (-24, -22), (-36, -14), (10, -28), (24, -22), (36, -14), (-7, 0),
        (-10, 20), (-12, 40), (7, 0), (10, 20), (12, 40), (-3, -44), (3, -44), (-7, -42), (7, -42),
    ]  # fmt: skip
    return np.array([(x + dx, 62 + dy, 1.0) for dx, dy in spots])


def test_the_exact_maps_score_best(splits):
    depth = score("depth", splits.test.maps("depth"), splits.test)
    assert depth.abs_rel < 0.1
    assert depth.num == 4
    assert score("edge", splits.test.maps("edge"), splits.test).f1 == 1.0


def test_half_precision_maps_score_like_single(splits):
    maps = splits.test.maps("depth")
    exact, half = (score("depth", m, splits.test).abs_rel for m in (maps, maps.astype(np.float16)))
    assert half == pytest.approx(exact, abs=1e-3)


def test_depth_leaves_out_the_sky_and_fits_scale_and_shift(splits):
    metres = splits.test.metres[:1].copy()
    metres[0] = np.linspace(1, 3, metres[0].size).reshape(metres[0].shape)
    metres[0, :8] = FAR_M
    scenes = replace(splits.test.take([0]), metres=metres)
    maps = 1 - np.where(metres == FAR_M, 0.123, metres * 0.2 + 0.1)[..., None].repeat(3, axis=-1)
    assert nearer_than_sky(metres[0]).mean() == 0.75
    assert score("depth", maps, scenes).abs_rel < 1e-6


def test_pose_is_read_from_the_drawing():
    drawing = draw_pose([figure()], 128)[None]
    assert score_pose(drawing, [figure()[None]]).pck == 1.0
    assert score_pose(drawing, [figure(100.0)[None]]).pck < 0.5
    empty = score_pose(drawing, [np.zeros((0, 18, 3))])
    assert (empty.pck, empty.found, empty.num) == (None, None, 0)


def test_the_threshold_fits_the_maps_brightness(splits):
    faint = splits.test.maps("edge") * 0.35
    chosen = choose_threshold("edge", faint, splits.test)
    assert chosen <= 0.35
    assert score("edge", faint, splits.test, chosen).f1 == 1.0
    assert choose_threshold("depth", faint, splits.test) == 0.5


def test_a_map_agrees_with_itself_and_not_with_another(splits):
    for condition in ("depth", "edge"):
        maps = splits.test.maps(condition)
        own = agreement(condition, maps, maps, splits.test, 0.5)
        other = agreement(condition, np.roll(maps, 1, axis=0), maps, splits.test, 0.5)
        if condition == "depth":
            assert own.abs_rel < 1e-6 < other.abs_rel
        else:
            assert own.f1 > 0.95 > other.f1
    drawing = draw_pose([figure()], 128)[None]
    assert agreement("pose", drawing, drawing, splits.test, 0.5).pck == 1.0


def test_typical_range_is_where_depth_maps_begin_and_end(splits):
    near, far = typical_range(splits.test.take([0]))
    shown = depth_to_map(splits.test.metres[0])[..., 0]
    assert near == pytest.approx(splits.test.metres[0][shown == 1].max(), rel=0.1)
    assert 0 < near < far <= FAR_M


def test_an_honest_ensemble_covers_its_level(splits):
    rng = np.random.default_rng(0)
    scenes = splits.test.take([0])
    middle = rng.uniform(2, 8, scenes.metres.shape)
    truth, *members = (middle + rng.normal(0, 0.2, middle.shape) for _ in range(20))
    members = 1 - np.stack(members) / 10
    covered = score_coverage(members, replace(scenes, metres=truth.astype(np.float32)))
    assert covered.interval_coverage_all == pytest.approx(0.9, abs=0.03)
    assert covered.interval_coverage == pytest.approx(0.9, abs=0.04)
    assert 0.5 < covered.width_m < 1.0


def test_counts_that_differ_are_refused(splits):
    with pytest.raises(ValueError, match="got 3 maps for 4 scenes"):
        score("depth", splits.test.maps("depth")[:3], splits.test)
