"""Does joint attention compile without a graph break, whole and block by block, with the same result?"""

from __future__ import annotations

import pytest
import torch

from adapters import ImageLora, Pair, graft, graft_lora, joint_forward, merge_for_inference, record_clean
from adapters.base import geometry
from adapters.layer_lora import new_update, updatable
from tests.adapters import tiny


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compile_whole(unet: torch.nn.Module) -> torch.nn.Module:
    return torch.compile(unet, backend="eager", fullgraph=True)


def compile_blocks(unet: torch.nn.Module) -> torch.nn.Module:
    unet.compile_repeated_blocks(backend="eager", fullgraph=True)
    return unet


def two_way(unet: torch.nn.Module) -> torch.Tensor:
    gated = (Pair(image=0, condition=1, adapter="depth", condition_weight=torch.tensor([0.0, 1.0])),)
    return tiny.two_way(unet, items=4, pairs=gated)


def shortcut(unet: torch.nn.Module) -> torch.Tensor:
    sample, timestep, text = tiny.batch(3)
    cache = record_clean(unet, sample[2:], 0, text[2:], pairs=tiny.PAIR, branches=[1])
    return joint_forward(
        unet, sample[:2], timestep[:2], text[:2], pairs=tiny.PAIR, num_branches=2, num_guidance=2, cache=cache
    )


@torch.no_grad()
@pytest.mark.parametrize(
    "compiler, mode, merged",
    [
        (compile_blocks, shortcut, True),
        pytest.param(compile_whole, two_way, False, marks=pytest.mark.slow),
        pytest.param(compile_whole, shortcut, True, marks=pytest.mark.slow),
        pytest.param(compile_blocks, two_way, False, marks=pytest.mark.slow),
    ],
)
def test_no_graph_break_and_the_next_step_compiles_nothing(compiler, mode, merged):
    unet = tiny.short_unet()
    graft(unet, {"depth": tiny.trained(unet, tiny.config(locality=5.0))})
    if merged:
        merge_for_inference(unet)
    expected = mode(unet)
    compiled = compiler(unet)
    torch.testing.assert_close(mode(compiled), expected, atol=1e-5, rtol=1e-4)
    with torch._dynamo.config.patch(error_on_recompile=True):
        mode(compiled)


@pytest.mark.slow
def test_training_step_compiles():
    unet = tiny.short_unet().requires_grad_(False)
    adapter = tiny.trained(unet).requires_grad_(True)
    graft(unet, {"depth": adapter})
    tiny.two_way(compile_whole(unet)).square().mean().backward()
    assert all(p.grad is not None for p in adapter.parameters())


@torch.no_grad()
def test_a_lora_of_one_blocks_layers_acts_in_that_block_alone():
    kinds = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
    unet = tiny.tiny_unet(**kinds, mid_block_type=None)
    _, second, *_ = geometry(unet).blocks
    layers = {n: new_update(layer, 2) for n, layer in updatable(unet).items() if n.startswith(f"{second}.ff")}
    attentions = {f"{block}.attn1.to_q": 2 for block in geometry(unet).blocks}
    lora = ImageLora(geometry(unet), attentions, layers=layers).requires_grad_(False)
    for number, parameter in enumerate(lora.parameters()):
        parameter.copy_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    graft_lora(unet, "ink", lora)
    expected = joint_forward(unet, *tiny.batch(2), pairs=[], num_branches=1)
    compiled = joint_forward(compile_blocks(unet), *tiny.batch(2), pairs=[], num_branches=1)
    torch.testing.assert_close(compiled, expected, atol=1e-5, rtol=1e-4)
