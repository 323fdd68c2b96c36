"""Does the experiment on unCLIP draw what it says, go on where it stopped, and judge orderings rightly?"""

from __future__ import annotations

import re
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F

from eval import __main__ as front
from eval.protocols.scene_set import scene_set
from eval.protocols.unclip import Bench, Budget, Cell, cells, diversity, done, fingerprint, ways_of
from eval.protocols.unclip_report import RESULTS, Results, orderings, write_report
from eval.records import Record, read
from tests.pipeline.test_prior import tiny_prior
from tests.pipeline.test_prior_ar import tiny_prior_ar
from tests.tiny_base import SIDE_PX, tiny_pipeline
from tests.tiny_clip import tiny_decoder, with_clip
from unicon import UniConPipeline
from unicon.embeddings import identity

TINY = Budget(num=4, draws=2, reals=8, steps=1)


@pytest.fixture(scope="module")
def pipe(tmp_path_factory) -> UniConPipeline:
    made = with_clip(tiny_pipeline(tmp_path_factory.mktemp("words")))
    made.add_decoder(tiny_decoder(made))
    made.add_prior(tiny_prior(), identity(made.image_encoder))
    made.add_prior(tiny_prior_ar(), identity(made.image_encoder))
    return made


@pytest.fixture(scope="module")
def bench(pipe, cache) -> Bench:
    return Bench(pipe, scene_set("standard", 8, size_px=SIDE_PX, cache_folder=cache), TINY, batch_size=3)


def test_every_way_and_its_parts(pipe, tmp_path):
    assert ways_of(pipe) == ("base", "caption", "text", "prior", "prior_ar", "oracle")
    bare = with_clip(tiny_pipeline(tmp_path / "words"))
    with pytest.raises(ValueError, match="no decoder adapter to measure: give --decoder"):
        ways_of(bare)
    bare.add_decoder(tiny_decoder(bare))
    assert ways_of(bare) == ("base", "caption", "text", "oracle")
    assert ways_of(bare, ["oracle", "base"]) == ("base", "oracle")
    with pytest.raises(ValueError, match="--told prior_ar: this base has no such prior; give --prior FOLDER"):
        ways_of(bare, ["oracle", "prior_ar"])
    found = cells(("base", "text"), (1.0, 4.0), 2)
    assert len(set(found)) == len(found) == 2 * 2 * 2 * 2
    assert {cell.seed for cell in found[:8]} == {0}


def test_ways_differ_in_what_they_are_told_alone(bench, pipe):
    drawn = {w: bench.drawn(Cell(way=w, guidance=1.0, mapped=False, seed=0)) for w in ways_of(pipe)}
    assert all(each.shape == (8, 3, SIDE_PX, SIDE_PX) for each in drawn.values())
    for one, other in zip(drawn.values(), list(drawn.values())[1:], strict=False):
        assert float((one - other).abs().max()) > 1e-3
    pipe_alone = pipe(
        bench.captions[1], num_inference_steps=1, output_type="pt", like=bench.true[1:2],
        num_images_per_prompt=2, guidance_scale=1.0, generator=_own_noise(bench, 1),
    ).images  # fmt: skip
    torch.testing.assert_close(drawn["oracle"][2:4], pipe_alone, atol=1e-4, rtol=1e-4)
    own = bench._features(drawn["oracle"]).unflatten(0, (4, 2))
    pairs = [1 - float(own[i, 0] @ own[i, 1]) for i in range(4)]
    assert diversity(own) == pytest.approx(sum(pairs) / 4, abs=1e-6)
    mapped = bench.drawn(Cell(way="oracle", guidance=1.0, mapped=True, seed=0))
    assert float((mapped - drawn["oracle"]).abs().max()) > 1e-3


def test_captions_can_have_a_guidance_of_their_own(bench, pipe):
    asked = Bench.__new__(Bench)
    asked.__dict__.update(bench.__dict__, budget=replace(TINY, caption_guidance=1.0))
    cell = Cell(way="oracle", guidance=4.0, mapped=False, seed=0)
    alone = pipe(
        bench.captions[1], num_inference_steps=1, output_type="pt", like=bench.true[1:2], guidance_scale=1.0,
        like_guidance_scale=4.0, num_images_per_prompt=2, generator=_own_noise(bench, 1),
    ).images  # fmt: skip
    torch.testing.assert_close(asked.drawn(cell)[2:4], alone, atol=1e-4, rtol=1e-4)
    assert float((asked.drawn(cell) - bench.drawn(cell)).abs().max()) > 1e-3
    # Ways that are told no embedding have nothing but their caption to be guided by.
    untold = replace(cell, way="base")
    assert torch.equal(asked.drawn(untold), bench.drawn(untold))


def test_above_a_noise_nothing_is_guided(bench):
    """The one step of the budget starts at pure noise."""
    asked = Bench.__new__(Bench)
    asked.__dict__.update(bench.__dict__, budget=replace(TINY, guidance_below=0.4))
    cell = Cell(way="oracle", guidance=4.0, mapped=False, seed=0)
    assert torch.equal(asked.drawn(cell), bench.drawn(replace(cell, guidance=1.0)))
    # What is not guided at all has no part of the run to guide, and is drawn all the same.
    assert torch.equal(asked.drawn(replace(cell, guidance=1.0)), asked.drawn(cell))


def _own_noise(bench: Bench, item: int) -> list[torch.Generator]:
    from eval.protocols.readers import generators

    return generators([int(bench.own.seeds[item]) * 2 + draw for draw in range(2)], 0, "unclip")


def test_a_set_has_all_numbers_and_embeddings_are_monitored(bench):
    numbers = bench.measured(Cell(way="prior", guidance=2.0, mapped=True, seed=0))
    assert {"frechet", "precision", "recall", "diversity", "clip_score", "to_picture", "control"} <= set(
        numbers
    )
    assert {"judge_frechet", "judge_precision", "judge_recall", "judge_diversity"} <= set(numbers)
    bare = bench.measured(Cell(way="base", guidance=1.0, mapped=False, seed=0))
    assert bare["control"] != numbers["control"]
    assert bench.monitored("oracle", 0)["cosine_picture"] == pytest.approx(1, abs=1e-5)
    assert bench.monitored("text", 0)["cosine_text"] == pytest.approx(1, abs=1e-5)
    for way in ("prior", "prior_ar"):
        z, guided = bench.imagined(way, 1), bench.imagined(way, 1, guidance=4.0)
        assert torch.equal(z, guided) == (way == "prior_ar"), "only the diffusion prior is guided"
        assert torch.equal(z, bench.imagined(way, 1))
        assert not torch.equal(z, bench.imagined(way, 2))


def test_diversity_of_equal_and_of_opposite_draws():
    same = F.normalize(torch.ones(3, 1, 4), dim=-1).expand(3, 5, 4)
    assert diversity(same) == pytest.approx(0, abs=1e-6)
    assert diversity(torch.stack([same[:, 0], -same[:, 0]], dim=1)) == pytest.approx(2, abs=1e-6)


# --- the command ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def command(pipe, cache, tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("unclip")
    pipe.save_pretrained(folder / "base")
    sizes = ["--num", "4", "--draws", "2", "--reals", "8", "--steps", "1", "--device", "cpu"]
    return ["unclip", "--base", str(folder / "base"), "--cache", str(cache), *sizes, "--guidance", "1"]


@pytest.mark.slow
def test_it_goes_on_where_it_stopped_and_writes_tables_and_a_plot(command, tmp_path, capsys):
    out = tmp_path / "out"
    whole = [*command, "--told", "base", "caption", "prior", "--seeds", "1", "--out", str(out)]
    assert front.main([*whole, "--stop-after", "0"]) == 3
    assert "6 sets left; run the same command again" in capsys.readouterr().out
    assert front.main(whole) == 0
    records = read(out / RESULTS)
    # The prior is monitored at 3 scales, and there are true pictures and swaps.
    assert len(records) == 6 + 3 + 1 + 1
    assert front.main(whole) == 0
    assert len(read(out / RESULTS)) == len(records)
    assert front.main([*whole, "--tables"]) == 0
    table = (out / "table.md").read_text()
    assert table.count("| prior ") == 2 + 3
    assert "| true pictures " in table
    assert "2 pictures of each, 1 steps, 1 seed, beside 8" in table
    assert "the prior's z is nearer than captions alone" in table
    assert (out / "tradeoff.png").stat().st_size > 10_000


def test_results_of_other_weights_are_not_taken_for_these(pipe, tmp_path):
    before = fingerprint(pipe)
    path = tmp_path / RESULTS
    lines = []
    for weights in ("old", before):
        settings = {"monitored": "text", "seed": 0, "weights": weights}
        for name in ("num", "draws", "reals", "steps", "condition"):
            settings[name] = getattr(TINY, name)
        lines.append(Record(name="unclip", numbers={"cosine_text": 1.0}, settings=settings))
    from eval.records import append

    for line in lines:
        append(path, line)
    assert [r.settings["weights"] for r in done(tmp_path, TINY)] == [before]
    assert [r.settings["weights"] for r in done(tmp_path, TINY, "old")] == ["old"]
    assert done(tmp_path, Budget(num=5, draws=2, reals=8, steps=1)) == []


def _parts(pipe: UniConPipeline) -> dict[str, torch.nn.Module | None]:
    return {
        "unet": pipe.unet, "vae": pipe.vae, "image_encoder": pipe.image_encoder,
        "text_encoder": pipe.text_encoder, "prior": pipe.prior, "prior_ar": pipe.prior_ar,
        "decoder adapter": pipe.decoder, **pipe.adapters,
    }  # fmt: skip


PARTS = (
    "unet",
    "vae",
    "image_encoder",
    "text_encoder",
    "prior",
    "prior_ar",
    "decoder adapter",
    "depth",
    "edge",
)


@pytest.mark.parametrize("name", PARTS)
def test_every_part_is_in_the_key_of_results(name, pipe):
    part = _parts(pipe)[name]
    assert part is not None
    before, tensor = fingerprint(pipe), list(part.parameters())[-1].data
    kept = tensor.clone()
    tensor.add_(1e-3)
    assert fingerprint(pipe) != before
    tensor.copy_(kept)
    assert fingerprint(pipe) == before


def test_schedule_and_number_format_are_in_the_key_of_results(tmp_path):
    made = tiny_pipeline(tmp_path / "words")
    found = [fingerprint(made)]
    made.scheduler.register_to_config(timestep_spacing="linspace")
    found.append(fingerprint(made))
    made.to(torch.bfloat16)
    found.append(fingerprint(made))
    assert fingerprint(made, "base") != found[-1], "another judge"
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--judge", "nowhere"], "nowhere"),
        (["--draws", "1"], "expected at least 4 captions, 2 pictures of each"),
        (["--seeds", "0"], "argument --seeds: expected a whole number from 1"),
        (["--tables"], "holds no results of this budget"),
        (["--condition", "lines"], "has no adapter lines"),
    ],
)
def test_bad_input(more, message, command, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        front.main([*command, "--out", str(tmp_path / "none"), *more])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["decoder", "prior"])
def test_parts_that_are_not_there_are_named_before_a_base_is_loaded(option, command, monkeypatch, capsys):
    monkeypatch.setattr("unicon.pipeline.UniConPipeline.from_pretrained", None)
    with pytest.raises(SystemExit):
        front.main([*command, f"--{option}", "nowhere"])
    assert re.search(rf"{option}.* 'nowhere': no such folder", capsys.readouterr().err)


# --- orderings --------------------------------------------------------------------------------------------


def records(frechet: dict[str, float], kept: dict[str, float], control: float = 0.1) -> list[Record]:
    """Sets at guidance 1 and 4; diversity falls to a share of it. Control's error is 0.3 without a map, with
    one 0.1 at 1 and `control` at 4."""
    found = []
    for way in frechet:
        for guidance, mapped in ((1.0, False), (4.0, False), (1.0, True), (4.0, True)):
            share = 1.0 if guidance == 1 else kept.get(way, 0.5)
            numbers = {
                "frechet": frechet[way] * guidance,
                "diversity": share,
                "recall": share,
                "to_picture": 0.5,
                "control": 0.3 if not mapped else 0.1 if guidance == 1 else control,
            }
            settings = {"way": way, "guidance": guidance, "mapped": mapped, "seed": 0}
            found.append(Record(name="unclip", numbers=numbers, settings=settings))
    return found


def rows_of(found: list[Record]) -> dict[str, list[str]]:
    """[smaller, larger, in seeds, appears] by ordering."""
    rows = [[cell.strip() for cell in line.split("|")] for line in orderings(Results(found)).splitlines()[2:]]
    return {row[1]: row[3:7] for row in rows}


def verdict(ordering: str, found: list[Record]) -> str | None:
    """Of the one whose text holds these words; None where it is not told."""
    told = [row[-1] for text, row in rows_of(found).items() if ordering in text]
    assert len(told) < 2
    return told[0] if told else None


FRECHET = {"base": 9.0, "caption": 18.0, "text": 16.0, "prior": 8.0, "oracle": 5.0}
AIM, OBEYED = "diversity stays at least 90%", "a map is obeyed"
TEXT_AS_Z, PRIOR_OVER_CAPTION = (
    "the text's z is nearer than captions",
    "the prior's z is nearer than captions",
)


def test_orderings_are_judged_by_their_two_numbers():
    found = rows_of(records(FRECHET, {"prior": 0.9, "oracle": 0.95}))
    assert [row[-1] for row in found.values()].count("yes") == len(found) - 1  # the cosines are equal
    assert not any("autoregressive" in text for text in found), "there was none"
    turned = {**FRECHET, "caption": 12.0, "prior": 20.0}
    found = rows_of(records(turned, {"prior": 0.4, "oracle": 0.8}))
    assert {row[-1] for text, row in found.items() if OBEYED not in text} == {"no"}


def test_text_as_an_embedding_is_compared_with_captions_alone():
    assert verdict(TEXT_AS_Z, records(FRECHET, {})) == "yes"
    assert verdict(TEXT_AS_Z, records({**FRECHET, "caption": 15.0}, {})) == "no"


def test_diversity_under_a_map_counts_only_where_the_map_is_obeyed():
    assert verdict(AIM, records(FRECHET, {"oracle": 0.9})) == "yes"
    assert verdict(AIM, records(FRECHET, {"oracle": 0.89})) == "no"
    assert verdict(AIM, records(FRECHET, {"oracle": 0.95}, control=0.11)) == "yes"
    assert verdict(AIM, records(FRECHET, {"oracle": 0.95}, control=0.112)) == "no"
    without = records(FRECHET, {"oracle": 0.95})
    for record in without:
        record.numbers.pop("control")
    assert verdict(AIM, without) is None, "nobody looked whether the map is obeyed"
    ignored = [replace(r, numbers={**r.numbers, "control": 0.3}) for r in records(FRECHET, {})]
    assert verdict(OBEYED, ignored) == "no"


def monitored(cosine: dict[float, float], first: dict[float, float]) -> list[Record]:
    """A prior's embeddings by its guidance."""
    return [
        Record(
            name="unclip", numbers={"cosine_picture": cosine[g], "own_picture_first": first[g]},
            settings={"monitored": "prior", "prior_guidance": g, "seed": 0},
        )
        for g in cosine
    ]  # fmt: skip


def test_whether_guiding_the_prior_hurts_is_measured():
    sets, away, loses = records({"prior": 8.0}, {}), "leads away from the true z", "loses the own picture"
    found = [*sets, *monitored({1.0: 0.7, 4.0: 0.6}, {1.0: 0.6, 4.0: 0.8})]
    assert (verdict(away, found), verdict(loses, found)) == ("yes", "no")
    found = [*sets, *monitored({1.0: 0.6, 4.0: 0.7}, {1.0: 0.8, 4.0: 0.6})]
    assert (verdict(away, found), verdict(loses, found)) == ("no", "yes")


def in_seed(seed: int, found: list[Record]) -> list[Record]:
    return [replace(record, settings={**record.settings, "seed": seed}) for record in found]


def test_orderings_are_compared_seed_by_seed():
    """A second seed that has the prior's sets alone does not meet the first one's."""
    rows = rows_of([*records(FRECHET, {}), *in_seed(1, records({"prior": 99.0}, {}))])
    row = next(row for text, row in rows.items() if PRIOR_OVER_CAPTION in text)
    assert row == ["8.000", "18.000", "1 of 1", "yes"]
    rows = rows_of([*records(FRECHET, {}), *in_seed(1, records({**FRECHET, "prior": 20.0}, {}))])
    row = next(row for text, row in rows.items() if PRIOR_OVER_CAPTION in text)
    assert row == ["14.000", "18.000", "1 of 2", "yes"]


def test_every_row_says_with_how_many_seeds_it_is_there(tmp_path):
    told = {**asdict(TINY), "judge": "mini"}
    found = [*records({"base": 9.0, "prior": 8.0}, {}), *in_seed(1, records({"base": 9.0}, {}))]
    text = write_report(tmp_path, [replace(r, settings={**r.settings, **told}) for r in found])
    assert "1 to 2 seeds" in text
    rows = [line.split("|") for line in text.splitlines() if line.startswith(("| base", "| prior"))]
    assert {(row[1].strip(), row[4].strip()) for row in rows} == {("base", "2"), ("prior", "1")}


def test_one_scale_has_no_sweep():
    rows = [r for r in records({"prior": 8.0, "text": 9.0}, {}) if r.settings["guidance"] == 1]
    found = rows_of(rows)
    assert not any("guidance" in text for text in found)
    assert [row[-1] for row in found.values()] == ["yes"]
