"""Is the prior causal, does it know its statistics, and does it say what a picture looks like?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import PriorTransformer

from tests.pipeline.conftest import ROUNDING, call, seeded
from tests.tiny_base import tiny_pipeline
from tests.tiny_clip import WIDTH, tiny_decoder, with_clip
from unicon import PriorSettings, UniConPipeline
from unicon.embeddings import TextEmbeddings, embed_texts, identity, slerp
from unicon.prior import (
    best_of,
    embeddings_of,
    fit_statistics,
    load_clip,
    new_prior,
    predict,
    sample_prior,
)
from unicon.sampling.noise import NoiseSource

TOKENS = 16


def tiny_prior(seed: int = 0) -> PriorTransformer:
    torch.manual_seed(seed)
    prior = new_prior(WIDTH, TOKENS, channels=16, layers=2, heads=2).eval()
    with torch.no_grad():
        prior.proj_to_clip_embeddings.weight.mul_(5)  # random predictions that lie apart
    fit_statistics(prior, unit(50))
    return prior


def unit(num: int, seed: int = 3) -> torch.Tensor:
    return F.normalize(torch.randn(num, WIDTH, generator=torch.Generator().manual_seed(seed)), dim=-1)


def texts(num: int = 3, seed: int = 1, own: int = 10) -> TextEmbeddings:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(TOKENS)[None] < own
    return TextEmbeddings(
        projected=torch.randn(num, WIDTH, generator=generator),
        tokens=torch.randn(num, TOKENS, WIDTH, generator=generator),
        mask=mask.expand(num, -1),
    )


@pytest.fixture(scope="module")
def pipe(tmp_path_factory) -> UniConPipeline:
    made = with_clip(tiny_pipeline(tmp_path_factory.mktemp("words")))
    made.add_decoder(tiny_decoder(made))
    made.add_prior(tiny_prior(), identity(made.image_encoder))
    return made


# --- the network ------------------------------------------------------------------------------------------


@torch.no_grad()
def states(
    prior: PriorTransformer, x: torch.Tensor, said: TextEmbeddings, causal: bool = True
) -> torch.Tensor:
    """What comes out at every place of the sequence."""
    seen = []
    handle = prior.norm_out.register_forward_hook(lambda module, inputs, output: seen.append(output))
    if causal:
        predict(prior, x, torch.tensor(500.0), said)
    else:
        prior(x, torch.tensor(500.0), said.projected, said.tokens)
    handle.remove()
    return seen[0][0]


def changed(before: torch.Tensor, after: torch.Tensor) -> list[int]:
    return ((before - after).abs().amax(-1) > 1e-6).nonzero().flatten().tolist()


def test_token_order_and_causality():
    """[text, z of the text, timestep, noised z, query]: what changes changes nothing before it."""
    prior, x, said = tiny_prior(), unit(1), texts(1, own=TOKENS)
    before = states(prior, x, said)
    assert before.shape == (TOKENS + 4, 16)
    moved = said.tokens.clone()
    moved[:, 5] += 1
    later = TextEmbeddings(projected=said.projected, tokens=moved, mask=said.mask)
    assert changed(before, states(prior, x, later)) == list(range(5, TOKENS + 4))
    other = TextEmbeddings(projected=said.projected + 1, tokens=said.tokens, mask=said.mask)
    assert changed(before, states(prior, x, other)) == list(range(TOKENS, TOKENS + 4))
    assert changed(before, states(prior, x + 1, said)) == [TOKENS + 2, TOKENS + 3]
    free = states(prior, x, said, causal=False)
    assert changed(free, states(prior, x + 1, said, causal=False)) == list(range(TOKENS + 4)), (
        "without a mask the class is not causal, and this test would see it"
    )


def test_padding_is_not_read_and_the_mask_is_always_there(monkeypatch):
    prior, x, said = tiny_prior(), unit(3), texts(3, own=10)
    moved = said.tokens.clone()
    moved[:, 10:] += 1
    padded = TextEmbeddings(projected=said.projected, tokens=moved, mask=said.mask)
    with torch.no_grad():
        found = [predict(prior, x, torch.tensor(9.0), each) for each in (said, padded)]
    torch.testing.assert_close(*found)
    masks, forward = [], prior.forward
    monkeypatch.setattr(
        prior, "forward", lambda **given: masks.append(given["attention_mask"]) or forward(**given)
    )
    sample_prior(prior, said, texts(1), NoiseSource.from_seed(0, 3), PriorSettings(guidance_scale=2.0))
    assert len(masks) == 2 * PriorSettings().num_inference_steps
    assert all(mask is not None and mask.shape == (6, TOKENS) for mask in masks)


# --- statistics -------------------------------------------------------------------------------------------


def test_statistics_round_trip_and_travel_in_the_weights(tmp_path):
    prior, z = tiny_prior(), unit(50)
    normal = (z - prior.clip_mean) / prior.clip_std
    torch.testing.assert_close(normal.mean(0), torch.zeros(WIDTH), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.std(0), torch.ones(WIDTH))
    torch.testing.assert_close(embeddings_of(prior, normal), z)
    prior.save_pretrained(tmp_path)
    again = PriorTransformer.from_pretrained(tmp_path)
    torch.testing.assert_close(embeddings_of(again, normal), z)
    assert not prior.clip_mean.requires_grad


def test_a_prior_without_statistics_is_refused(pipe):
    fresh = new_prior(WIDTH, TOKENS, channels=16, layers=1, heads=2)
    assert torch.equal(fresh.post_process_latents(torch.randn(2, WIDTH)), torch.zeros(2, WIDTH)), "the trap"
    with pytest.raises(ValueError, match="clip_std is zero, as in a fresh PriorTransformer"):
        sample_prior(fresh, texts(), texts(1), NoiseSource.from_seed(0, 3))
    with pytest.raises(ValueError, match="no statistics"):
        pipe.add_prior(fresh)
    with pytest.raises(ValueError, match="1 embeddings have no deviation"):
        fit_statistics(fresh, unit(1))
    with pytest.raises(ValueError, match="component 0 of the embeddings is the same in all 4"):
        fit_statistics(fresh, torch.ones(4, WIDTH))


# --- sampling ---------------------------------------------------------------------------------------------


def test_a_prior_that_is_certain_is_sampled_exactly():
    prior, goal = tiny_prior(), unit(1, seed=8)
    with torch.no_grad():
        prior.proj_to_clip_embeddings.weight.zero_()
        prior.proj_to_clip_embeddings.bias.copy_(((goal - prior.clip_mean) / prior.clip_std)[0])
    for eta in (0.0, 1.0):
        found = sample_prior(
            prior, texts(), texts(1), NoiseSource.from_seed(0, 3), PriorSettings(eta=eta, guidance_scale=3.0)
        )
        torch.testing.assert_close(found, goal.expand(3, -1), atol=1e-4, rtol=1e-4)


def test_the_best_candidate_is_the_nearest_to_the_text():
    candidates, z = unit(24).unflatten(0, (6, 4)), unit(6, seed=9)
    found = best_of(candidates, z)
    similar = torch.einsum("nmd,nd->nm", candidates, z)
    torch.testing.assert_close((found * z).sum(-1), similar.max(1).values)
    assert len(set(similar.argmax(1).tolist())) > 1, "not always the same place"


@pytest.mark.slow
def test_more_candidates_come_nearer_and_guidance_changes_them():
    prior, said, noise = tiny_prior(), texts(6), NoiseSource.from_seed(0, 6)
    few, many = (
        sample_prior(prior, said, texts(1), noise, PriorSettings(n_best=n, num_inference_steps=4))
        for n in (1, 8)
    )
    torch.testing.assert_close(many.norm(dim=-1), torch.ones(6))
    assert (many * said.z).sum(-1).mean() > (few * said.z).sum(-1).mean()
    steps = {"n_best": 1, "num_inference_steps": 4}
    guided = sample_prior(prior, said, texts(1, seed=5), noise, PriorSettings(guidance_scale=4.0, **steps))
    assert (guided - few).abs().max() > 1e-3


def test_a_sample_does_not_depend_on_its_batch():
    prior, said = tiny_prior(), texts(3)
    whole = sample_prior(prior, said, texts(1), NoiseSource.from_seed(4, 3))
    first = sample_prior(prior, said[:1], texts(1), NoiseSource.from_seed(4, 1))
    torch.testing.assert_close(whole[:1], first, atol=1e-5, rtol=1e-4)


# --- in the pipeline --------------------------------------------------------------------------------------


def test_it_says_what_the_picture_looks_like(pipe):
    def images(*args, **kwargs):
        return call(pipe, *args, **kwargs).images

    base, found = images("a dog"), images("a dog", prior=True)
    assert np.abs(found - base).max() > 1e-3
    assert np.array_equal(images("a dog", prior=True), found)
    settings = PriorSettings(num_inference_steps=3, n_best=1)
    z = pipe.imagine(["a dog"], settings, NoiseSource.from_generator(seeded(0), 1))
    np.testing.assert_allclose(
        images("a dog", prior=settings, generator=seeded(0)),
        images("a dog", like=z, generator=seeded(0)),
        atol=1e-6,
    )
    several = images(["a dog", "a cat"], prior=True, num_images_per_prompt=2, generator=seeded(0, 1, 2, 3))
    alone = images("a cat", prior=True, generator=seeded(3))
    np.testing.assert_allclose(several[3:], alone, atol=1e-5)


def test_texts_of_padding_alone_and_their_width(pipe):
    said = embed_texts(pipe.text_encoder, pipe.tokenizer, ["", "a dog"])
    assert said.tokens.shape == (2, TOKENS, WIDTH), "narrower than the encoder: projected, too"
    assert said.mask.sum(1).tolist() == [2, 6]
    torch.testing.assert_close(said.z.norm(dim=-1), torch.ones(2))


@pytest.mark.slow
def test_it_is_saved_with_the_pipeline_and_comes_back(pipe, tmp_path):
    before = call(pipe, "a dog", prior=True).images
    pipe.save_pretrained(tmp_path / "saved")
    again = UniConPipeline.from_pretrained(tmp_path / "saved")
    again.set_progress_bar_config(disable=True)
    assert again.prior_clips["prior"] == pipe.prior_clips["prior"] == identity(pipe.image_encoder)
    np.testing.assert_allclose(call(again, "a dog", prior=True).images, before, atol=ROUNDING)
    again.unload_prior()
    with pytest.raises(ValueError, match="there is no prior: pipe.load_prior"):
        call(again, "a dog", prior=True)
    again.load_prior(tmp_path / "saved" / "prior")
    np.testing.assert_allclose(call(again, "a dog", prior=True).images, before, atol=ROUNDING)


def test_pipelines_that_share_a_prior_know_whose_it_is(pipe, tmp_path):
    for again in (UniConPipeline.from_pipe(pipe), UniConPipeline(**pipe.components)):
        assert again.prior_clips == pipe.prior_clips == {"prior": identity(pipe.image_encoder)}


def test_a_file_beside_a_prior_that_names_no_clip_is_named(tmp_path):
    for text in ("{", "{}", "[]"):
        (tmp_path / "embedding.json").write_text(text)
        with pytest.raises(ValueError, match="embedding.json does not say whose embeddings"):
            load_clip(tmp_path)


def test_refusals(pipe, photo):
    with pytest.raises(ValueError, match="prior and like both say"):
        call(pipe, "a dog", prior=True, like=photo)
    with pytest.raises(ValueError, match="prior reads prompts, and prompt_embeds"):
        call(pipe, prior=True, prompt_embeds=torch.zeros(1, TOKENS, 12))
    prior = new_prior(12, TOKENS, channels=16, layers=1, heads=2)
    fit_statistics(prior, torch.randn(9, 12))
    with pytest.raises(ValueError, match="12 wide, this pipeline works with those of ViT-16x1/8"):
        pipe.add_prior(prior)
    short = new_prior(WIDTH, 7, channels=16, layers=1, heads=2)
    fit_statistics(short, unit(9))
    with pytest.raises(ValueError, match="reads texts of 7 tokens, this tokenizer makes 16"):
        pipe.add_prior(short)
    other = identity(pipe.image_encoder)
    with pytest.raises(ValueError, match="the prior was trained with ViT-H/14"):
        pipe.add_prior(tiny_prior(), type(other)(name="ViT-H/14", width=WIDTH, weights=other.weights))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "the list of them is empty; give at least one"),
        ([""], r"text 1 of 1 is empty \(''\): describe it, or do without the prior"),
        ("  ", r"text 1 of 1 is empty \('  '\)"),
        (["a dog", "\n"], "text 2 of 2 is empty"),
        (["a dog", None], "text 2 of 2 is a NoneType"),
    ],
)
def test_a_prior_is_asked_for_words(pipe, texts, message):
    with pytest.raises(ValueError, match=message):
        pipe.imagine(texts)


def test_one_text_is_a_list_of_it_and_a_call_without_words_is_refused(pipe):
    one, listed = (pipe.imagine(texts, None, NoiseSource.from_seed(0, 1)) for texts in ("a dog", ["a dog"]))
    assert torch.equal(one, listed)
    for prompt in (None, "", ["a dog", " "]):
        with pytest.raises(ValueError, match="is empty .* describe it, or do without the prior"):
            call(pipe, prompt, prior=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_best": 0}, "n_best must be a whole number of at least 1, got 0"),
        ({"n_best": 2.5}, "n_best must be a whole number of at least 1, got 2.5"),
        ({"num_inference_steps": 0}, "num_inference_steps must be a whole number of at least 1, got 0"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a finite number, got nan; 1 is off"),
        ({"eta": 1.5}, "eta must be a number from 0 to 1, got 1.5"),
        ({"eta": float("nan")}, "eta must be .*, got nan"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        PriorSettings(**settings)


def test_a_text_encoder_without_a_projection_is_refused(tmp_path):
    plain = tiny_pipeline(tmp_path / "words")
    with pytest.raises(ValueError, match="a CLIPTextModel has no projection into the space"):
        plain.embed_texts(["a dog"])


# --- on the sphere ----------------------------------------------------------------------------------------


def test_slerp_has_its_ends_its_length_and_its_angle():
    a, b = unit(5), unit(5, seed=4)
    assert torch.equal(slerp(a, b, 0.0), a)
    assert torch.equal(slerp(a, b, 1.0), b)
    angle = (a * b).sum(-1).acos()
    for share in (0.25, 0.5, 0.9):
        between = slerp(a, b, share)
        torch.testing.assert_close(between.norm(dim=-1), torch.ones(5))
        torch.testing.assert_close((a * between).sum(-1).acos(), share * angle, atol=1e-3, rtol=1e-3)
    rows = slerp(a, b, torch.linspace(0, 1, 5))
    assert torch.equal(rows[0], a[0])
    torch.testing.assert_close(rows[2], slerp(a[2], b[2], 0.5))
    torch.testing.assert_close(slerp(a, a + 1e-8, 0.3), a)
    assert slerp(2 * a, 4 * b, 0.5).norm(dim=-1).allclose(torch.full((5,), 3.0))
    with pytest.raises(ValueError, match="opposite vectors"):
        slerp(a, -a, 0.5)
