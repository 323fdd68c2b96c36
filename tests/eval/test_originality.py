"""Are planted copies found and fresh pictures left in peace, and does the page hold what it promises?"""

from __future__ import annotations

import csv
import json
import re
import runpy
from dataclasses import replace
from itertools import product

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from eval import __main__ as front
from eval.features import Extractor, FeatureSet
from eval.manifold.differentiable import soft_rarity
from eval.manifold.manifold import Manifold
from eval.originality.assessment import Assessment, assess
from eval.originality.copies import judge
from eval.originality.look import OVERLAY_SIDES_PX, Looks, describe, nearest_look
from eval.originality.look import _contours as contours
from eval.originality.look import _overlay as overlay
from eval.originality.nearest import Near, Nearest, nearest_meaning
from eval.originality.selection import Gate, keep_rarest, rarest_true
from eval.originality.sight import Sight
from eval.originality.truncation import how_many_matched, matched
from eval.originality.truth import judged
from eval.pictures import Pictures, find_pictures
from eval.rarity import Rarity, rarity_score
from tests.commands import refusal
from tests.programs import ROOT

NUM = 100
CHANGES = runpy.run_path(str(ROOT / "benchmarks" / "copies.py"))["CHANGES"]


def drawing(seed: int) -> Image.Image:
    """A few random shapes on a random ground: quick to make, and no two alike."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (64, 64), tuple(rng.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(picture)
    for _ in range(6):
        left, top, width, height = rng.integers(4, 44, 4).tolist()
        box, colour = (left, top, left + width, top + height), tuple(rng.integers(0, 256, 3).tolist())
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=colour)
    return picture


@pytest.fixture(scope="module")
def training() -> list[Image.Image]:
    return [drawing(seed) for seed in range(NUM)]


@pytest.fixture(scope="module")
def looks(training) -> Looks:
    return describe(training)


@pytest.fixture(scope="module")
def own(looks) -> np.ndarray:
    return nearest_look(looks, looks, same=True)[0]


LAST = "all at once"
KINDS = [*(pytest.param(name, marks=pytest.mark.slow) for name in CHANGES if name != LAST), LAST]


@pytest.mark.parametrize("change", KINDS)
def test_changed_copies_lead_back_to_their_original(training, looks, own, change):
    rng = np.random.default_rng(0)
    changed = [CHANGES[change](picture, rng) for picture in training[:20]]
    distances, places = nearest_look(describe(changed), looks)
    found = judge(distances, places, own, level=0.01)
    assert (places == np.arange(20)).mean() >= 0.95
    assert found.is_copy.mean() >= 0.95


def test_fresh_pictures_are_accused_at_about_the_level(looks, own):
    fresh = describe([drawing(seed) for seed in range(1000, 1060)])
    found = judge(*nearest_look(fresh, looks), own, level=0.05)
    assert found.is_copy.mean() < 0.12
    assert 0.2 < found.shares.mean() < 0.8  # as far from the set as its own members are from each other


def test_a_flat_picture_looks_like_nothing(looks):
    flat = [Image.new("RGB", (40, 40), (90, 90, 90)), Image.new("RGB", (40, 40), (91, 90, 90))]
    assert nearest_look(describe(flat), looks)[0].min() > 0.9


def test_overlays_correlate_as_opencv_does(looks):
    plane, others = looks.planes[0], looks.planes[1:3]
    best = [-1.0, -1.0]
    for version, side in product((plane, plane[:, ::-1].copy()), OVERLAY_SIDES_PX):
        small = cv2.resize(version, (side, side), interpolation=cv2.INTER_AREA)
        for n, other in enumerate(others):
            pairs = ((other.astype(np.float32), small.astype(np.float32)), (contours(other), contours(small)))
            maps = [cv2.matchTemplate(ground, moved, cv2.TM_CCOEFF_NORMED) for ground, moved in pairs]
            best[n] = max(best[n], float(np.mean(maps, axis=0).max()))
    np.testing.assert_allclose(overlay(plane, others), best, atol=1e-4)


def test_nearest_by_meaning_is_the_largest_cosine():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(30, 6)).astype(np.float32), rng.normal(size=(50, 6)).astype(np.float32)
    cosine = (a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T
    longer = b * 7
    longer.setflags(write=False)  # as a memory map is
    distance, place = nearest_meaning(a, longer)
    np.testing.assert_array_equal(place, cosine.argmax(1))
    np.testing.assert_allclose(distance, 1 - cosine.max(1), atol=1e-6)
    assert (nearest_meaning(a, a, same=True)[1] != np.arange(30)).all()


@pytest.fixture(scope="module")
def folders(training, tmp_path_factory):
    """A training folder, and generated pictures: a mirrored copy, then fresh ones."""
    root = tmp_path_factory.mktemp("originality")
    generated = [
        training[7].transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        *(drawing(s) for s in range(500, 511)),
    ]
    for name, pictures in (("training", training[:40]), ("generated", generated)):
        (root / name).mkdir()
        for number, picture in enumerate(pictures):
            picture.save(root / name / f"{number:03d}.png")
    return root


def test_a_copy_is_named_with_its_original(folders):
    found = assess(
        find_pictures(folders / "generated"), find_pictures(folders / "training"), Extractor(),
        level=0.05, truncation={"000.png": 0.5}, sight=Sight(folders / "cache"),
    )  # fmt: skip
    copy, *others = found.rows
    assert copy.is_copy
    looks = [row.training.look for row in found.rows]
    assert (looks[0].name, copy.truncation) == ("007.png", 0.5)
    assert looks[0].distance < min(look.distance for look in looks[1:]) / 5
    assert found.num_copies == sum(look.is_copy for look in looks)
    assert [row.rarity is None for row in found.rows] == (~found.rarity.in_manifold).tolist()
    assert all(row.truncation is None for row in others)
    words = {(False, False): "", (True, True): "", (True, False): "looks copied, means something else",
             (False, True): "means the same, looks different"}  # fmt: skip
    for row, look in zip(found.rows, looks, strict=True):
        assert row.training.disagreement == words[look.is_copy, row.training.meaning.is_copy]
    kept = rarest_true(found, 3)
    assert len(kept.places) <= 3
    assert 0 not in kept.places


@pytest.fixture(scope="module")
def cloud(training) -> Assessment:
    """30 generated ones of one normal law with 40 reals; the first two look like the first two reals."""
    rng = np.random.default_rng(0)
    rows = {"real": rng.normal(size=(40, 3)), "generated": rng.normal(size=(30, 3))}
    pictures = {
        "real": training,
        "generated": [*training[:2], *(drawing(seed) for seed in range(2000, 2028))],
    }

    def extractor(given: Pictures) -> FeatureSet:
        kind = given.names[0].split("_")[0]
        return FeatureSet(values=rows[kind].astype(np.float32), names=given.names, source="normal")

    generated, real = (
        Pictures(tuple(f"{kind}_{n}" for n in range(len(rows[kind]))), pictures[kind].__getitem__)
        for kind in ("generated", "real")
    )
    return assess(generated, real, extractor, level=0.05)  # pyright: ignore[reportArgumentType]


def test_the_kept_are_rarer_than_the_others_in_the_manifold(cloud):
    chosen = rarest_true(cloud, 5)
    kept = [cloud.rows[place] for place in chosen.places]
    rarities = [row.rarity for row in kept]
    others = [r.rarity for r in cloud.rows if r not in kept and r.rarity is not None and not r.is_copy]
    assert len(kept) == 5
    assert not any(row.is_copy for row in kept)
    assert rarities == sorted(rarities, reverse=True)
    assert min(rarities) >= max(others)
    assert min(rarities) > np.median(cloud.rarity.radii)
    assert str(chosen).startswith("kept 5 of 30: ")
    assert [chosen.verdicts[place] for place in chosen.places] == ["kept"] * 5
    assert chosen.verdicts.count("less rare") == len(others)


def test_of_outputs_that_repeat_each_other_the_rarest_is_kept(cloud):
    rarest, second, third = (int(place) for place in rarest_true(cloud, 3).places)

    def like(place: int) -> Nearest:
        near = Near(name=cloud.rows[place].name, distance=0.0, share=0.0, is_copy=True)
        return Nearest(meaning=near, look=near)

    rows = list(cloud.rows)
    rows[rarest] = replace(rows[rarest], same_prompt=like(second))  # the second's own nearest is another
    found = replace(cloud, rows=tuple(rows))
    chosen = rarest_true(found, 2)
    assert chosen.places.tolist() == [rarest, third]
    assert chosen.verdicts[second] == "near-copies of a rarer one of the same prompt"
    off = np.ones(len(rows))
    off[rarest] = 0
    truth = judged("taste", "votes", off, by="people", given=0.5)
    assert rarest_true(found, 2, [truth]).places.tolist() == [second, third]


def test_fewer_than_asked_for_are_told_with_the_reason(cloud):
    kept = rarest_true(cloud, 1000)
    outside = sum(row.rarity is None for row in cloud.rows)
    copies = sum(row.is_copy and row.rarity is not None for row in cloud.rows)
    assert outside > 0
    assert copies > 0
    assert len(kept.places) == 30 - outside - copies
    assert str(kept) == (
        f"kept {len(kept.places)} of 30, 1000 were asked for: {outside} outside the manifold; {copies} "
        "near-copies of training pictures"
    )


def test_the_command_writes_a_page_and_a_table(folders, tmp_path, capsys):
    (tmp_path / "psi.csv").write_text("name,truncation\n000.png,0.7\n001.png,1\n")
    sources = ["--generated", str(folders / "generated"), "--training", str(folders / "training")]
    out, psi = ["--out", str(tmp_path / "out")], ["--truncation", str(tmp_path / "psi.csv")]
    level = ["--level", "0.05", "--device", "cpu", "--cache", str(folders / "cache")]
    assert front.main(["originality", *sources, *out, *psi, *level, "--keep", "2"]) == 0
    printed = capsys.readouterr().out
    assert "near-copies by look at a false alarm rate of 0.05" in printed
    assert re.search(r"^kept \d of 12", printed, re.MULTILINE)
    rows = list(csv.DictReader((tmp_path / "out" / "originality.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == [f"{n:03d}.png" for n in range(12)]
    assert rows[0]["is_copy_by_look"] == "True"
    assert (rows[0]["truncation"], rows[5]["truncation"]) == ("0.7", "")
    page = (tmp_path / "out" / "originality.html").read_text()
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []  # nothing outside the page
    assert page.count("Sorted by") == 3
    assert page.count("near-copy</span>") >= 1
    assert (tmp_path / "out" / "rarest.txt").exists()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["numbers"]["near_copies"] == sum(row["is_copy_by_look"] == "True" for row in rows)
    assert report["settings"]["false_alarms"] == 0.05
    assert report["versions"]["torch"]
    (tmp_path / "psi.csv").write_text("name,truncation\n000.png,much\n")
    assert "psi.csv, line 2: could not convert" in refusal(capsys, "originality", *sources, *out, *psi)


def test_truncation_finds_pictures_by_file_and_by_stem():
    names = ("p_0.png", "p_0.5.png", "sub/p_1.jpg", "p_2.png")
    given = {"p_0": 0.1, "p_0.5": 0.2, "p_1.jpg": 0.3, "other": 0.4}
    assert matched(given, names, "psi.csv") == {"p_0.png": 0.1, "p_0.5.png": 0.2, "sub/p_1.jpg": 0.3}
    assert how_many_matched(given, matched(given, names, "psi.csv"), names, "psi.csv") == (
        "truncation of 3 of 4 pictures is known; 1 of 4 names in psi.csv are no generated picture's\n"
    )
    assert how_many_matched({"p_0": 0.1}, {"p_0.png": 0.1}, names[:1], "psi.csv") == ""
    with pytest.raises(ValueError, match=r"psi.csv: none of its 1 names, such as 'q', .* named as 'p_0.png'"):
        matched({"q": 1.0}, names, "psi.csv")


def test_what_cannot_be_judged_is_refused_before_anything_is_embedded(folders, tmp_path, capsys):
    def never(_: Pictures) -> FeatureSet:
        raise AssertionError("embedded")

    sides = [find_pictures(folders / side) for side in ("generated", "training")]
    with pytest.raises(ValueError, match=r"40 training pictures cannot tell a level of 0.01"):
        assess(*sides, never)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="the training set has 40 features; k = 40 needs at least 41"):
        assess(*sides, never, k=40, level=0.05)  # pyright: ignore[reportArgumentType]
    (tmp_path / "psi.csv").write_text("name,truncation\nnobody,1\n")
    where = ["--generated", str(folders / "generated"), "--training", str(folders / "training")]
    for options, why in (
        (["--truncation", str(tmp_path / "psi.csv")], "none of its 1 names"),
        (["--keep", "0"], "number to keep is 0"),
    ):
        assert why in refusal(capsys, "originality", *where, "--out", tmp_path / "out", *options)


def test_judging_needs_enough_pictures():
    with pytest.raises(
        ValueError, match="20 training pictures cannot tell a level of 0.01; give at least 100"
    ):
        judge(np.zeros(2), np.zeros(2), np.ones(20))
    with pytest.raises(ValueError, match="level is 1; it must lie strictly between"):
        judge(np.zeros(2), np.zeros(2), np.ones(20), level=1)
    with pytest.raises(ValueError, match="no pictures to describe"):
        describe([])
    one = describe([drawing(0)])
    with pytest.raises(ValueError, match="1 pictures to compare with; expected at least 2"):
        nearest_look(one, one, same=True)


def test_the_rarest_are_kept_while_they_can_pass_for_real():
    scores = np.array([3.0, np.nan, 9.0, 5.0, 7.0])
    rarity = Rarity(scores=scores, radii=np.ones(4), k=3, features="none")
    assert keep_rarest(rarity, 3).places.tolist() == [2, 4, 3]
    true = Gate(reason="off", passes=np.array([2.0, 2.0, 0.5, 1.0, 2.0]) >= 1)
    assert keep_rarest(rarity, 9, [true]).places.tolist() == [4, 3, 0]
    found = keep_rarest(rarity, 1, [true, Gate(reason="copies", passes=np.arange(5) % 2 == 1)])
    assert found.places.tolist() == [3]
    assert found.verdicts == ("copies", "outside the manifold", "off", "kept", "copies")
    assert str(found) == "kept 1 of 5: 1 outside the manifold; 1 off; 2 copies"
    with pytest.raises(ValueError, match="number to keep is 0"):
        keep_rarest(rarity, 0)
    with pytest.raises(ValueError, match=r"gate 'off' has shape \(2,\) for 5 samples"):
        keep_rarest(rarity, 1, [Gate(reason="off", passes=np.zeros(2, bool))])


def real_and_generated() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    noise = torch.Generator().manual_seed(0)
    real = torch.randn(60, 4, generator=noise, dtype=torch.float64)
    generated = 0.8 * torch.randn(25, 4, generator=noise, dtype=torch.float64)
    return real, torch.from_numpy(Manifold(real).radii[0]), generated


def test_soft_rarity_tends_to_the_hard_score():
    real, radii, generated = real_and_generated()
    hard = rarity_score(real, generated)
    errors = []
    inside = torch.from_numpy(hard.in_manifold)
    for width in (0.1, 0.01, 1e-5):
        soft = soft_rarity(generated, real, radii, temperature=width, softness=width**2 / 10)
        errors.append(np.abs(soft.score.numpy() - hard.scores)[hard.in_manifold])
    assert errors[0].mean() > errors[1].mean() > errors[2].mean()
    assert errors[2].max() < 1e-4
    assert soft.membership[inside].min() > 0.99
    assert soft_rarity(generated + 20, real, radii, temperature=0.1, softness=0.01).membership.max() < 1e-9


def test_gradients_of_soft_rarity_are_those_of_finite_differences():
    real, radii, generated = real_and_generated()
    generated.requires_grad_(True)

    def both(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = soft_rarity(x, real, radii, temperature=0.2, softness=0.1)
        return found.score, found.membership

    assert torch.autograd.gradcheck(both, (generated,), eps=1e-6, rtol=1e-5, atol=1e-7)
    (gradient,) = torch.autograd.grad(both(generated)[0].sum(), generated)
    assert gradient.abs().sum(1).min() > 0
    generated = generated.detach()
    assert float(both(generated + 1e-3 * gradient)[0].sum()) > float(both(generated)[0].sum())


def test_bad_softness_is_refused():
    real, radii, generated = real_and_generated()
    with pytest.raises(ValueError, match="softness 0 must be above 0"):
        soft_rarity(generated, real, radii, temperature=1, softness=0)
    with pytest.raises(ValueError, match=r"expected \(M, D\), \(N, D\), \(N,\)"):
        soft_rarity(generated, real, radii[:5], temperature=1, softness=1)
    with pytest.raises(ValueError, match="every radius is 0"):
        soft_rarity(generated, real, 0 * radii, temperature=1, softness=1)


def test_pictures_may_come_from_memory(training):
    held = Pictures(("a", "b"), lambda n: training[n])
    found = Extractor()(held)
    assert found.names == ("a", "b")
    alone = Extractor()(Pictures(("b",), lambda n: training[1])).values
    np.testing.assert_allclose(found.values[1:], alone, atol=1e-4)
    assert not np.array_equal(found.values[0], found.values[1])
