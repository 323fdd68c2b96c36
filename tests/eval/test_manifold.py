"""Is every ball the one that float64 finds over all pairs, in every arithmetic and on any kind of feature?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eval.manifold.bounds import Frame, products
from eval.manifold.manifold import FORMATS, Manifold
from tests.programs import launched


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) squared, over differences in float64."""
    return ((a[:, None].astype(np.float64) - b[None].astype(np.float64)) ** 2).sum(-1)


def squared_radii(rows: np.ndarray, k: int) -> np.ndarray:
    d = distances(rows, rows)
    np.fill_diagonal(d, np.inf)
    return np.sort(d, 1)[:, k - 1]


def brute(real: np.ndarray, generated: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """All metrics by the definitions, over the whole matrix."""
    r, s, d = squared_radii(real, k), squared_radii(generated, k), distances(generated, real)
    inside = d < r
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt(np.where(r <= np.quantile(r, 0.5, method="lower"), r, 0) / d)
    return {
        "rarity": np.sqrt(np.where(inside, r, np.inf).min(1)),
        "num_balls": inside.sum(1),
        "covered": inside.any(0),
        "in_manifold": inside.any(1),
        "recalled": (d < s[:, None]).any(0),
        "realism": np.nanmax(ratio, 1),
    }


def clusters(num: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num, width)) * rng.choice([0.05, 1.0], (num, 1)) + 3 * rng.integers(
        0, 3, (num, 1)
    )


KINDS = {
    "clusters": lambda num, seed: clusters(num, 24, seed).astype(np.float32),
    "float64": lambda num, seed: clusters(num, 24, seed),
    "half": lambda num, seed: clusters(num, 24, seed).astype(np.float16),
    "far from zero": lambda num, seed: (clusters(num, 24, seed) + 5e3).astype(np.float32),
    "huge": lambda num, seed: (clusters(num, 24, seed) * 1e30).astype(np.float32),
    "tiny": lambda num, seed: clusters(num, 24, seed) * 1e-60,
    "many ties": lambda num, seed: np.random.default_rng(seed).integers(0, 3, (num, 6)).astype(np.float32),
    "one number": lambda num, seed: np.random.default_rng(seed).normal(size=(num, 1)).astype(np.float32),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("arithmetic", FORMATS)
def test_equals_brute_force(kind, arithmetic):
    # An even number, so that the median of the radii lies between two.
    real, generated = KINDS[kind](158, 0), KINDS[kind](101, 1)
    manifold = Manifold(real, (5, 1, 2), arithmetic=arithmetic, block=48)
    assert manifold.ks == (1, 2, 5)
    for k, radii, found in zip(manifold.ks, manifold.radii, manifold.compare(generated), strict=True):
        expected = brute(real, generated, k)
        np.testing.assert_allclose(radii, np.sqrt(squared_radii(real, k)), rtol=1e-12)
        for name in ("num_balls", "covered", "in_manifold", "recalled"):
            np.testing.assert_array_equal(getattr(found, name), expected[name], err_msg=name)
        np.testing.assert_allclose(
            np.nan_to_num(found.rarity, nan=np.inf), expected["rarity"], rtol=1e-12, err_msg="rarity"
        )
        np.testing.assert_allclose(found.realism, expected["realism"], rtol=1e-12, err_msg="realism")


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))],
)
def test_arithmetic_block_and_device_change_no_bit(device):
    real, generated = clusters(200, 40, 2).astype(np.float32), clusters(150, 40, 3).astype(np.float32)
    expected = Manifold(real, (3,), arithmetic="float64", block=1000)
    one = expected.compare(generated)[0]
    several = [("auto", 90), ("float64", 77), ("float32", 19)]
    several += [("bfloat16", 77)] if device == "cpu" else []
    for arithmetic, block in several:
        manifold = Manifold(real, (3,), arithmetic=arithmetic, block=block, device=device)
        np.testing.assert_array_equal(manifold.radii, expected.radii)
        other = manifold.compare(generated)[0]
        for name in ("rarity", "realism", "num_balls", "covered", "in_manifold", "recalled"):
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name), err_msg=name)


@pytest.mark.parametrize("arithmetic", FORMATS)
@pytest.mark.parametrize("kind", ["clusters", "far from zero", "huge", "float64"])
def test_no_distance_leaves_its_bracket(kind, arithmetic):
    """The bounds themselves, pair by pair; and that they are no wider than 1% of the norms."""
    rows = [torch.from_numpy(KINDS[kind](60, seed)) for seed in (4, 5)]
    frame = Frame.about(rows, FORMATS[arithmetic], torch.device("cpu"))
    a, b = (frame.bounded(each) for each in rows)
    with products(frame.dtype):
        lower = (frame.cast(a.rows) * -2) @ frame.cast(b.rows).T + a.low[:, None] + b.low
    low, high = frame.bracket(lower, a.width[:, None] + b.width, a.extra[:, None] + b.extra)
    exact = distances(rows[0].numpy(), rows[1].numpy()) * frame.scale**2
    assert (low.numpy() <= exact).all()
    assert (exact <= high.numpy()).all()
    norms = sum(((r.double() - frame.shift.double()) * frame.scale).square().sum(1).max() for r in rows)
    assert float((high - low).max()) < 0.02 * float(norms)
    reach = frame.threshold(torch.from_numpy(exact))
    assert (lower < reach).all()


def test_the_global_setting_of_products_comes_back():
    before = torch.get_float32_matmul_precision()
    with products(torch.bfloat16):
        assert torch.get_float32_matmul_precision() == "medium"
    assert torch.get_float32_matmul_precision() == before


def test_equals_prdc_and_torch_fidelity(oracles):
    found = Manifold(oracles["real"], (3, 5)).compare(oracles["fake"])
    numbers = [(each.precision, each.recall, each.density, each.coverage) for each in found]
    np.testing.assert_allclose(numbers, oracles["prdc"], rtol=1e-12)
    closed = Manifold(oracles["real"]).compare(oracles["fake"], closed=True, realism=False)[0]
    np.testing.assert_allclose(
        (closed.precision, closed.recall), oracles["torch_fidelity_precision_recall"], rtol=1e-6
    )
    assert closed.realism is None


def test_a_border_is_outside_unless_closed():
    real = np.array([[0.0], [1.0], [3.0], [30.0]])
    generated = np.array([[57.0], [200.0]])  # 57 is as far from 30 as its neighbour 3
    manifold = Manifold(real, (1,))
    (open_,), (closed,) = (manifold.compare(generated, recall=False, closed=c) for c in (False, True))
    assert manifold.radii.tolist() == [[1, 1, 2, 27]]
    assert open_.in_manifold.tolist() == [False, False]
    assert closed.in_manifold.tolist() == [True, False]
    assert np.isnan(closed.rarity).all()
    assert closed.recall is None


def test_a_copy_of_a_real_is_in_its_ball_and_infinitely_realistic():
    real = clusters(80, 8, 6)
    found = Manifold(real).compare(real[:5], recall=False, realism_quantile=1.0)[0]
    assert np.isinf(found.realism).all()
    assert (found.rarity <= Manifold(real).radii[0, :5]).all()


def test_duplicates_are_counted_and_their_balls_are_empty():
    real = np.concatenate([clusters(40, 8, 7), np.ones((4, 8))])
    manifold = Manifold(real, (3, 4))
    assert manifold.num_zero_radii == (4, 0)
    copy, _ = manifold.compare(np.ones((1, 8)), recall=False)
    assert copy.num_balls[0] == (np.sqrt(distances(np.ones((1, 8)), real)[0]) < manifold.radii[0]).sum()
    far = np.concatenate([clusters(40, 8, 7), np.full((4, 8), 1e3)])
    (open_,), (closed,) = (
        Manifold(far, (3,)).compare(far[-1:], recall=False, closed=c) for c in (False, True)
    )
    assert not open_.in_manifold[0]
    assert closed.in_manifold[0], "0 <= 0, as the published code counts"
    assert np.isnan(closed.rarity[0])
    assert closed.num_balls[0] == 0


@pytest.mark.parametrize("arithmetic", FORMATS)
def test_closed_balls_are_those_of_the_definition_where_features_repeat(arithmetic):
    """Many distances are equal, to radii of 0 among others."""
    rng = np.random.default_rng(8)
    real, generated = (rng.integers(0, 3, (num, 4)).astype(np.float32) for num in (90, 70))
    real[:30] = 100 + real[:30].clip(0, 1)
    generated[:10] = real[:10]
    for k in (1, 3, 8):
        found = Manifold(real, (k,), arithmetic=arithmetic).compare(generated, realism=False, closed=True)[0]
        d, r, s = distances(generated, real), squared_radii(real, k), squared_radii(generated, k)
        assert k > 1 or (r == 0).any()
        np.testing.assert_array_equal(found.in_manifold, (d <= r).any(1))
        np.testing.assert_array_equal(found.recalled, (d <= s[:, None]).any(0))
        np.testing.assert_array_equal(found.num_balls, (d < r).sum(1))


def test_memory_maps_are_read_in_place(tmp_path):
    np.save(tmp_path / "real.npy", clusters(60, 8, 8))
    mapped = np.load(tmp_path / "real.npy", mmap_mode="r")
    np.testing.assert_array_equal(Manifold(mapped).radii, Manifold(clusters(60, 8, 8)).radii)


GOOD = clusters(20, 4, 9)


def with_value(value: float) -> np.ndarray:
    rows = GOOD.copy()
    rows[7, 2] = rows[9, 0] = value
    return rows


@pytest.mark.parametrize(
    "real, generated, options, text",
    [
        (GOOD[:3], GOOD, {}, "the real set has 3 features; k = 3 needs at least 4"),
        (GOOD, GOOD[:3], {}, r"the generated set \(for recall\) has 3 features; k = 3 needs at least 4"),
        (GOOD, GOOD, {"ks": (0,)}, "k is 0; expected at least 1"),
        (GOOD, GOOD, {"ks": ()}, "k is missing"),
        (GOOD, GOOD[:, :3], {}, "real features have width 4, generated ones 3"),
        (with_value(np.nan), GOOD, {}, "real features: 2 of 20 rows hold NaN.* the first is row 7"),
        (GOOD, with_value(-np.inf), {}, "generated features: 2 of 20 rows hold NaN"),
        (GOOD, with_value(1e120), {}, "beyond 1e.100"),
        (np.ones((9, 4)), GOOD, {}, "all 9 radii are 0 at k = 3"),
        (GOOD[0], GOOD, {}, r"real features has shape \(4,\); expected \(N, D\)"),
        (GOOD.astype(int), GOOD, {}, "real features holds int64; expected floats"),
        (GOOD.tolist(), GOOD, {}, "real features is a list"),
        (GOOD, GOOD, {"arithmetic": "int8"}, "arithmetic is 'int8'; known: auto, bfloat16"),
        (GOOD, GOOD, {"block": 0}, "block is 0"),
    ],
)
def test_bad_input_is_refused(real, generated, options, text):
    with pytest.raises(ValueError, match=text):
        Manifold(real, **options).compare(generated)


def test_realism_quantile_is_checked():
    with pytest.raises(ValueError, match="realism_quantile is 0; expected above 0"):
        Manifold(GOOD).compare(GOOD, realism_quantile=0)


PROGRAM = """
import atexit
import sys
import numpy as np
import torch.distributed
from unicon.processes import processes
from eval.manifold.manifold import Manifold
from tests.eval.test_manifold import clusters

atexit.register(lambda: print("stands\\n" if torch.distributed.is_initialized() else "parted\\n", end=""))
state = processes()
real, generated = clusters(203, 16, 0), clusters(150, 16, 1)
found = Manifold(real, (1, 3), block=64, processes=state).compare(generated)
np.savez(f"{sys.argv[1]}/{state.process_index}.npz", *(
    getattr(each, name) for each in found
    for name in ("rarity", "num_balls", "covered", "in_manifold", "realism", "recalled")
))
"""


@pytest.mark.slow
def test_three_processes_find_what_one_does(tmp_path):
    from unicon.cli import launch
    from unicon.cli import main as cli

    (tmp_path / "program.py").write_text(PROGRAM)
    options = launch.launch_options(cli.parse(["eval", "--processes", "3"]))
    codes = launched(tmp_path / "program.py", [str(tmp_path)], options, tmp_path / "log")
    assert codes == [0, 0, 0], (tmp_path / "log").read_text()
    said = (tmp_path / "log").read_text()
    assert said.split().count("parted") == 3, "a group that stands at the end may abort its process"
    expected = [
        getattr(each, name)
        for each in Manifold(clusters(203, 16, 0), (1, 3)).compare(clusters(150, 16, 1))
        for name in ("rarity", "num_balls", "covered", "in_manifold", "realism", "recalled")
    ]
    for process in range(3):
        with np.load(tmp_path / f"{process}.npz") as found:
            for number, one in enumerate(expected):
                np.testing.assert_array_equal(found[f"arr_{number}"], one)
