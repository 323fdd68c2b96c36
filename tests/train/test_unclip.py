"""Do a prior and a decoder adapter learn from pictures with captions, and continue where they stopped?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import PriorTransformer

from tests.tiny_base import tiny_pipeline
from tests.tiny_clip import WIDTH, tiny_image_encoder, with_clip
from tests.train.own_pairs import picture
from train.checkpoint import read_checkpoint, whole_checkpoints
from train.command import main
from train.config import LoopConfig, RunConfig
from train.embeddings import Clip, EmbeddingSet, write_embeddings
from train.given import check_given
from train.loop import fit
from train.objectives.decoder import DataDecoderTraining, DecoderObjective
from train.objectives.prior import PriorConfig, PriorObjective, embeddings_of_data
from train.recipes import FAMILIES
from unicon import UniConPipeline
from unicon.embeddings import embed_pictures, embed_texts, identity
from unicon.pictures import as_pictures
from unicon.prior import fit_statistics, new_prior, save_clip
from unicon.sampling.levels import add_noise, network_target

SIZES = [(64, 64), (96, 64), (64, 64), (64, 80)]
LOOP = ["--steps", "2", "--batch_size", "2", "--mixed_precision", "no"]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    with_clip(tiny_pipeline(folder / "words")).save_pretrained(folder / "tiny")
    return folder / "tiny"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "image").mkdir()
    for i, size in enumerate(SIZES):
        picture(i, size).save(folder / "image" / f"{i}.png")
        (folder / "image" / f"{i}.txt").write_text(f"a dog\nno {i}" if i else "")
    return folder


@pytest.fixture(scope="module")
def encoders(base) -> Clip:
    pipe = UniConPipeline.from_pretrained(base, adapters=())
    return Clip(pipe.image_encoder, None, pipe.text_encoder, pipe.tokenizer)


def some(folder: Path, encoders: Clip, num: int = 40) -> EmbeddingSet:
    """Pictures of noise; every one has two captions, the third none, the fourth cannot be read."""

    def items():
        for i in range(num):
            yield None if i == 3 else picture(i, (16, 16)), [] if i == 2 else [f"no {i}", f"dog {i}"]

    return write_embeddings(folder / "embeddings", num, items, encoders)


# --- embeddings -------------------------------------------------------------------------------------------


def test_embeddings_are_those_of_the_encoders_and_made_once(tmp_path, encoders):
    found = some(tmp_path, encoders)
    assert found.clip == identity(encoders.image_encoder)
    assert found.readable().tolist() == [0, 1, 2, *range(4, 40)]
    seen = as_pictures(picture(7, (16, 16)), "seen")
    torch.testing.assert_close(
        found.embeddings(np.array([7])),
        embed_pictures(encoders.image_encoder, None, seen),
        atol=1e-5,
        rtol=1e-5,
    )
    said = embed_texts(encoders.text_encoder, encoders.tokenizer, ["", "no 7", "dog 7", "no 8"])
    rows, every = np.array([7, 7, 7, 2]), torch.tensor([0.9, 0.0, 0.6, 0.0])
    read = found.captions(rows, every, torch.tensor([True, False, False, False]))
    torch.testing.assert_close(read.projected, said.projected[[0, 1, 2, 0]], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(read.tokens, said.tokens[[0, 1, 2, 0]], atol=2e-2, rtol=1e-2)
    assert torch.equal(read.mask, said.mask[[0, 1, 2, 0]])
    before = (tmp_path / "embeddings" / "pictures.npy").stat().st_mtime_ns
    some(tmp_path, encoders)
    assert (tmp_path / "embeddings" / "pictures.npy").stat().st_mtime_ns == before
    with pytest.raises(FileNotFoundError, match="no embeddings in .*nowhere"):
        EmbeddingSet.open(tmp_path / "nowhere")


def test_embeddings_are_those_of_what_the_data_hold_now(tmp_path, encoders):
    """Also where a picture or a caption was exchanged for another, and their number is what it was."""
    for i in range(3):
        (tmp_path / "data" / "image").mkdir(parents=True, exist_ok=True)
        picture(i, (16, 16)).save(tmp_path / "data" / "image" / f"{i}.png")
    places = {name: tmp_path / "data" / "image" / name for name in ("0.png", "9.png", "1.txt")}

    def found() -> EmbeddingSet:
        return embeddings_of_data(str(tmp_path / "data"), encoders, tmp_path / "run")

    first = found().embeddings(np.arange(3))
    assert torch.equal(found().embeddings(np.arange(3)), first)
    places["0.png"].unlink()
    picture(9, (16, 16)).save(places["9.png"])
    torch.testing.assert_close(found().embeddings(np.array([0, 1])), first[1:], atol=1e-5, rtol=1e-5)
    assert len(found().texts["mask"]) == 1
    places["1.txt"].write_text("a dog")
    assert len(found().texts["mask"]) == 2


def test_large_pictures_do_not_wait_for_others(tmp_path, encoders, monkeypatch):
    together = []

    def counted(encoder, extractor, pictures):
        together.append(len(pictures))
        return embed_pictures(encoder, extractor, pictures)

    monkeypatch.setattr("train.embeddings.embed_pictures", counted)
    monkeypatch.setattr("train.embeddings.MOST_VALUES", 3 * 16 * 16 * 4)
    some(tmp_path, encoders, num=12)
    assert together == [5, 5, 1]  # one of twelve cannot be read


# --- the prior --------------------------------------------------------------------------------------------

TINY = {"channels": 16, "layers": 2, "heads": 2}


def prior_objective(tmp_path, encoders, **changes) -> PriorObjective:
    found = some(tmp_path, encoders)
    return PriorObjective(PriorConfig(**{**TINY, "validation_items": 3, **changes}), found, found.readable())


def test_it_predicts_the_clean_embedding_of_normalised_statistics(tmp_path, encoders):
    objective = prior_objective(tmp_path, encoders)
    assert objective.num_items == 36
    assert not {"prior.clip_mean", "prior.clip_std"} & objective.trained().keys()
    rows = objective.items
    clean = objective._clean(rows)
    torch.testing.assert_close(clean.mean(0), torch.zeros(WIDTH), atol=1e-4, rtol=0)
    torch.testing.assert_close(clean.std(0), torch.ones(WIDTH), atol=1e-4, rtol=0)
    draws = objective.draw(torch.Generator().manual_seed(0), torch.arange(36))
    with torch.no_grad():  # one that always answers with a constant has a known error
        objective.prior.proj_to_clip_embeddings.weight.zero_()
        objective.prior.proj_to_clip_embeddings.bias.fill_(2.0)
    loss, parts = objective(np.arange(36), draws)
    torch.testing.assert_close(loss, (clean - 2).square().mean(1))
    assert parts["cosine"].shape == (36,)


def test_a_tenth_of_the_captions_is_dropped_and_levels_are_spread(tmp_path, encoders, monkeypatch):
    objective = prior_objective(tmp_path, encoders)
    items = torch.zeros(4000, dtype=torch.long)
    draws = objective.draw(torch.Generator().manual_seed(0), items)
    seen = []
    monkeypatch.setattr(
        "train.objectives.prior.predict",
        lambda prior, x, timestep, said: (
            seen.append((x, timestep, said)) or x * objective.prior.proj_in.weight.sum()
        ),
    )
    objective(items.numpy(), draws)
    ((x, timestep, said),) = seen
    assert float((said.mask.sum(1) == 2).float().mean()) == pytest.approx(0.1, abs=0.015), (
        "start and end alone"
    )
    assert [float((timestep < share * 999).float().mean()) for share in (0.25, 0.5, 0.75)] == pytest.approx(
        [0.25, 0.5, 0.75], abs=0.01
    )
    late = timestep > 990
    torch.testing.assert_close(x[late], draws["noise"][late], atol=0.05, rtol=0.05)


def train(objective, folder: Path, seconds: float = float("inf")) -> dict[str, torch.Tensor]:
    loop = LoopConfig(
        steps=4, batch_size=4, warmup_steps=1, checkpoint_every=2, mixed_precision="no", learning_rate=1e-3
    )
    fit(objective, RunConfig(name="prior", objective=objective.config, loop=loop), folder, stop_after=seconds)
    return read_checkpoint(whole_checkpoints(folder / "checkpoints")[-1][1]).trained


def test_resuming_is_bitwise_the_straight_run(tmp_path, encoders):
    straight = train(prior_objective(tmp_path, encoders), tmp_path / "straight")
    for _ in range(5):  # pause after every step
        paused = train(prior_objective(tmp_path, encoders), tmp_path / "paused", seconds=0.0)
    assert all(torch.equal(straight[k], paused[k]) for k in straight)
    weights = [
        (tmp_path / n / "export" / "diffusion_pytorch_model.safetensors") for n in ("straight", "paused")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
def test_its_error_falls_and_held_out_captions_are_looked_at(tmp_path, encoders):
    objective = prior_objective(tmp_path, encoders)
    optimizer = torch.optim.AdamW(objective.trained().values(), lr=3e-3)
    items, losses = np.arange(36), []
    for step in range(60):
        draws = objective.draw(torch.Generator().manual_seed(step % 4), torch.from_numpy(items))
        loss = objective(items, draws)[0].mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    numbers, sheet = objective.validate()
    assert set(numbers) >= {"cosine_picture", "cosine_another_picture", "cosine_text", "own_picture_first"}
    assert sheet.size == (3, 3)


def test_a_released_prior_is_adapted_by_low_rank_and_merged(tmp_path, encoders):
    pytest.importorskip("peft")
    train(prior_objective(tmp_path, encoders), tmp_path / "first")
    start = tmp_path / "first" / "export"
    objective = prior_objective(tmp_path, encoders, start_from=str(start), lora_rank=2)
    assert objective.trained()
    assert all("lora_" in name for name in objective.trained())
    with torch.no_grad():
        for tensor in objective.trained().values():
            tensor.add_(0.1)
    objective.export(tmp_path / "adapted")
    again = PriorTransformer.from_pretrained(tmp_path / "adapted")
    first = PriorTransformer.from_pretrained(start)
    assert again.state_dict().keys() == first.state_dict().keys()
    given = (
        torch.randn(2, WIDTH),
        7,
        torch.randn(2, WIDTH),
        torch.randn(2, 16, WIDTH),
        torch.ones(2, 16).bool(),
    )
    with torch.no_grad():
        outputs = [each(*given).predicted_image_embedding for each in (objective.prior, again, first)]
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(outputs[2], outputs[0], atol=1e-3)


def released(folder: Path, found: EmbeddingSet) -> Path:
    """A prior of embeddings of the lengths that the encoder gives, which does not say whose they are."""
    prior = new_prior(WIDTH, found.num_tokens, channels=16, layers=1, heads=2)
    fit_statistics(prior, found.embeddings(found.readable()))
    prior.save_pretrained(folder)
    return folder


def test_a_form_that_a_continued_prior_has_not_is_refused(tmp_path, encoders):
    start = released(tmp_path / "released", some(tmp_path, encoders))
    objective = prior_objective(tmp_path, encoders, start_from=str(start))
    check_given(["channels", "heads", "steps"], objective.config, objective)
    with pytest.raises(ValueError, match="--layers 2, but what --start_from names has 1"):
        check_given(["layers"], objective.config, objective)
    fresh = prior_objective(tmp_path, encoders)
    check_given(["channels", "layers", "heads"], fresh.config, fresh)


def test_a_continued_prior_is_given_embeddings_of_its_own_lengths(tmp_path, encoders):
    first = prior_objective(tmp_path, encoders)
    z = first.found.embeddings(first.items)
    assert float(z.norm(dim=1).mean()) > 1.5, "else the two kinds are one"
    first.export(tmp_path / "ours")
    ours = prior_objective(tmp_path, encoders, start_from=str(tmp_path / "ours"))
    torch.testing.assert_close(ours._clean(ours.items), first._clean(first.items))
    draws = ours.draw(torch.Generator().manual_seed(0), torch.arange(36))
    with torch.no_grad():
        errors = [each(np.arange(36), draws)[0] for each in (first, ours)]
    torch.testing.assert_close(errors[1], errors[0], msg="it goes on where it was")

    start = released(tmp_path / "released", first.found)
    for _ in range(2):  # its continuation, which has a file of ours beside it, is of the same lengths
        theirs = prior_objective(tmp_path, encoders, start_from=str(start))
        expected = (z - theirs.prior.clip_mean) / theirs.prior.clip_std
        torch.testing.assert_close(theirs._clean(theirs.items), expected)
        start = tmp_path / "again"
        theirs.export(start)


def test_a_prior_of_another_clip_is_not_continued(tmp_path, encoders):
    first = prior_objective(tmp_path, encoders)
    first.export(tmp_path / "ours")
    other = identity(tiny_image_encoder(seed=12))
    assert other.width == WIDTH
    save_clip(other, tmp_path / "ours")
    with pytest.raises(ValueError, match=r"the prior of --start_from .*ours was trained with another ViT"):
        prior_objective(tmp_path, encoders, start_from=str(tmp_path / "ours"))
    (tmp_path / "ours" / "embedding.json").unlink()  # one that does not say
    assert prior_objective(tmp_path, encoders, start_from=str(tmp_path / "ours")).num_items == 36
    wide = new_prior(12, 16, channels=16, layers=1, heads=2)
    fit_statistics(wide, torch.randn(9, 12))
    wide.save_pretrained(tmp_path / "wide")
    with pytest.raises(ValueError, match="wide makes embeddings 12 wide of 16 tokens, this CLIP's are 8"):
        prior_objective(tmp_path, encoders, start_from=str(tmp_path / "wide"))
    with pytest.raises(ValueError, match="--start_from: .*nowhere"):
        prior_objective(tmp_path, encoders, start_from=str(tmp_path / "nowhere"))


@pytest.mark.slow
def test_the_recipe_makes_a_prior_that_its_base_loads(data, base, tmp_path):
    tiny = ["--channels", "16", "--layers", "1", "--heads", "2"]
    arguments = ["prior", "--data", str(data), "--base", str(base), *tiny, *LOOP, "--out", str(tmp_path)]
    assert main(arguments) == 0
    pipe = UniConPipeline.from_pretrained(base, adapters=())
    pipe.load_prior(tmp_path / "prior" / "export")
    assert pipe.prior_clips["prior"] == identity(pipe.image_encoder)
    assert pipe.imagine(["a dog"]).shape == (1, WIDTH)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 15}, "channels is 15; it must be a multiple of heads 2"),
        ({"text_dropout": 1.0}, "text_dropout must be a number of at least 0 and below 1, got 1.0"),
        ({"lora_rank": 2}, "lora_rank adapts a prior that is there: give --start_from"),
    ],
)
def test_bad_settings_of_a_prior(change, message):
    with pytest.raises(ValueError, match=message):
        PriorConfig(**{**TINY, **change})


# --- the decoder adapter ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def decoder(data, base, tmp_path_factory) -> DecoderObjective:
    settings = DataDecoderTraining(data=str(data), base=str(base), num_tokens=2, token_width=8)
    return settings.build(tmp_path_factory.mktemp("runs"))


def test_embeddings_and_captions_are_dropped_apart_and_noise_is_told(decoder):
    items = torch.zeros(4000, dtype=torch.long)
    draws = decoder.draw(torch.Generator().manual_seed(0), items)
    like = decoder.likeness(items.numpy(), draws)
    assert float(like.given.float().mean()) == pytest.approx(0.9, abs=0.015)
    level = like.noise_level[0]
    assert float((level > 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(level[level > 0].mean()) == pytest.approx(500, abs=30)
    z = decoder.decoder.normalise(decoder.z[items])
    assert torch.equal(like.z[0][level == 0], z[level == 0])
    late = level > 990
    torch.testing.assert_close(like.z[0][late], draws["z_noise"][late], atol=0.05, rtol=0.05)
    assert torch.corrcoef(torch.stack([like.given[0].float(), draws["uncaptioned"]]))[0, 1].abs() < 0.05


def test_half_of_the_captions_are_dropped(decoder, monkeypatch):
    texts = []

    def forward(unet, sample, timestep, text, **rest):
        texts.append(text)
        return sample

    monkeypatch.setattr("train.objectives.decoder.joint_forward", forward)
    items = np.full(600, 1)
    decoder(items, decoder.draw(torch.Generator().manual_seed(0), torch.from_numpy(items)))
    bare = decoder.examples.bare[0]
    assert float((texts[0] == bare).all(-1).all(-1).float().mean()) == pytest.approx(0.5, abs=0.06)


def test_a_network_that_is_right_has_no_error(decoder, monkeypatch):
    """Right about the noise of the picture at the level it is told; told the picture's embedding."""
    items = torch.tensor([0, 2])
    draws = decoder.draw(torch.Generator().manual_seed(0), items)
    draws["noised"], draws["unlike"] = torch.ones(2), torch.tensor([0.05, 0.9])
    clean = decoder.examples.read(items, draws).latents[0]

    def answer(unet, sample, timestep, texts, *, pairs, num_branches, likeness):
        levels = decoder.schedule.at_timestep(timestep).to(dtype=torch.float32)
        torch.testing.assert_close(sample, add_noise(clean, draws["noise"], levels))
        assert likeness.given.tolist() == [[False, True]]
        assert not likeness.noise_level.any()
        assert torch.equal(likeness.z[0], decoder.decoder.normalise(decoder.z[items]))
        return network_target(clean, draws["noise"], levels, decoder.schedule.prediction)

    monkeypatch.setattr("train.objectives.decoder.joint_forward", answer)
    torch.testing.assert_close(decoder(items.numpy(), draws)[0], torch.zeros(2))


def test_only_the_adapter_learns_from_each_pictures_own_embedding(decoder, encoders, data):
    assert decoder.trained()
    assert all(name.startswith("decoder.") for name in decoder.trained())
    seen = as_pictures(picture(2, SIZES[2]), "seen")
    z = F.normalize(embed_pictures(encoders.image_encoder, None, seen), dim=-1)
    torch.testing.assert_close(decoder.z[2:3], z, atol=1e-5, rtol=1e-5)
    items = torch.tensor([0, 2])
    draws = decoder.draw(torch.Generator().manual_seed(0), items)
    optimizer = torch.optim.Adam(decoder.trained().values(), lr=0.01)
    losses = []
    for _ in range(20):
        loss = decoder(items.numpy(), draws)[0].mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_the_recipe_makes_a_decoder_that_its_base_loads(data, base, tmp_path):
    many = tmp_path / "many"
    (many / "image").mkdir(parents=True)
    for i in range(20):
        picture(i, (32, 32)).save(many / "image" / f"{i:02}.png")
    tiny = ["--num_tokens", "2", "--token_width", "8", "--validation_steps", "2", "--validate_every", "2"]
    arguments = ["decoder", "--data", str(many), "--base", str(base), *tiny, *LOOP, "--learning_rate", "0.1"]
    assert main([*arguments, "--out", str(tmp_path / "runs")]) == 0
    run = tmp_path / "runs" / "decoder"
    assert {"cosine", "cosine_to_another", "cosine_without"} <= json.loads(
        (run / "validation.jsonl").read_text()
    ).keys()
    assert (run / "validation" / "step_00000002.png").exists()
    pipe = UniConPipeline.from_pretrained(base, adapters=())
    pipe.set_progress_bar_config(disable=True)
    pipe.load_decoder(run / "export")
    drawn = [
        pipe(
            "a dog", like=picture(3, (32, 32)), like_scale=scale, num_inference_steps=2, output_type="np",
            generator=torch.Generator().manual_seed(0),
        ).images
        for scale in (0.0, 1.0)
    ]  # fmt: skip
    assert not np.array_equal(*drawn)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prior"], "give --data PICTURES with captions"),
        (["decoder"], "give --data PICTURES, see docs/data.md"),
        (["decoder", "--like_dropout", "2"], "like_dropout must be a number from 0 to 1, got 2.0"),
        (["decoder", "--data", "nowhere"], "nowhere"),
    ],
)
def test_bad_input(arguments, message, base, tmp_path, capsys):
    assert main([*arguments, "--base", str(base), "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_base_without_a_clip_is_refused(data, tmp_path, capsys):
    tiny_pipeline(tmp_path / "words").save_pretrained(tmp_path / "plain")
    for recipe in ("prior", "decoder"):
        arguments = [recipe, "--data", str(data), "--base", str(tmp_path / "plain"), "--out", str(tmp_path)]
        assert main(arguments) == 2
        assert "this base has no image encoder" in capsys.readouterr().err


def test_the_minis_parts_are_small():
    """Together at most 5 MB in half precision, on the mini base's geometry."""
    from adapters import ClipIdentity, DecoderAdapter, DecoderConfig
    from unicon.prior import new_prior

    stages = FAMILIES["mini"]
    prior, decoder = stages["prior"].objective, stages["decoder"].objective
    pipe = UniConPipeline.from_pretrained("mini", adapters=())
    clip = ClipIdentity(name="mini", width=pipe.image_encoder.config.projection_dim, weights=())
    settings = DecoderConfig(clip=clip, num_tokens=decoder.num_tokens, token_width=decoder.token_width)
    parts = [
        new_prior(
            clip.width, pipe.tokenizer.model_max_length, channels=prior.channels, layers=prior.layers,
            heads=prior.heads,
        ),
        DecoderAdapter.for_unet(pipe.unet, settings),
    ]  # fmt: skip
    assert 2 * sum(p.numel() for part in parts for p in part.parameters()) <= 5e6
