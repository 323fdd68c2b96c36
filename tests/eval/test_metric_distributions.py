"""Are distances of laws what closed forms and torch-fidelity say?"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from eval import __main__ as front
from eval.features import FeatureSet
from eval.manifold.sets import compare_sets
from eval.metrics import distributions
from eval.metrics.distributions import (
    NormalLaw,
    cmmd,
    cubic,
    frechet_distance,
    gaussian,
    inception_score,
    kernel_distance,
    mmd,
    size_curve,
)
from eval.protocols.distributions import circumstances, distances
from eval.protocols.results import tables
from eval.protocols.strata import read_labels
from eval.rarity import rarity_score
from eval.records import Record, read
from tests.commands import refusal

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(60, 5)), RNG.normal(size=(80, 5)) * 2 + 1


def test_equal_to_torch_fidelity(oracles):
    real, generated = oracles["real"], oracles["fake"]
    found = frechet_distance(real, generated)
    assert found.distance == pytest.approx(float(oracles["fid"]), rel=1e-6)
    assert (found.num_real, found.num_generated, found.width, found.is_full_rank) == (500, 400, 64, True)
    whole = kernel_distance(real[:400], generated, num_subsets=1, subset_size=400)
    assert whole.mean == pytest.approx(float(oracles["kid"]), rel=1e-6)
    found = mmd(real[:400], generated, gaussian(10))
    assert found == pytest.approx(float(oracles["mmd_gaussian_10"]), rel=1e-6)
    score = inception_score(generated[:, :16] * 2.0)
    assert score.mean == pytest.approx(oracles["inception_score"][0], rel=1e-6)
    assert score.deviation * np.sqrt(0.9) == pytest.approx(oracles["inception_score"][1], rel=1e-6)


def test_frechet_of_moved_and_scaled_features_is_known():
    moved = frechet_distance(A, A * 3 + [1, 0, 0, 0, 2]).distance
    apart = A.mean(0) - (A * 3 + [1, 0, 0, 0, 2]).mean(0)
    assert moved == pytest.approx(apart @ apart + 4 * np.trace(np.cov(A, rowvar=False)), rel=1e-10)
    assert frechet_distance(A, A).distance < 1e-10
    assert frechet_distance(A, B).distance == pytest.approx(frechet_distance(B, A).distance, rel=1e-10)
    assert frechet_distance(A[:, :1], B[:, :1]).width == 1


def test_frechet_stays_right_where_iterations_fail():
    """Fewer samples than numbers, a few strong directions: there the trace of the root is a nuclear norm."""
    strong = RNG.normal(size=(3, 40)) * 100
    real, generated = (RNG.normal(size=(30, 3)) @ strong + 1e-4 * RNG.normal(size=(30, 40)) for _ in range(2))
    centred = [rows - rows.mean(0) for rows in (real, generated)]
    root = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum() / 29
    apart = real.mean(0) - generated.mean(0)
    expected = apart @ apart + sum(np.square(rows).sum() / 29 for rows in centred) - 2 * root
    found = frechet_distance(real, generated)
    assert found.distance == pytest.approx(expected, rel=1e-6)
    assert not found.is_full_rank


def test_cmmd_is_its_definition_whatever_the_block(monkeypatch):
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (A, B))

    def mean(p, q):
        return np.mean([[np.exp(-((u - v) @ (u - v)) / 200) for v in q] for u in p])

    expected = 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))
    assert cmmd(A, B) == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(distributions, "BLOCK", 7)
    assert cmmd(A, B) == pytest.approx(expected, rel=1e-9)
    assert cmmd(A, A * 5) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_is_unbiased_and_seeded():
    draws = [mmd(RNG.normal(size=(20, 3)), RNG.normal(size=(20, 3)), cubic) for _ in range(400)]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / 20
    assert min(draws) < 0
    one, again, other = (
        kernel_distance(A, B, num_subsets=5, subset_size=30, seed=seed) for seed in (1, 1, 2)
    )
    assert one == again != other


def test_inception_score_of_certain_and_uniform_answers():
    assert inception_score(np.eye(10)[np.arange(100) % 10] * 1000).mean == pytest.approx(10)
    assert inception_score(np.zeros((100, 7))).mean == pytest.approx(1)


def test_a_class_that_none_is_in_adds_nothing_to_the_inception_score():
    logits = np.zeros((40, 3))
    logits[:, 2] = -1000
    assert inception_score(logits).mean == pytest.approx(1)


def test_frechet_falls_with_the_number_of_samples():
    real, generated = RNG.normal(size=(3000, 8)), RNG.normal(size=(2000, 8))
    law = NormalLaw.of(real)
    found = size_curve(lambda some: law.frechet(some).distance, generated, (50, 100, 400, 2000), repeats=6)
    assert found.values[-1].mean == pytest.approx(frechet_distance(real, generated).distance), (
        "each generated one once"
    )
    assert found.values[-1].deviation == pytest.approx(0, abs=1e-9)
    means = [each.mean for each in found.values]
    assert means == sorted(means, reverse=True)
    assert abs(found.at_infinity) < means[-2] / 2


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: frechet_distance(A, B[:1]), r"generated features have shape \(1, 5\)"),
        (lambda: frechet_distance(A, B[:, :3]), "real features have width 5, generated ones 3"),
        (lambda: frechet_distance(A * np.nan, B), "real features hold NaN"),
        (lambda: kernel_distance(A, B), "100 subsets of 1000 from 60 real and 80 generated"),
        (lambda: cmmd(A, np.zeros((3, 5))), "a feature is 0 and has no direction"),
        (lambda: inception_score(A[:5]), r"logits have shape \(5, 5\) for 10 splits"),
        (
            lambda: size_curve(lambda _: 0.0, B, [10, 90]),
            r"sizes \(10, 90\) with 5 repeats of 80 generated ones",
        ),
    ],
)
def test_bad_input_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def features(rows: np.ndarray, logits: np.ndarray | None = None) -> FeatureSet:
    return FeatureSet(
        values=rows.astype(np.float32), names=tuple(map(str, range(len(rows)))), source="mine", logits=logits
    )


def test_the_deviation_of_kid_is_that_of_different_subsets():
    rng = np.random.default_rng(3)
    sets = [(rng.normal(size=(200, 4)), rng.normal(size=(200, 4)) + 0.5) for _ in range(60)]
    found = distances(*map(features, sets[0]), ks=(3,))
    over_samples = np.std([mmd(real, generated, cubic) for real, generated in sets], ddof=1)
    # Over halves without replacement it estimates that of the whole sets.
    assert found["kid_deviation"] == pytest.approx(over_samples, rel=0.4)
    assert found["kid"] == pytest.approx(mmd(*sets[0], cubic), abs=4 * found["kid_deviation"] / 10)


def test_kid_of_three_pictures_has_no_deviation():
    few = features(A[:3]), features(B[:3])
    assert "kid_deviation" not in distances(*few, ks=(1,))
    assert circumstances(*few)["kid_subsets"] == 1


def test_without_enough_pictures_the_inception_score_alone_is_left_out():
    real, generated = features(A), features(B[:9], logits=B[:9])
    found = distances(real, generated, ks=(3,))
    assert "inception_score" not in found
    assert found["frechet"] == pytest.approx(frechet_distance(A, B[:9]).distance, rel=1e-5)
    told = circumstances(real, generated)["inception_score"]
    assert told == "left out: 9 pictures are fewer than its 10 splits"
    assert "inception_score" not in circumstances(real, features(B[:10], logits=B[:10]))


def test_coverage_of_reals_is_not_called_that_of_an_interval():
    numbers = distances(features(A), features(B), ks=(3,))
    assert "| coverage |" in tables([Record(name="distributions", numbers=numbers, settings={})])


def test_the_command_writes_the_numbers_and_the_curve(tmp_path, capsys, monkeypatch):
    for name, rows in (("real", A), ("generated", B)):
        FeatureSet(
            values=rows.astype(np.float32),
            names=tuple(map(str, range(len(rows)))),
            source="mine",
            logits=rows,
        ).save(tmp_path / f"{name}.npz")
    sources = ["--real", str(tmp_path / "real.npz"), "--generated", str(tmp_path / "generated.npz")]
    more = ["--out", str(tmp_path / "out.jsonl"), "--sample-sizes", "20", "80", "--neighbours", "3", "5"]
    roots, root = [], distributions._symmetric_root
    with monkeypatch.context() as without:  # two files of features need no model
        without.setattr("eval.features.Extractor.__init__", None)
        without.setattr(distributions, "_symmetric_root", lambda c: (roots.append(c), root(c))[1])
        assert front.main(["distributions", *sources, *more, "--split", "test", "--device", "cpu"]) == 0
    assert len(roots) == 2, "of the real set, for the table and for all draws of the curve"
    printed = capsys.readouterr().out
    assert "### distributions" in printed
    assert "infinity, by a line over 1/N" in printed
    assert "| coverage_k3 |" in printed
    assert "90% interval" not in printed
    one, curve = read(tmp_path / "out.jsonl")
    assert one.numbers["frechet"] == pytest.approx(frechet_distance(A, B).distance, rel=1e-5)
    assert {"precision_k3", "recall_k5", "rarity_k3", "kid", "cmmd", "inception_score"} <= one.numbers.keys()
    assert (one.settings["split"], one.settings["features"]) == ("test", "mine")
    assert (one.settings["kid_subsets"], one.settings["kid_subset_size"]) == (100, 30)
    assert curve.name == "distributions/sizes"
    assert curve.numbers["frechet_80"] == pytest.approx(one.numbers["frechet"])
    assert curve.numbers["frechet_20_deviation"] > 0
    assert f"{curve.numbers['frechet_at_infinity']:.3f}" in printed
    why = refusal(capsys, "distributions", *sources, "--neighbours", "0")
    assert "argument --neighbours: expected a whole number from 1, got '0'" in why
    # What can be known is refused before anything is embedded.
    (tmp_path / "pictures").mkdir()
    for n in range(5):
        Image.new("RGB", (16, 16), (40 * n, 0, 0)).save(tmp_path / "pictures" / f"{n}.png")
    monkeypatch.setattr("eval.features.Extractor._batches", None)
    made = ["distributions", "--generated", str(tmp_path / "pictures"), "--device", "cpu", "--real"]
    np.save(bare := str(tmp_path / "bare.npy"), np.ones((9, 128), np.float32))
    for options, why in (
        (["nowhere"], "nowhere: no such file or folder"),
        ([sources[1], "--neighbours", "5"], "the generated set has 5 features; k = 5 needs at least 6"),
        ([sources[1], "--sample-sizes", "2", "6"], "repeats of 5 generated ones"),
        ([sources[1]], "of --real they have width 5, of --generated 128"),
        ([bare], "those of --real are bare.npy, of --generated mini, "),
    ):
        assert why in refusal(capsys, *made, *options)


def saved(path, rows: np.ndarray, names) -> str:
    FeatureSet(values=rows.astype(np.float32), names=tuple(names), source="mine").save(path)
    return str(path)


def table(path, rows: dict[str, str], column: str = "stratum") -> str:
    path.write_text("\n".join([f"name,{column}", *(f"{name},{label}" for name, label in rows.items())]))
    return str(path)


def test_strata_are_judged_within_and_among_all(tmp_path, capsys):
    rng = np.random.default_rng(0)
    common, rare = rng.normal(size=(60, 4)), rng.normal(size=(20, 4)) * 3 + 40
    kinds = {f"cat/{n}.png": "cat" for n in range(60)} | {f"emu/{n}.png": "emu" for n in range(20)}
    real = saved(tmp_path / "real.npz", np.concatenate([common, rare]), kinds)
    made = np.concatenate([common[:30] + 0.01, rare[:10] + 0.01, common[:3]])
    names = [f"p{n}" for n in range(43)]
    generated = saved(tmp_path / "generated.npz", made, names)
    of_generated = dict(zip(names, ["cat"] * 30 + ["emu"] * 10 + ["yak"] * 3, strict=True))
    tables = [table(tmp_path / "real.csv", kinds, "class"), table(tmp_path / "generated.csv", of_generated)]
    command = ["distributions", "--real", real, "--generated", generated, "--device", "cpu", "--both-ways"]
    out = tmp_path / "out.jsonl"
    assert front.main([*command, "--strata", *tables, "--neighbours", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "has 0 reals for 3 generated" in printed
    pooled, cat, emu, yak, there, back = read(out)
    assert [one.settings["stratum"] for one in (cat, emu, yak)] == ["cat", "emu", "yak"]
    alone = rarity_score(rare.astype(np.float32), (rare[:10] + 0.01).astype(np.float32)).summary
    assert emu.numbers["rarity"] == alone.mean
    assert (emu.numbers["num_real"], emu.numbers["num_generated"], emu.settings["k"]) == (20, 10, 3)
    assert emu.numbers["rarity_among_all"] > 2 * cat.numbers["rarity_among_all"]
    assert yak.numbers == {"num_real": 0, "num_generated": 3}
    assert pooled.numbers["num_generated"] == 43
    # The other way round the rare kind is the one that is missed.
    assert (there.settings["kind"], back.settings["kind"]) == ("generated in real", "real in generated")
    whole = compare_sets(np.concatenate([common, rare]).astype(np.float32), made.astype(np.float32))
    assert there.numbers["num_each"] == back.numbers["num_each"] == 43
    assert there.numbers["precision"] == whole.second_in_first.precision
    assert back.numbers["precision"] == whole.first_in_second.precision
    assert back.numbers["median_radius"] == whole.radius[1]


def test_strata_that_cannot_be_told_are_refused(tmp_path):
    real, generated = (
        saved(tmp_path / f"{n}.npz", A, [f"{k}/{n}" for k in "ab" for n in range(30)]) for n in "rf"
    )
    short = table(tmp_path / "short.csv", {"a/1": "x"})
    with pytest.raises(ValueError, match="a/0 has no stratum .*short.csv"):
        read_labels([short], real, generated, k=3)
    by_file = table(tmp_path / "by_file.csv", {f"{n}": "x" for n in range(30)})
    assert read_labels([by_file], real, generated, k=3).real == ["x"] * 60
    others = table(tmp_path / "others.csv", {f"y/{n}": "y" for n in range(30)})
    with pytest.raises(ValueError, match="a/0 has no stratum .*others.csv"):
        read_labels([others], real, generated, k=3)
    twice = table(tmp_path / "twice.csv", {"0": "y"} | {f"{n}.png": "z" for n in range(30)})
    with pytest.raises(ValueError, match="twice.csv: 0 is told 2 things, such as 'y' and 'z'"):
        read_labels([twice], real, generated, k=3)
    single = table(tmp_path / "single.csv", {f"{k}/{n}": f"{k}{n}" for k in "ab" for n in range(30)})
    with pytest.raises(
        ValueError, match="none of the 60 generated strata can be judged: .* has 1 reals, and k = 3"
    ):
        read_labels([single], real, generated, k=3)
    with pytest.raises(ValueError, match="features say no captions"):
        read_labels([], real, generated, k=3)
    with pytest.raises(ValueError, match="--strata got 3 tables"):
        read_labels([single] * 3, real, generated, k=3)


def test_strata_are_the_captions_that_lie_with_the_pictures(tmp_path):
    for name in ("flat", "pairs"):
        (tmp_path / name).mkdir()
    for n in range(4):
        picture = Image.new("RGB", (8, 8), (40 * n, 0, 0))
        picture.save(tmp_path / "flat" / f"{n}.png")
        (tmp_path / "flat" / f"{n}.txt").write_text("a cat" if n else "a dog")
    for folder in ("images", "depth", "captions"):
        (tmp_path / "pairs" / folder).mkdir()
    for n in range(3):
        for folder in ("images", "depth"):
            Image.new("RGB", (8, 8), (40 * n, 9, 9)).save(tmp_path / "pairs" / folder / f"{n}.png")
        (tmp_path / "pairs" / "captions" / f"{n}.txt").write_text("a cat")
    found = read_labels([], str(tmp_path / "pairs"), str(tmp_path / "flat"), k=2)
    assert found.real == ["a cat"] * 3
    assert found.generated == ["a dog", "a cat", "a cat", "a cat"]
    (tmp_path / "flat" / "2.txt").unlink()
    with pytest.raises(ValueError, match="not every picture says its caption"):
        read_labels([], str(tmp_path / "pairs"), str(tmp_path / "flat"), k=2)
