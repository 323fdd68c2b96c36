"""Does a decoder adapter start as the base, tell its embedding where it should, and come off again?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor

from adapters import (
    ClipIdentity,
    DecoderAdapter,
    DecoderConfig,
    ImageLora,
    Likeness,
    graft,
    graft_decoder,
    graft_lora,
    grafted_decoder,
    joint_forward,
    merge_for_inference,
    record_clean,
    ungraft,
    ungraft_decoder,
    unmerge,
)
from tests.adapters import tiny
from tests.adapters.tiny_decoders import CLIP, CONFIG, likeness, told, trained

BASES = [tiny.tiny_unet, tiny.sdxl_like_unet]


def plain(unet: torch.nn.Module) -> Tensor:
    return tiny.plain(unet, 4)


@torch.no_grad()
@pytest.mark.parametrize("make", BASES)
def test_fresh_it_is_the_base_bitwise_with_and_without_joint_adapters(make):
    unet = make()
    expected = plain(unet)
    graft_decoder(unet, DecoderAdapter.for_unet(unet, CONFIG))
    assert torch.equal(told(unet, likeness(4)), expected)
    assert torch.equal(plain(unet), expected)
    graft(unet, {"depth": tiny.trained(unet)})
    joint = tiny.two_way(unet, items=4)
    assert torch.equal(tiny.two_way(unet, items=4, likeness=likeness(2)), joint)


@torch.no_grad()
@pytest.mark.parametrize("make", BASES)
def test_removed_weightless_or_without_a_likeness_it_is_the_base_bitwise(make):
    unet = make()
    expected, processors, keys = plain(unet), dict(unet.attn_processors), set(unet.state_dict())
    graft_decoder(unet, trained(unet))
    assert not torch.allclose(told(unet, likeness(4)), expected, atol=1e-2)
    assert torch.equal(told(unet, likeness(4, weight=0.0)), expected)
    assert torch.equal(told(unet, None), expected)
    assert torch.equal(plain(unet), expected), "the plain forward of a grafted UNet is the base's"
    ungraft_decoder(unet)
    assert grafted_decoder(unet) is None
    assert torch.equal(plain(unet), expected)
    assert unet.attn_processors == processors
    assert {name for name, _ in unet.named_parameters()} == keys


@torch.no_grad()
def test_appended_zero_tokens_would_not_be_the_base():
    """Why z has an attention of its own."""
    unet = tiny.tiny_unet()
    sample, timestep, text = tiny.batch(2)
    longer = torch.cat([text, torch.zeros(2, 4, 12)], dim=1)
    assert (unet(sample, timestep, longer).sample - unet(sample, timestep, text).sample).abs().max() > 1e-3


@torch.no_grad()
def test_it_enters_by_tokens_and_by_the_time_embedding():
    for silent in ("out", "time"):
        unet = tiny.tiny_unet()
        decoder, expected = trained(unet), plain(unet)
        for name, tensor in decoder.named_parameters():
            if f"{silent}." in name:
                tensor.zero_()
        graft_decoder(unet, decoder)
        assert not torch.allclose(told(unet, likeness(4)), expected, atol=1e-3)


@torch.no_grad()
def test_the_attention_is_softmax_over_its_own_tokens():
    """An independent one by hand, added to the frozen text attention's output."""
    unet = tiny.tiny_unet()
    path = "mid_block.attentions.0.transformer_blocks.0"
    attn = unet.get_submodule(path).attn2
    hidden, tokens = torch.randn(1, 2, 5, attn.query_dim), torch.randn(1, 2, 3, 8)
    part = trained(unet).part(path)
    q, k, v = attn.to_q(hidden), tokens @ part.key.weight.T, tokens @ part.value.weight.T
    heads = [t.unflatten(-1, (attn.heads, -1)).transpose(-2, -3) for t in (q, k, v)]
    scores = heads[0] @ heads[1].mT / heads[0].shape[-1] ** 0.5
    found = (scores.softmax(-1) @ heads[2]).transpose(-2, -3).flatten(-2)
    torch.testing.assert_close(part(attn, hidden, tokens), found @ part.out.weight.T)


@torch.no_grad()
@pytest.mark.parametrize("silent", ["out", "time"])
def test_all_that_it_adds_is_multiplied_by_its_weight(silent):
    """To first order, by tokens alone and by the time embedding alone."""
    unet = tiny.tiny_unet()
    decoder = trained(unet)
    for name, tensor in decoder.named_parameters():
        if f"{silent}." in name:
            tensor.zero_()
    graft_decoder(unet, decoder)
    unet.double()
    sample, timestep, text = tiny.batch(2)

    def found(weight: float) -> Tensor:
        like = likeness(2, weight=weight)
        like = replace(like, z=like.z.double(), noise_level=like.noise_level.double())
        return joint_forward(
            unet, sample.double(), timestep, text.double(), pairs=(), num_branches=1, likeness=like
        )

    small = 1e-5
    base, once, twice = (found(weight) for weight in (0.0, small, 2 * small))
    torch.testing.assert_close((twice - base) / small, 2 * (once - base) / small, atol=1e-3, rtol=1e-2)
    assert ((once - base) / small).abs().max() > 0.05


@torch.no_grad()
def test_only_the_branches_that_are_told_change():
    unet = tiny.tiny_unet()
    graft(unet, {"depth": tiny.trained(unet)})
    apart = {"pairs": tiny.PAIR, "num_branches": 2}
    graft_decoder(unet, trained(unet))
    without = tiny.two_way(unet, items=4)
    alone = tiny.two_way(unet, items=4, likeness=likeness(2))
    both = tiny.two_way(unet, items=4, likeness=likeness(2, branches=(0, 1)))
    assert not torch.allclose(alone[:2], without[:2], atol=1e-3)
    assert not torch.allclose(both[2:], alone[2:], atol=1e-3)
    one_way = [replace(tiny.PAIR[0], condition_weight=0.0)]
    expected = tiny.two_way(unet, items=4, **{**apart, "pairs": one_way})
    found = tiny.two_way(unet, items=4, **{**apart, "pairs": one_way}, likeness=likeness(2))
    assert torch.equal(found[2:], expected[2:]), "a map that does not read the image does not know of z"


@torch.no_grad()
def test_every_guidance_half_and_sample_has_its_own():
    unet = tiny.tiny_unet()
    graft_decoder(unet, trained(unet))
    given = torch.tensor([[False, True], [True, True]])
    like = likeness(2, guidance=2, given=given, noise_level=torch.tensor([[5.0, 0.0], [300.0, 0.0]]))
    found = told(unet, like, num_guidance=2)
    for half in (0, 1):
        for row in (0, 1):
            sample, timestep, text = (t[2 * half + row :][:1] for t in tiny.batch(4))
            one = Likeness(
                z=like.z[half : half + 1, row : row + 1],
                noise_level=like.noise_level[half : half + 1, row : row + 1],
                given=given[half : half + 1, row : row + 1],
            )
            alone = joint_forward(unet, sample, timestep, text, pairs=(), num_branches=1, likeness=one)
            torch.testing.assert_close(found[2 * half + row], alone[0], atol=1e-5, rtol=1e-4)
    level = replace(like, noise_level=torch.zeros(2, 2))
    assert torch.equal(told(unet, level, num_guidance=2)[0], found[0]), "none has no noise level"
    assert not torch.allclose(told(unet, level, num_guidance=2)[2], found[2], atol=1e-4)


@torch.no_grad()
def test_beside_a_branch_that_is_cached_clean_and_in_guidance_halves():
    unet = tiny.tiny_unet()
    graft(unet, {"depth": tiny.trained(unet)})
    graft_decoder(unet, trained(unet))
    sample, _, text = tiny.batch(8)
    clean = sample[2:4]
    sample[2:4], sample[6:8], text[6:8] = clean, clean, text[2:4]
    timestep = torch.tensor([700, 700, 0, 0, 700, 700, 0, 0])
    pairs = [replace(tiny.PAIR[0], condition_weight=0.0)]
    like = likeness(2, guidance=2, given=torch.tensor([[False, False], [True, True]]))
    whole = joint_forward(
        unet, sample, timestep, text, pairs=pairs, num_branches=2, num_guidance=2, likeness=like
    )
    cache = record_clean(unet, clean, 0, text[2:4], pairs=tiny.PAIR, branches=[1])
    images = torch.tensor([0, 1, 4, 5])
    short = joint_forward(
        unet, sample[images], 700, text[images], pairs=tiny.PAIR, num_branches=2, num_guidance=2,
        cache=cache, likeness=like,
    )  # fmt: skip
    torch.testing.assert_close(short, whole[images], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_it_stacks_with_styles_and_merged_adapters():
    unet = tiny.tiny_unet()
    graft(unet, {"depth": tiny.trained(unet)})
    lora = ImageLora.for_unet(unet, 2)
    for _, update in lora.items():
        update.up.copy_(0.3 * torch.randn(update.up.shape, generator=torch.Generator().manual_seed(1)))
    graft_lora(unet, "ink", lora)
    plainly = tiny.two_way(unet, items=4)
    graft_decoder(unet, trained(unet))
    expected = tiny.two_way(unet, items=4, likeness=likeness(2))
    assert not torch.allclose(expected, plainly, atol=1e-2)
    merge_for_inference(unet)
    torch.testing.assert_close(
        tiny.two_way(unet, items=4, likeness=likeness(2)), expected, atol=1e-4, rtol=1e-4
    )
    with pytest.raises(ValueError, match="merged for inference: call unmerge"):
        ungraft_decoder(unet)
    unmerge(unet)
    ungraft(unet)
    assert torch.equal(grafted_decoder(unet).adapter.mean, torch.full((6,), 0.1)), "it stays by itself"
    ungraft_decoder(unet)
    assert not torch.equal(told(unet, None), plain(unet)), "the style stays, too"


@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_reaches_every_tensor_and_nothing_of_the_base(checkpointing):
    unet = tiny.tiny_unet().requires_grad_(False).train()
    if checkpointing:
        unet.enable_gradient_checkpointing()
    before = {name: p.clone() for name, p in unet.named_parameters()}
    decoder = DecoderAdapter.for_unet(unet, CONFIG)
    graft_decoder(unet, decoder)
    assert {p for p in unet.parameters() if p.requires_grad} == set(decoder.parameters())
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=1e-2, weight_decay=0.0)
    like = likeness(4, given=torch.tensor([[True, False, True, True]]))
    for _ in range(3):
        optimizer.zero_grad()
        (told(unet, like) - 1.0).square().mean().backward()
        optimizer.step()
    assert [name for name, p in decoder.named_parameters() if not p.grad.any()] == []
    ungraft_decoder(unet)
    assert all(torch.equal(p, before[name]) for name, p in unet.named_parameters())


def test_its_keys_stay_out_of_the_base_and_it_moves_with_it(tmp_path):
    unet = tiny.tiny_unet()
    state = unet.state_dict()
    graft_decoder(unet, trained(unet))
    assert unet.state_dict().keys() == state.keys()
    unet.load_state_dict(state)
    unet.save_pretrained(tmp_path)
    assert UNet2DConditionModel.from_pretrained(tmp_path).state_dict().keys() == state.keys()
    unet.to(torch.float64)
    assert {p.dtype for p in grafted_decoder(unet).adapter.parameters()} == {torch.float64}


@torch.no_grad()
def test_float32_on_a_half_precision_base():
    exact, unet = tiny.tiny_unet(), tiny.tiny_unet().to(torch.bfloat16)
    plain = tiny.plain(exact)
    graft_decoder(exact, trained(exact))
    expected = told(exact, likeness(2), items=2)
    graft_decoder(unet, trained(unet))
    sample, timestep, text = (t.to(torch.bfloat16) if t.is_floating_point() else t for t in tiny.batch(2))
    found = joint_forward(unet, sample, timestep, text, pairs=(), num_branches=1, likeness=likeness(2))
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).abs().mean() < 0.3 * (expected - plain).abs().mean()


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("whole", [True, False])
def test_no_graph_break(whole):
    torch._dynamo.reset()
    unet = tiny.short_unet()
    graft(unet, {"depth": tiny.trained(unet)})
    graft_decoder(unet, trained(unet))
    expected = tiny.two_way(unet, items=4, likeness=likeness(2))
    if whole:
        compiled = torch.compile(unet, backend="eager", fullgraph=True)
    else:
        unet.compile_repeated_blocks(backend="eager", fullgraph=True)
        compiled = unet
    found = tiny.two_way(compiled, items=4, likeness=likeness(2))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    again = tiny.two_way(compiled, items=4, likeness=likeness(2, weight=0.5))
    assert not torch.allclose(again, expected, atol=1e-3)
    torch._dynamo.reset()


def test_statistics_make_embeddings_normal_and_same_seed_same_tensors():
    unet = tiny.tiny_unet()
    decoder = trained(unet)
    z = 0.1 + 0.5 * torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(decoder.normalise(z) * 0.5 + 0.1, z)
    first, second, other = (DecoderAdapter.for_unet(unet, CONFIG, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.tokens.weight, other.tokens.weight)


def test_refusals():
    unet = tiny.tiny_unet()
    with pytest.raises(ValueError, match="no decoder adapter is grafted"):
        told(unet, likeness(4))
    with pytest.raises(ValueError, match="no decoder adapter to take off"):
        ungraft_decoder(unet)
    graft_decoder(unet, trained(unet))
    with pytest.raises(ValueError, match="already there: ungraft_decoder first"):
        graft_decoder(unet, trained(unet))
    with pytest.raises(ValueError, match=r"likeness.z has shape \(1, 3, 6\), this call needs \(1, 4, 6\)"):
        told(unet, likeness(3))
    with pytest.raises(ValueError, match="the decoder adapter was built for another base"):
        graft_decoder(tiny.sdxl_like_unet(), trained(unet))
    with pytest.raises(ValueError, match="the decoder's config was built for another base"):
        DecoderAdapter.for_unet(tiny.sdxl_like_unet(), trained(unet).config)
    with pytest.raises(ValueError, match="num_tokens=0: must be at least 1"):
        DecoderConfig(clip=CLIP, num_tokens=0)
    with pytest.raises(ValueError, match="token_width=0: must be at least 1"):
        DecoderConfig(clip=CLIP, token_width=0)


def test_attention_in_plain_products_is_the_same_base():
    unet = tiny.tiny_unet()
    unet.set_attn_processor(AttnProcessor())
    expected = plain(unet)
    graft_decoder(unet, DecoderAdapter.for_unet(unet, CONFIG))
    assert torch.equal(told(unet, likeness(4)), expected)


def test_what_it_adds_to_stable_diffusion_15():
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    config = DecoderConfig(clip=ClipIdentity(name="ViT-L/14", width=768, weights=()))
    decoder = DecoderAdapter.for_unet(unet, config)
    assert sum(p.numel() for p in decoder.parameters()) <= 0.03 * sum(p.numel() for p in unet.parameters())
