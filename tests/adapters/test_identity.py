"""Is a fresh, disabled or removed adapter the base, bitwise, and does training touch the adapter alone?"""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, SlicedAttnProcessor

from adapters import JointAdapter, Pair, graft, grafted, joint_forward, merge_for_inference, ungraft, unmerge
from tests.adapters import tiny

BASES = [tiny.tiny_unet, tiny.sdxl_like_unet]


FORMS = [{"projection": "branch"}, {"projection": "fused"}, {"projection": "shared"}, {"locality": 5.0}]


@torch.no_grad()
@pytest.mark.parametrize("make", BASES)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_fresh_adapter_changes_nothing(make, form):
    unet = make()
    expected = tiny.plain(unet, 4)
    graft(unet, {"depth": JointAdapter.for_unet(unet, tiny.config(**form))})
    assert torch.equal(tiny.two_way(unet, items=4), expected)


@torch.no_grad()
@pytest.mark.parametrize("make", BASES)
def test_removing_restores_the_base(make):
    unet = make()
    expected, processors, keys = tiny.plain(unet), dict(unet.attn_processors), set(unet.state_dict())
    graft(unet, {"depth": tiny.trained(unet)})
    assert not torch.equal(tiny.two_way(unet), expected)
    assert torch.equal(tiny.plain(unet), expected), "the plain forward of a grafted UNet is the base's"
    ungraft(unet)
    assert torch.equal(tiny.plain(unet), expected)
    assert unet.attn_processors == processors
    assert {name for name, _ in unet.named_parameters()} == keys
    assert dict(grafted(unet)) == {}


@torch.no_grad()
def test_without_pairs_it_is_the_base():
    unet = tiny.tiny_unet()
    expected = tiny.plain(unet)
    graft(unet, {"depth": tiny.trained(unet)})
    assert torch.equal(tiny.two_way(unet, pairs=()), expected)


@torch.no_grad()
@pytest.mark.parametrize("merged", [False, True])
def test_an_image_that_does_not_read_is_the_base(merged):
    unet = tiny.tiny_unet()
    expected = tiny.plain(unet)
    graft(unet, {"depth": tiny.trained(unet)})
    if merged:
        merge_for_inference(unet)
    found = tiny.two_way(unet, pairs=[Pair(image=0, condition=1, adapter="depth", image_weight=0.0)])
    torch.testing.assert_close(found[0], expected[0], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(found[1], expected[1], atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("make", BASES)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_merged_is_unmerged(make, form):
    unet = make()
    graft(unet, {"depth": tiny.trained(unet, tiny.config(**form))})
    expected = tiny.two_way(unet, items=4, num_guidance=2)
    num_bytes = merge_for_inference(unet)
    merged = tiny.two_way(unet, items=4, num_guidance=2)
    unmerge(unet)
    torch.testing.assert_close(merged, expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(tiny.two_way(unet, items=4, num_guidance=2), expected)
    assert num_bytes > 0


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_training_reaches_every_tensor_and_nothing_of_the_base(form, checkpointing):
    unet = tiny.tiny_unet().requires_grad_(False).train()
    if checkpointing:
        unet.enable_gradient_checkpointing()
    before = {name: p.clone() for name, p in unet.named_parameters()}
    adapter = JointAdapter.for_unet(unet, tiny.config(**form))
    graft(unet, {"depth": adapter})
    assert {p for p in unet.parameters() if p.requires_grad} == set(adapter.parameters())
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(3):
        optimizer.zero_grad()
        (tiny.two_way(unet) - 1.0).square().mean().backward()
        optimizer.step()
    assert [name for name, p in adapter.tensors() if not p.grad.any()] == []
    ungraft(unet)
    assert all(torch.equal(p, before[name]) for name, p in unet.named_parameters())


def test_checkpointed_gradients_are_the_same():
    def gradients(checkpointing: bool) -> list[torch.Tensor]:
        unet = tiny.tiny_unet().requires_grad_(False).train()
        adapter = tiny.trained(unet).requires_grad_(True)
        graft(unet, {"depth": adapter})
        if checkpointing:
            unet.enable_gradient_checkpointing()
        tiny.two_way(unet).square().mean().backward()
        return [p.grad for p in adapter.parameters()]

    torch.testing.assert_close(gradients(True), gradients(False))


def test_adapter_keys_stay_out_of_the_base(tmp_path):
    unet = tiny.tiny_unet()
    state = unet.state_dict()
    graft(unet, {"depth": tiny.trained(unet)})
    assert unet.state_dict().keys() == state.keys()
    unet.load_state_dict(state)
    unet.save_pretrained(tmp_path)
    again = UNet2DConditionModel.from_pretrained(tmp_path)
    assert again.state_dict().keys() == state.keys()


def test_the_adapter_moves_with_its_base():
    unet = tiny.tiny_unet()
    adapter = tiny.trained(unet)
    graft(unet, {"depth": adapter})
    unet.to(torch.float64)
    assert {p.dtype for p in adapter.parameters()} == {torch.float64}


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_float32_adapter_on_a_half_precision_base(form):
    exact, unet = tiny.tiny_unet(), tiny.tiny_unet().to(torch.bfloat16)
    plain = tiny.plain(exact)
    graft(exact, {"depth": tiny.trained(exact, tiny.config(**form))})
    expected = tiny.two_way(exact)
    adapter = tiny.trained(unet, tiny.config(**form))
    graft(unet, {"depth": adapter})
    sample, timestep, text = (t.to(torch.bfloat16) if t.is_floating_point() else t for t in tiny.batch(2))
    found = joint_forward(unet, sample, timestep, text, pairs=tiny.PAIR, num_branches=2)
    assert found.dtype == torch.bfloat16
    assert next(adapter.parameters()).dtype == torch.float32
    assert (found.float() - expected).abs().mean() < 0.3 * (expected - plain).abs().mean()


def stable_diffusion_15() -> UNet2DConditionModel:
    with torch.device("meta"):
        return UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)


def test_rank_64_on_stable_diffusion_15_trains_little():
    unet = stable_diffusion_15()
    base = sum(p.numel() for p in unet.parameters())
    adapter = JointAdapter.for_unet(unet, tiny.config(rank=64))
    assert base == 859_520_964
    assert sum(p.numel() for p in adapter.parameters()) <= 0.035 * base


def test_same_seed_same_tensors():
    unet = tiny.tiny_unet()
    first, second, other = (JointAdapter.for_unet(unet, tiny.config(), seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    path = "mid_block.attentions.0.transformer_blocks.0"
    assert not torch.equal(first[path].attn1.image.q.down, other[path].attn1.image.q.down)


@torch.no_grad()
def test_adapters_come_and_go_one_by_one():
    unet = tiny.tiny_unet()
    depth, pose = tiny.trained(unet, seed=1), tiny.trained(unet, seed=2)
    graft(unet, {"depth": depth})
    alone = tiny.two_way(unet)
    graft(unet, {"pose": pose})
    assert list(grafted(unet)) == ["depth", "pose"]
    assert torch.equal(tiny.two_way(unet), alone)
    ungraft(unet, "pose")
    assert torch.equal(tiny.two_way(unet), alone)
    with pytest.raises(ValueError, match="no adapter 'pose' to take off; grafted: .'depth'."):
        ungraft(unet, "pose")


def test_graft_refuses():
    unet = tiny.tiny_unet()
    depth = tiny.trained(unet)
    with pytest.raises(ValueError, match="must be a non-empty name without dots"):
        graft(unet, {"a.b": depth})
    with pytest.raises(
        ValueError, match=r"adapter 'depth' was built for another base: .* blocks do not match"
    ):
        graft(tiny.sdxl_like_unet(), {"depth": depth})
    graft(unet, {"depth": depth})
    with pytest.raises(ValueError, match="an adapter 'depth' is already there"):
        graft(unet, {"depth": depth})
    merge_for_inference(unet)
    with pytest.raises(ValueError, match="merged for inference: call unmerge"):
        graft(unet, {"pose": depth})
    with pytest.raises(ValueError, match="merged for inference: call unmerge"):
        ungraft(unet)


def test_foreign_processors_are_not_replaced_silently():
    unet = tiny.tiny_unet()
    depth = tiny.trained(unet)
    unet.set_attn_processor(SlicedAttnProcessor(slice_size=1))
    with pytest.raises(
        ValueError, match="has the attention processor SlicedAttnProcessor, which joint attention would"
    ):
        graft(unet, {"depth": depth})
    assert dict(grafted(unet)) == {}


def test_attention_in_plain_products_is_the_same_base():
    unet = tiny.tiny_unet()
    processor = AttnProcessor()
    unet.set_attn_processor(processor)
    graft(unet, {"depth": tiny.trained(unet)})
    ungraft(unet)
    assert all(p is processor for p in unet.attn_processors.values())


def test_merge_refuses():
    with pytest.raises(ValueError, match="no adapters to merge"):
        merge_for_inference(tiny.tiny_unet())
    offloaded = tiny.tiny_unet().to("meta")
    graft(offloaded, {"depth": JointAdapter.for_unet(offloaded, tiny.config())})
    with pytest.raises(ValueError, match="attn1: the frozen weights are on `meta`: merge before offloading"):
        merge_for_inference(offloaded)


def test_merge_refuses_weights_that_are_not_all_there():
    unet = tiny.tiny_unet()
    graft(unet, {"depth": tiny.trained(unet)})
    attn = unet.mid_block.attentions[0].transformer_blocks[0].attn1
    attn.to_q.weight = torch.nn.Parameter(torch.empty(0))
    with pytest.raises(ValueError, match=r"sharded or packed \(Parameter of \(0,\)\)"):
        merge_for_inference(unet)
    attn.to_q = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(32, 32, bias=False))
    with pytest.raises(ValueError, match="has a ParametrizedLinear where a plain Linear can be merged"):
        merge_for_inference(unet)
