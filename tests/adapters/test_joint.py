"""Do branches read each other as the pairs say, in any bipartite list, two-way and from a cache?"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adapters import CleanCache, Pair, graft, joint_forward, merge_for_inference, record_clean
from adapters.joint import _average, _in_plain_products, attend
from tests.adapters import tiny

BOTH = pytest.mark.parametrize("merged", [False, True])
CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def make_unet(*, merged: bool = False, names: tuple[str, ...] = ("depth", "pose"), **config: object):
    unet = tiny.tiny_unet()
    graft(unet, {name: tiny.trained(unet, tiny.config(**config), seed=i) for i, name in enumerate(names)})
    if merged:
        merge_for_inference(unet)
    return unet


def pair(image: int, condition: int, adapter: str = "depth", **weights: object) -> Pair:
    return Pair(image=image, condition=condition, adapter=adapter, **weights)


def branches(batch: Tensor, num_branches: int, num_guidance: int = 1) -> Tensor:
    """(guidance, branch, sample, ...)"""
    return batch.unflatten(0, (num_guidance, num_branches, -1))


@torch.no_grad()
@BOTH
def test_guidance_halves_and_samples_do_not_mix(merged):
    unet = make_unet(merged=merged)
    sample, timestep, text = tiny.batch(8)
    whole = joint_forward(unet, sample, timestep, text, pairs=tiny.PAIR, num_branches=2, num_guidance=2)
    for guidance in range(2):
        for item in range(2):
            index = torch.tensor([guidance * 4 + item, guidance * 4 + 2 + item])
            alone = joint_forward(
                unet, sample[index], timestep[index], text[index], pairs=tiny.PAIR, num_branches=2
            )
            torch.testing.assert_close(whole[index], alone, **CLOSE)


@torch.no_grad()
@BOTH
def test_several_adapters_sum_on_one_image(merged):
    """To first order in the weights, an image that reads two maps receives what each gives alone, summed."""
    unet = make_unet(merged=merged).double()
    sample, timestep, text = tiny.batch(3)

    def image(depth: float, pose: float) -> Tensor:
        pairs = [
            pair(0, 1, image_weight=depth, condition_weight=0.0),
            pair(0, 2, "pose", image_weight=pose, condition_weight=0.0),
        ]
        return joint_forward(unet, sample.double(), timestep, text.double(), pairs=pairs, num_branches=3)[0]

    small = 1e-5
    none, depth, pose, both = image(0.0, 0.0), image(small, 0.0), image(0.0, small), image(small, small)
    torch.testing.assert_close((both - none) / small, (depth + pose - 2 * none) / small, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(depth, pose, rtol=0, atol=1e-7)


@torch.no_grad()
@BOTH
def test_branch_order_does_not_matter(merged):
    unet = make_unet(merged=merged)
    sample, timestep, text = tiny.batch(3)
    forward = joint_forward(
        unet, sample, timestep, text, pairs=[pair(0, 1), pair(0, 2, "pose")], num_branches=3
    )
    order = torch.tensor([2, 0, 1])
    turned = joint_forward(
        unet,
        sample[order],
        timestep[order],
        text[order],
        pairs=[pair(1, 0, "pose"), pair(1, 2)],
        num_branches=3,
    )
    torch.testing.assert_close(turned, forward[order], **CLOSE)


@torch.no_grad()
@BOTH
def test_several_images_with_one_condition(merged):
    """With a condition that reads nobody, each image is as if it were alone with it."""
    unet = make_unet(merged=merged)
    sample, timestep, text = tiny.batch(3)
    pairs = [pair(0, 2, condition_weight=0.0), pair(1, 2, condition_weight=0.0)]
    found = joint_forward(unet, sample, timestep, text, pairs=pairs, num_branches=3)
    for image in range(2):
        index = torch.tensor([image, 2])
        alone = joint_forward(
            unet,
            sample[index],
            timestep[index],
            text[index],
            pairs=[pair(0, 1, condition_weight=0.0)],
            num_branches=2,
        )
        torch.testing.assert_close(found[index], alone, **CLOSE)


@torch.no_grad()
@BOTH
@pytest.mark.parametrize("shape", [(2,), (2, 2)])
def test_a_weight_per_sample_is_that_weight_for_each(merged, shape):
    unet = make_unet(merged=merged)
    sample, timestep, text = tiny.batch(8)
    weights = torch.tensor([0.3, 1.0]).expand(shape)
    whole = joint_forward(
        unet, sample, timestep, text, pairs=[pair(0, 1, image_weight=weights)], num_branches=2, num_guidance=2
    )
    for item, weight in enumerate((0.3, 1.0)):
        alone = joint_forward(
            unet,
            sample,
            timestep,
            text,
            pairs=[pair(0, 1, image_weight=weight)],
            num_branches=2,
            num_guidance=2,
        )
        torch.testing.assert_close(
            branches(whole, 2, 2)[:, :, item], branches(alone, 2, 2)[:, :, item], **CLOSE
        )


@torch.no_grad()
@BOTH
@pytest.mark.parametrize("projection", ["branch", "shared", "fused"])
@pytest.mark.parametrize("side", ["image", "condition"])
def test_a_weight_of_zero_is_a_weight_of_zero_however_it_is_given(merged, projection, side):
    """The number switches the read off, a tensor multiplies it; a fused projection needs both reads."""
    unet = make_unet(merged=merged, projection=projection)
    number, tensor, on = (
        joint_forward(unet, *tiny.batch(4), pairs=[pair(0, 1, **{f"{side}_weight": w})], num_branches=2)
        for w in (0.0, torch.zeros(2), 1.0)
    )
    torch.testing.assert_close(number, tensor, **CLOSE)
    assert not torch.allclose(number, on, atol=1e-3)


@torch.no_grad()
@BOTH
@pytest.mark.parametrize("held", ["image", "condition"])
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"condition_lora": False},
        {"pool_keys": 2},
        {"skip_blocks": ("mid_block",)},
        {"locality": 5.0, "pool_keys": 2},
    ],
)
def test_shortcut_is_the_gated_two_way_run(merged, held, config):
    """Training gates a CLEAN branch's reading off with per-sample weights; a run computes it only once."""
    unet = make_unet(merged=merged, **config)
    sample, timestep, text = tiny.batch(4)
    clean, runs = (0, 1) if held == "image" else (1, 0)
    branches(timestep, 2)[:, clean] = 0
    gate = {f"{held}_weight": torch.zeros(2)}
    expected = joint_forward(unet, sample, timestep, text, pairs=[pair(0, 1, **gate)], num_branches=2)
    sample, text, timestep = (branches(t, 2)[0] for t in (sample, text, timestep))
    cache = record_clean(unet, sample[clean], 0, text[clean], pairs=tiny.PAIR, branches=[clean])
    found = joint_forward(
        unet, sample[runs], timestep[runs], text[runs], pairs=tiny.PAIR, num_branches=2, cache=cache
    )
    torch.testing.assert_close(found, branches(expected, 2)[0, runs], **CLOSE)
    assert cache.num_bytes > 0


@torch.no_grad()
@BOTH
@pytest.mark.parametrize("halves", [1, 2])
def test_shortcut_with_guidance_and_two_maps(merged, halves):
    """A cache of one half serves both: the unconditional image reads the conditional maps."""
    unet = make_unet(merged=merged)
    pairs = [pair(0, 1), pair(0, 2, "pose")]
    maps, _, map_text = tiny.batch(4, seed=1)  # two maps, two samples
    images, timestep, image_text = tiny.batch(4, seed=2)  # two halves, two samples
    cache = record_clean(
        unet,
        maps.repeat(halves, 1, 1, 1),
        0,
        map_text.repeat(halves, 1, 1),
        pairs=pairs,
        branches=[1, 2],
        num_guidance=halves,
    )
    found = joint_forward(
        unet, images, timestep, image_text, pairs=pairs, num_branches=3, num_guidance=2, cache=cache
    )
    for half in range(2):
        rows = slice(2 * half, 2 * half + 2)
        expected = joint_forward(
            unet,
            torch.cat([images[rows], maps]),
            torch.cat([timestep[rows], torch.zeros(4, dtype=torch.long)]),
            torch.cat([image_text[rows], map_text]),
            pairs=[pair(0, 1, condition_weight=0.0), pair(0, 2, "pose", condition_weight=0.0)],
            num_branches=3,
        )
        torch.testing.assert_close(found[rows], expected[:2], **CLOSE)


@torch.no_grad()
def test_one_map_held_and_one_running():
    unet = make_unet()
    pairs = [pair(0, 1), pair(0, 2, "pose")]
    sample, timestep, text = tiny.batch(3)
    timestep[1] = 0
    expected = joint_forward(
        unet, sample, timestep, text, pairs=[pair(0, 1, condition_weight=0.0), pairs[1]], num_branches=3
    )
    cache = record_clean(unet, sample[1:2], 0, text[1:2], pairs=pairs, branches=[1])
    rest = torch.tensor([0, 2])
    found = joint_forward(
        unet, sample[rest], timestep[rest], text[rest], pairs=pairs, num_branches=3, cache=cache
    )
    torch.testing.assert_close(found, expected[rest], **CLOSE)


@pytest.mark.parametrize("items", [(1, 1), (1, 2), (2, 1)])
def test_pooled_keys_suit_the_fast_kernels_of_attention(items):
    """Which want the channels of a token side by side; of one item alone pooling left them far apart."""
    pooled = _average(torch.randn(*items, 64, 8), 8, 8, 2)
    assert pooled.shape == (*items, 16, 8)
    assert pooled.stride(-1) == 1


@torch.no_grad()
def test_pooling_acts_at_the_top_resolution_and_takes_odd_sizes():
    unet = make_unet(names=("depth",), pool_keys=2)
    sample, timestep, text = tiny.batch(1, size=9)
    cache = record_clean(unet, sample, 0, text, pairs=tiny.PAIR, branches=[1])
    lengths = {path.split(".")[0]: block[1, "depth"][0].shape[-2] for path, block in cache.blocks.items()}
    assert lengths == {"down_blocks": 25, "mid_block": 25, "up_blocks": 25}
    found = joint_forward(unet, sample, timestep, text, pairs=tiny.PAIR, num_branches=2, cache=cache)
    assert found.isfinite().all()


@torch.no_grad()
def test_skipped_blocks_do_not_read():
    everywhere = ("down_blocks", "mid_block", "up_blocks")
    unet = make_unet(names=("depth",), skip_blocks=everywhere, condition_lora=False)
    sample, timestep, text = tiny.batch(2)
    found = joint_forward(unet, sample, timestep, text, pairs=tiny.PAIR, num_branches=2)
    assert torch.equal(found, unet(sample, timestep, text).sample)


def test_skip_blocks_must_name_blocks():
    with pytest.raises(ValueError, match="skip_blocks names 'down_blocks.5', but no block is there"):
        make_unet(skip_blocks=("down_blocks.5",))


@pytest.mark.parametrize(
    "pairs, match",
    [
        ([pair(0, 1, "edge")], "no adapter 'edge' is grafted; grafted: .'depth', 'pose'."),
        ([pair(0, 3)], r"there is no branch 3; branches: \[0, 1, 2\]"),
        ([pair(0, 1), pair(1, 2)], "branch 1 is an image in one pair and a condition in another"),
        ([pair(0, 2), pair(1, 2, "pose")], "condition branch 2 is paired through 'depth' and 'pose'"),
        ([pair(0, 1), pair(0, 1)], "the same image and condition are paired twice"),
        ([pair(0, 1, image_weight=torch.ones(3))], r"image_weight has shape \(3,\)"),
    ],
)
def test_pairs_that_make_no_sense(pairs, match):
    unet = make_unet()
    with pytest.raises(ValueError, match=match):
        joint_forward(unet, *tiny.batch(6), pairs=pairs, num_branches=3)


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"num_branches": 3}, "a batch of 4 items is no .guidance, branch, sample. view"),
        ({"num_guidance": 0}, "got 0 guidance halves"),
        ({"timestep": torch.zeros(3)}, r"timestep has shape \(3,\)"),
        (
            {"encoder_hidden_states": torch.zeros(2, 5, 12)},
            "encoder_hidden_states has 2 items, the latents 4",
        ),
    ],
)
def test_batches_that_do_not_fit(changes, match):
    unet = make_unet()
    sample, timestep, text = tiny.batch(4)
    arguments = {"timestep": timestep, "encoder_hidden_states": text, "pairs": tiny.PAIR, "num_branches": 2}
    with pytest.raises(ValueError, match=match):
        joint_forward(unet, sample, **{**arguments, **changes})


@pytest.mark.parametrize(
    "config, match",
    [
        ({"projection": "fused"}, "'fused' projection, which needs both branches in every step"),
        ({"projection": "shared"}, "'shared' projection, which needs both branches in every step"),
        ({"reads_when_clean": True}, "trained with reads_when_clean=True"),
    ],
)
def test_the_shortcut_needs_an_adapter_trained_for_it(config, match):
    unet = make_unet(**config)
    sample, _, text = tiny.batch(1)
    with pytest.raises(ValueError, match=match):
        record_clean(unet, sample, 0, text, pairs=tiny.PAIR, branches=[1])


def recorded(unet: torch.nn.Module, items: int = 1, **changes: object) -> CleanCache:
    sample, _, text = tiny.batch(items)
    return record_clean(unet, sample, 0, text, **{"pairs": tiny.PAIR, "branches": [1], **changes})


@pytest.mark.parametrize(
    "make, pairs, num_branches, match",
    [
        (
            lambda unet: recorded(unet, 2),
            tiny.PAIR,
            2,
            "the cache holds 2 samples of .8, 8. latents, the call has 1",
        ),
        (
            lambda unet: recorded(unet, 3, num_guidance=3),
            tiny.PAIR,
            2,
            "the cache holds 3 guidance halves, the call 1",
        ),
        (
            lambda unet: recorded(unet, branches=[2]),
            tiny.PAIR,
            1,
            "holds branch 2, but there are only 1 branches",
        ),
        (recorded, [pair(0, 1, "pose")], 2, "the cache has no branch 1 under 'pose'"),
    ],
)
def test_a_cache_of_another_run(make, pairs, num_branches, match):
    unet = make_unet()
    cache = make(unet)
    with pytest.raises(ValueError, match=match):
        joint_forward(unet, *tiny.batch(1), pairs=pairs, num_branches=num_branches, cache=cache)


def test_attention_that_learns_is_the_same_attention():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(3, tokens, 16, generator=generator, dtype=torch.float64, requires_grad=True)
        for tokens in (6, 9, 9)
    )
    split = [t.unflatten(-1, (4, 4)).transpose(1, 2) for t in (query, key, value)]
    fused = torch.nn.functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
    learning = _in_plain_products(*split).transpose(1, 2).flatten(2)
    torch.testing.assert_close(learning, fused)
    wanted = torch.autograd.grad(fused.square().sum(), (query, key, value))
    torch.testing.assert_close(torch.autograd.grad(learning.square().sum(), (query, key, value)), wanted)
    # Only bfloat16 takes that way on a CPU, and only where there is a gradient.
    rough = [t.bfloat16() for t in (query, key, value)]
    found = attend(*rough, heads=4)
    assert "Bmm" in _grad_names(found)
    torch.testing.assert_close(found.double(), fused, atol=0.03, rtol=0.03)
    assert "Bmm" not in _grad_names(attend(query, key, value, heads=4))
    with torch.no_grad():
        torch.testing.assert_close(attend(query, key, value, heads=4), fused)


def _grad_names(tensor: Tensor) -> str:
    """Names of the operations a tensor came from, as far back as ten steps."""
    nodes, names = [tensor.grad_fn], []
    for _ in range(10):
        names += [type(node).__name__ for node in nodes if node]
        nodes = [before for node in nodes if node for before, _ in node.next_functions]
    return " ".join(names)
