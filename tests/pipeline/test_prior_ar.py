"""Is the autoregressive prior causal, are its buckets fine enough, and is it sampled as its settings say?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.pipeline.conftest import ROUNDING, call, seeded
from tests.pipeline.test_prior import TOKENS, texts, tiny_prior, unit
from tests.tiny_base import tiny_pipeline
from tests.tiny_clip import WIDTH, tiny_decoder, with_clip
from unicon import ArPriorSettings, AutoregressivePrior, PriorSettings, UniConPipeline
from unicon.embeddings import TextEmbeddings, identity, principal
from unicon.prior_ar import draw, enough_components, fit_buckets, sample_prior_ar
from unicon.sampling.noise import NoiseSource

COMPONENTS = 6


def tiny_prior_ar(*, width: int = WIDTH, tokens: int = TOKENS, seed: int = 0) -> AutoregressivePrior:
    torch.manual_seed(seed)
    sizes = {"components": COMPONENTS, "buckets": 32, "channels": 16, "layers": 2, "heads": 2}
    prior = AutoregressivePrior(width=width, num_tokens=tokens, **sizes).eval()
    with torch.no_grad():
        prior.to_bucket.weight.mul_(5)  # random predictions that lie apart
    if width == WIDTH:
        fit_buckets(prior, unit(200), unit(200, seed=7))
    return prior


@pytest.fixture(scope="module")
def pipe(tmp_path_factory) -> UniConPipeline:
    made = with_clip(tiny_pipeline(tmp_path_factory.mktemp("words")))
    made.add_decoder(tiny_decoder(made))
    made.add_prior(tiny_prior_ar(), identity(made.image_encoder))
    return made


# --- buckets ----------------------------------------------------------------------------------------------


def test_embeddings_come_back_from_their_buckets_up_to_what_was_left_out():
    z = unit(200)
    mean, directions, std = principal(z)
    torch.testing.assert_close(directions @ directions.T, torch.eye(WIDTH), atol=1e-5, rtol=0)
    assert bool((std.diff() <= 0).all())
    torch.testing.assert_close(std[0], ((z - mean) @ directions[0]).std(), atol=1e-4, rtol=1e-3)
    errors = []
    for components, buckets in ((WIDTH, 512), (WIDTH, 8), (3, 512)):
        prior = AutoregressivePrior(WIDTH, TOKENS, components, buckets=buckets, channels=8, layers=1, heads=1)
        fit_buckets(prior, z, unit(200, seed=7))
        errors.append(float((prior.to_embeddings(prior.to_buckets(z)) - z).square().mean()))
        outer = prior.to_buckets(100 * z)
        assert (int(outer.min()), int(outer.max())) == (0, buckets - 1)
    assert errors[0] < 1e-5 < errors[1] < errors[2]
    for error in (0.5, 0.01):
        num = enough_components(z, error)
        left = 1 - (std**2).cumsum(0) / (std**2).sum()
        assert left[num - 1] <= error
        assert num == 1 or left[num - 2] > error


def test_nearnesses_are_equally_common_in_the_training_set():
    z, said = unit(200), unit(200, seed=7)
    prior = tiny_prior_ar()
    counts = torch.bincount(prior.nearness(z, said), minlength=8)
    assert (int(counts.min()), int(counts.max())) == (25, 25)
    assert int(prior.nearness(said[:1], said[:1])) == 7


# --- the network ------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_component_is_told_all_before_it_and_nothing_after():
    prior, said, nearness = tiny_prior_ar(), texts(1), torch.tensor([3])
    buckets = prior.to_buckets(unit(1))
    before = prior(said, nearness, buckets)
    assert before.shape == (1, COMPONENTS, 32)

    def changed(*given) -> list[int]:
        return ((prior(*given) - before).abs().amax(-1)[0] > 1e-6).nonzero().flatten().tolist()

    other = buckets.clone()
    other[:, 2] = (other[:, 2] + 5) % 32
    assert changed(said, nearness, other) == list(range(3, COMPONENTS))
    everything = list(range(COMPONENTS))
    assert changed(said, torch.tensor([4]), buckets) == everything
    shifted = TextEmbeddings(projected=said.projected + 1, tokens=said.tokens, mask=said.mask)
    assert changed(shifted, nearness, buckets) == everything
    for place, seen in ((9, everything), (10, [])):  # ten tokens are the caption's own
        moved = said.tokens.clone()
        moved[:, place] += 1
        padded = TextEmbeddings(projected=said.projected, tokens=moved, mask=said.mask)
        assert changed(padded, nearness, buckets) == seen


@torch.no_grad()
def test_step_by_step_is_the_whole_at_once():
    prior, said, nearness = tiny_prior_ar(), texts(3), torch.tensor([0, 5, 7])
    buckets = prior.to_buckets(unit(3))
    whole = prior(said, nearness, buckets)
    x, mask = prior._prefix(said, nearness)
    past, steps = None, []
    for number in range(COMPONENTS):
        logits, past = prior._run(x, mask, past)
        steps.append(logits[:, -1])
        x = prior.from_bucket(buckets[:, number])[:, None]
    torch.testing.assert_close(torch.stack(steps, dim=1), whole, atol=1e-4, rtol=1e-4)


# --- sampling ---------------------------------------------------------------------------------------------


def test_draws_have_the_shares_that_temperature_and_top_p_leave():
    shares = torch.tensor([0.1, 0.5, 0.0, 0.4])
    chance = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    logits = shares.log().clamp(min=-100).expand(1000, -1)

    def found(**settings) -> list[float]:
        drawn = draw(logits, chance, ArPriorSettings(**settings))
        return (torch.bincount(drawn, minlength=4) / 1000).tolist()

    assert found(top_p=1.0) == pytest.approx([0.1, 0.5, 0, 0.4], abs=0.002)
    assert found(top_p=0.85) == pytest.approx([0, 5 / 9, 0, 4 / 9], abs=0.002)
    assert found(top_p=0.3) == [0, 1, 0, 0]
    hot = (shares**0.5 / (shares**0.5).sum()).tolist()
    assert found(top_p=1.0, temperature=2.0) == pytest.approx(hot, abs=0.002)


def test_a_prior_that_is_certain_is_sampled_exactly():
    prior, goal = tiny_prior_ar(), unit(1, seed=8)
    buckets = prior.to_buckets(goal)[0]
    with torch.no_grad():  # each place says its own bucket, whatever it reads
        for block in prior.blocks:
            for layer in (block.to_out, block.inner[2]):
                layer.weight.zero_()
                layer.bias.zero_()
        prior.places.zero_()
        prior.from_bucket.weight.zero_()
        prior.from_nearness.weight.zero_()
        answers = torch.zeros(COMPONENTS, 16)
        answers[torch.arange(COMPONENTS), torch.arange(COMPONENTS)] = 1
        prior.places[TOKENS + 1 :] = answers
        prior.to_bucket.weight.zero_()
        prior.to_bucket.bias.zero_()
        prior.to_bucket.weight[buckets, torch.arange(COMPONENTS)] += 50
    found = sample_prior_ar(prior, texts(), NoiseSource.from_seed(0, 3))
    torch.testing.assert_close(found, prior.to_embeddings(buckets[None]).expand(3, -1), atol=1e-5, rtol=1e-5)


def test_samples_are_unit_differ_and_do_not_depend_on_their_batch():
    prior, said = tiny_prior_ar(), texts(3)
    whole = sample_prior_ar(prior, said, NoiseSource.from_seed(4, 3))
    torch.testing.assert_close(whole.norm(dim=-1), torch.ones(3))
    first = sample_prior_ar(prior, said[:1], NoiseSource.from_seed(4, 1))
    torch.testing.assert_close(whole[:1], first, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(sample_prior_ar(prior, said, NoiseSource.from_seed(5, 3)), whole, atol=1e-2)
    one, best = (
        sample_prior_ar(prior, said, NoiseSource.from_seed(4, 3), ArPriorSettings(n_best=n)) for n in (1, 16)
    )
    assert bool(((best * said.z).sum(1) >= (one * said.z).sum(1) - 1e-5).all())


# --- in the pipeline --------------------------------------------------------------------------------------


def test_it_says_what_the_picture_looks_like_alone_or_beside_the_other(pipe):
    settings = ArPriorSettings(temperature=0.7)
    z = pipe.imagine(["a dog"], settings, NoiseSource.from_generator(seeded(0), 1))
    like = call(pipe, "a dog", like=z, generator=seeded(0)).images
    ar = call(pipe, "a dog", prior=settings, generator=seeded(0)).images
    np.testing.assert_allclose(ar, like, atol=1e-6)
    alone = call(pipe, "a dog", prior=True).images
    np.testing.assert_allclose(alone, call(pipe, "a dog", prior=ArPriorSettings()).images, atol=1e-6)
    with pytest.raises(
        ValueError, match="no prior for PriorSettings, only the other kind: .* ArPriorSettings"
    ):
        call(pipe, "a dog", prior=PriorSettings())
    pipe.add_prior(tiny_prior(), identity(pipe.image_encoder))
    diffusion = call(pipe, "a dog", prior=PriorSettings()).images
    assert np.array_equal(call(pipe, "a dog", prior=True).images, diffusion)
    np.testing.assert_allclose(call(pipe, "a dog", prior=ArPriorSettings()).images, alone, atol=1e-6)
    assert np.abs(diffusion - alone).max() > 1e-3


def test_both_are_saved_with_the_pipeline_and_come_back(pipe, tmp_path):
    pipe.add_prior(tiny_prior(), identity(pipe.image_encoder))
    pipe.save_pretrained(tmp_path / "saved")
    again = UniConPipeline.from_pretrained(tmp_path / "saved")
    again.set_progress_bar_config(disable=True)
    assert again.prior_clips == dict.fromkeys(("prior", "prior_ar"), identity(pipe.image_encoder))
    for settings in (PriorSettings(num_inference_steps=2), ArPriorSettings()):
        drawn = [call(each, "a dog", prior=settings).images for each in (pipe, again)]
        np.testing.assert_allclose(*drawn, atol=ROUNDING)
    again.unload_prior()
    with pytest.raises(ValueError, match="there is no prior"):
        again.imagine(["a dog"], ArPriorSettings())
    again.load_prior(tmp_path / "saved" / "prior_ar")
    assert again.prior is None
    np.testing.assert_allclose(call(again, "a dog", prior=True).images, drawn[0], atol=ROUNDING)


def test_refusals(pipe):
    fresh = AutoregressivePrior(WIDTH, TOKENS, 4, channels=8, layers=1, heads=1)
    with pytest.raises(ValueError, match="has no components .its std is zero."):
        pipe.add_prior(fresh)
    with pytest.raises(ValueError, match="3 embeddings have 2 components, not 4: give more pictures"):
        fit_buckets(fresh, unit(3), unit(3))
    with pytest.raises(ValueError, match="all 5 embeddings are the same"):
        enough_components(unit(1).expand(5, -1), 0.01)
    short = tiny_prior_ar(tokens=7)
    with pytest.raises(ValueError, match="reads texts of 7 tokens, this tokenizer makes 16"):
        pipe.add_prior(short)
    other = identity(pipe.image_encoder)
    with pytest.raises(ValueError, match="the prior was trained with ViT-H/14"):
        pipe.add_prior(tiny_prior_ar(), type(other)(name="ViT-H/14", width=WIDTH, weights=other.weights))
    with pytest.raises(ValueError, match="prior is a float; give True, PriorSettings"):
        call(pipe, "a dog", prior=1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature must be a number above 0, got 0.0; 1 is as learnt"),
        ({"top_p": 0.0}, "top_p must be a number above 0 and of at most 1, got 0.0"),
        ({"n_best": 0}, "n_best must be a whole number of at least 1, got 0"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ArPriorSettings(**settings)
