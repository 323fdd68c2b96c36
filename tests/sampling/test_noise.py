"""Noise depends on the sample's seed, the branch name and the step, and on nothing else."""

import pytest
import torch

from unicon.sampling.noise import INITIAL, NoiseSource, stable_hash

SHAPE = (4, 8, 8)


def test_noise_does_not_depend_on_the_batch():
    four, two = NoiseSource.from_seed(7, 4), NoiseSource.from_seed(7, 2)
    assert torch.equal(four.draw("image", 3, SHAPE)[:2], two.draw("image", 3, SHAPE))
    turned = NoiseSource(four.seeds[::-1])
    assert torch.equal(turned.draw("image", 3, SHAPE), four.draw("image", 3, SHAPE).flip(0))


def test_noise_differs_by_seed_branch_step_and_sample():
    source = NoiseSource.from_seed(7, 2)
    base = source.draw("image", 0, SHAPE)
    others = [
        source.draw("depth", 0, SHAPE),
        source.draw("image", 1, SHAPE),
        source.draw("image", INITIAL, SHAPE),
        NoiseSource.from_seed(8, 2).draw("image", 0, SHAPE),
        base.flip(0),
    ]
    assert all((base - other).abs().max() > 0.1 for other in others)


def test_noise_is_standard_normal():
    noise = NoiseSource.from_seed(0, 2).draw("image", INITIAL, (4, 64, 64))
    assert noise.dtype == torch.float32
    assert noise.mean().abs() < 0.02
    assert noise.std() == pytest.approx(1, abs=0.02)


def test_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    NoiseSource.from_seed(0, 2).draw("image", 0, SHAPE)
    assert torch.equal(before, torch.get_rng_state())


def test_the_hash_is_the_same_everywhere():
    # a changed value here means that every seed gives another picture
    assert stable_hash(7, "image", 3) == 2280445032096338142
    assert stable_hash("a", "bc") != stable_hash("ab", "c")


def test_a_generator_is_drawn_from():
    generator = torch.Generator().manual_seed(5)
    first, second = (NoiseSource.from_generator(generator, 2) for _ in range(2))
    assert first != second
    assert NoiseSource.from_generator(torch.Generator().manual_seed(5), 2) == first
    assert NoiseSource.from_generator(torch.Generator().manual_seed(5), 3).seeds[:2] == first.seeds


def test_one_generator_per_sample():
    def generators():
        return [torch.Generator().manual_seed(i) for i in (5, 6)]

    both = NoiseSource.from_generator(generators(), 2)
    assert both.seeds[1:] == NoiseSource.from_generator(generators()[1:], 1).seeds
    with pytest.raises(ValueError, match="got 2 generators for 3 samples"):
        NoiseSource.from_generator(generators(), 3)


def test_no_generator_draws_from_the_global_one():
    torch.manual_seed(3)
    first = NoiseSource.from_generator(None, 1)
    torch.manual_seed(3)
    assert NoiseSource.from_generator(None, 1) == first
    assert NoiseSource.from_generator(None, 1) != first
