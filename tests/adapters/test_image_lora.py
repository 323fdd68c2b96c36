"""Does a LoRA reach the image branch and nothing else, and do other tools read what is written?"""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from adapters import (
    ImageLora,
    Pair,
    graft,
    graft_lora,
    grafted_loras,
    joint_forward,
    load_lora,
    lora_weights,
    merge_for_inference,
    save_lora,
    set_lora_weight,
    ungraft,
    ungraft_lora,
    unmerge,
)
from adapters.base import geometry
from adapters.image_lora import matrix_names
from adapters.layer_lora import new_update, updatable
from tests.adapters.tiny import PAIR, batch, sdxl_like_unet, tiny_unet, trained, two_way


def learnt(unet, rank: int = 3, seed: int = 5) -> ImageLora:
    """A LoRA none of whose tensors is zero."""
    lora = ImageLora.for_unet(unet, rank, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for _, update in lora.items():
        update.up.data.copy_(0.3 * torch.randn(update.up.shape, generator=generator))
    return lora.requires_grad_(False)


def alone(unet, **changes) -> torch.Tensor:
    """One image branch of two samples, without any condition."""
    with torch.no_grad():
        return joint_forward(unet, *batch(2), pairs=[], num_branches=1, **changes)


def both(unet, *, reads: float) -> torch.Tensor:
    """(image, map)."""
    pair = Pair(image=0, condition=1, adapter="depth", image_weight=1.0, condition_weight=reads)
    with torch.no_grad():
        return joint_forward(unet, *batch(2), pairs=[pair], num_branches=2)


def test_it_is_the_sum_of_matrices_on_the_image_branch():
    unet, lora = tiny_unet(), learnt(tiny_unet())
    before = alone(unet)
    graft_lora(unet, "ink", lora, weight=0.5)
    found = alone(unet)
    assert not torch.allclose(found, before, atol=1e-3)
    changed = tiny_unet()
    modules = dict(changed.named_modules())
    for name, update in lora.items():
        modules[name].weight.data.add_(0.5 * update.matrix())
    torch.testing.assert_close(found, alone(changed), rtol=1e-5, atol=1e-6)
    set_lora_weight(unet, "ink", 0.0)
    assert torch.equal(alone(unet), before)


def test_the_map_does_not_change_by_a_bit_while_it_does_not_read():
    unet = tiny_unet()
    graft(unet, {"depth": trained(unet)})
    before = {reads: both(unet, reads=reads) for reads in (0.0, 1.0)}
    graft_lora(unet, "ink", learnt(unet))
    for reads, same in ((0.0, True), (1.0, False)):
        image, drawn = both(unet, reads=reads)
        assert not torch.equal(image, before[reads][0])
        assert torch.equal(drawn, before[reads][1]) is same


def test_a_fresh_one_changes_nothing_and_the_plain_forward_stays_the_bases():
    unet = tiny_unet()
    original = [block.processor for block in unet.modules() if hasattr(block, "processor")]
    sample, timestep, text = batch(2)
    plain, before = unet(sample, timestep, text).sample, alone(unet)
    graft_lora(unet, "fresh", ImageLora.for_unet(unet, 4))
    assert torch.equal(alone(unet), before)
    graft_lora(unet, "ink", learnt(unet))
    assert torch.equal(unet(sample, timestep, text).sample, plain)
    graft(unet, {"depth": trained(unet)})
    ungraft(unet)
    assert not torch.equal(alone(unet), before)  # adapters go, LoRAs stay
    ungraft_lora(unet)
    assert torch.equal(alone(unet), before)
    assert [block.processor for block in unet.modules() if hasattr(block, "processor")] == original


@pytest.mark.parametrize("make", [tiny_unet, sdxl_like_unet])
def test_merged_is_unmerged(make):
    unet = make()
    graft(unet, {"depth": trained(unet)})
    graft_lora(unet, "ink", learnt(unet), weight=0.7)
    graft_lora(unet, "wash", learnt(unet, rank=2, seed=6))
    found = two_way(unet)
    bare = two_way(unet, lora_branches=())
    assert not torch.allclose(found, bare, atol=1e-3)
    assert merge_for_inference(unet) > 0
    torch.testing.assert_close(two_way(unet), found, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(two_way(unet, lora_branches=()), bare, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="call unmerge"):
        set_lora_weight(unet, "ink", 0.1)
    unmerge(unet)
    assert torch.equal(two_way(unet), found)


def test_loras_alone_can_be_merged():
    unet = tiny_unet()
    graft_lora(unet, "ink", learnt(unet))
    found = alone(unet)
    merge_for_inference(unet)
    torch.testing.assert_close(alone(unet), found, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_compiled_without_graph_breaks():
    unet = tiny_unet()
    graft(unet, {"depth": trained(unet)})
    graft_lora(unet, "ink", learnt(unet), weight=0.7)
    found = two_way(unet)
    with torch.no_grad():
        unet.compile_repeated_blocks(fullgraph=True, backend="eager")
        torch.testing.assert_close(two_way(unet), found, rtol=1e-4, atol=1e-5)


# --- files ------------------------------------------------------------------------------------------------


def test_a_file_gives_the_same_lora_and_says_its_alpha(tmp_path):
    unet, path = tiny_unet(), tmp_path / "ink.safetensors"
    lora = learnt(unet)
    lora.metadata = {"modelspec.author": "me"}
    save_lora(lora, path)
    tensors = load_file(path)
    assert all(name.startswith("lora_unet_") for name in tensors)
    assert {float(t) for name, t in tensors.items() if name.endswith(".alpha")} == {3.0}
    again = load_lora(path, unet)
    assert again.metadata["modelspec.author"] == "me"
    for (name, update), (other, same) in zip(lora.items(), again.items(), strict=True):
        assert name == other
        assert torch.equal(update.down, same.down)
        assert torch.equal(update.up, same.up)


def test_alphas_of_other_writers_count(tmp_path):
    unet = tiny_unet()
    lora = learnt(unet)
    layouts = {
        "diffusers": ("unet.{}.lora.down.weight", "unet.{}.lora.up.weight"),
        "peft": ("base_model.model.{}.lora_A.weight", "base_model.model.{}.lora_B.weight"),
        "model": ("{}.lora_A.weight", "{}.lora_B.weight"),
    }
    for layout, (down, up) in layouts.items():
        path = tmp_path / f"{layout}.safetensors"
        tensors = {down.format(name): update.down.contiguous() for name, update in lora.items()}
        tensors |= {up.format(name): update.up.contiguous() for name, update in lora.items()}
        save_file(
            tensors, path, metadata={"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 6, "r": 3})}
        )
        for (_, update), (_, read) in zip(lora.items(), load_lora(path, unet).items(), strict=True):
            torch.testing.assert_close(read.matrix(), 2 * update.matrix())


def test_diffusers_draws_the_same_with_the_file(tmp_path):
    pytest.importorskip("peft")
    unet = tiny_unet()
    save_lora(learnt(unet), tmp_path / "ink.safetensors")
    graft_lora(unet, "ink", load_lora(tmp_path / "ink.safetensors", unet))
    other = tiny_unet()
    state, alphas = StableDiffusionPipeline.lora_state_dict(str(tmp_path / "ink.safetensors"))[:2]
    StableDiffusionPipeline.load_lora_into_unet(state, alphas, other)
    with torch.no_grad():
        found = other(*batch(2)).sample
    torch.testing.assert_close(found, alone(unet), rtol=1e-5, atol=1e-6)


def test_older_layouts_and_what_peft_says_beside_its_file(tmp_path):
    unet = tiny_unet()
    lora = learnt(unet)
    tensors = {}
    for name, update in lora.items():
        attention, _, matrix = name.removesuffix(".0").rpartition(".")
        key = f"unet.{attention}.processor.{matrix}_lora"
        tensors |= {f"{key}.down.weight": update.down, f"{key}.up.weight": update.up}
    save_file(tensors, tmp_path / "old.safetensors")
    for (_, update), (_, read) in zip(
        lora.items(), load_lora(tmp_path / "old.safetensors", unet).items(), strict=True
    ):
        torch.testing.assert_close(read.matrix(), update.matrix())

    path = tmp_path / "peft" / "adapter_model.safetensors"
    path.parent.mkdir()
    sides = (("lora_A", "down"), ("lora_B", "up"))
    tensors = {
        f"base_model.model.{n}.{theirs}.weight": getattr(u, ours).contiguous()
        for n, u in lora.items()
        for theirs, ours in sides
    }
    save_file(tensors, path)
    config = {"lora_alpha": 12, "use_rslora": True, "alpha_pattern": {"attn2.to_k": 3}}
    (path.parent / "adapter_config.json").write_text(json.dumps(config))
    for (name, update), (_, read) in zip(lora.items(), load_lora(path, unet).items(), strict=True):
        alpha = 3 if name.endswith("attn2.to_k") else 12
        torch.testing.assert_close(read.matrix(), alpha / 3**0.5 * update.matrix())


def test_what_is_read_from_diffusers_and_written_again_is_whole(tmp_path):
    unet = tiny_unet()
    lora = learnt(unet)
    lora.metadata = {"modelspec.title": "Ink"}
    save_lora(lora, tmp_path / "one.safetensors")
    tensors, about = load_file(tmp_path / "one.safetensors"), {"modelspec.title": "Ink"}
    about |= {"modelspec.hash_sha256": "0", "lora_adapter_metadata": "{}", "ss_steps": "3"}
    save_file(tensors, tmp_path / "two.safetensors", metadata=about)
    assert load_lora(tmp_path / "two.safetensors", unet).metadata == {"modelspec.title": "Ink"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if "lora_up" not in k}, "only one of its two matrices"),
        (
            lambda t: {**t, "lora_te_x.lora_up.weight": torch.ones(1)},
            "first lora_te_x",
        ),
        (
            lambda t: {**t, "lora_unet_conv_in.hada_w1_a": torch.ones(1)},
            "of another kind than LoRA",
        ),
        (lambda t: {"weight": torch.ones(1)}, "holds no LoRA of this base"),
        (
            lambda t: {k: v[:, :1].contiguous() if "lora_down" in k else v for k, v in t.items()},
            "another base",
        ),
    ],
)
def test_files_that_are_no_lora_of_this_base(change, message, tmp_path):
    unet, path = tiny_unet(), tmp_path / "ink.safetensors"
    save_lora(learnt(unet), path)
    save_file(change(load_file(path)), path)
    with pytest.raises(ValueError, match=message):
        load_lora(path, unet)


def test_names_weights_and_missing_files(tmp_path):
    unet = tiny_unet()
    graft_lora(unet, "ink", learnt(unet), weight=0.25)
    assert lora_weights(unet) == {"ink": 0.25}
    assert list(grafted_loras(unet)) == ["ink"]
    with pytest.raises(ValueError, match="a LoRA 'ink' is already there"):
        graft_lora(unet, "ink", learnt(unet))
    with pytest.raises(ValueError, match="no LoRA 'wash' to take off; grafted: \\['ink'\\]"):
        ungraft_lora(unet, "wash")
    with pytest.raises(ValueError, match="LoRA name 'pop': torch has a method of that name; choose another"):
        graft_lora(unet, "pop", learnt(unet))
    with pytest.raises(ValueError, match="was built for another base"):
        graft_lora(sdxl_like_unet(), "ink", learnt(unet))
    with pytest.raises(ValueError, match="does not exist: a LoRA is one .safetensors file"):
        load_lora(tmp_path / "none.safetensors", unet)
    graft(unet, {"depth": trained(unet)})
    with pytest.raises(ValueError, match="is a condition in a pair: LoRAs are for image branches"):
        joint_forward(unet, *batch(2), pairs=PAIR, num_branches=2, lora_branches=(1,))


# --- other layers than attentions -------------------------------------------------------------------------


def whole(unet, rank: int = 2) -> ImageLora:
    """A LoRA of every linear layer and convolution of a UNet, none of whose tensors is zero."""
    base, layers = geometry(unet), updatable(unet)
    attentions = matrix_names(base)
    updates = {name: new_update(layer, rank) for name, layer in layers.items() if name not in attentions}
    lora = ImageLora(base, dict.fromkeys(attentions, rank), layers=updates)
    generator = torch.Generator().manual_seed(7)
    for tensor in lora.parameters():
        tensor.data.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
    return lora.requires_grad_(False)


def changed_by(unet, lora: ImageLora, weight: float):
    """The UNet with a LoRA added to its own weights."""
    modules = dict(unet.named_modules())
    for name, update in (*lora.items(), *lora.layers().items()):
        change = torch.einsum("or,ri...->oi...", update.up, update.down)
        modules[name].weight.data.add_(weight * change)
    return unet


@pytest.mark.parametrize("make", [tiny_unet, sdxl_like_unet])
def test_every_layer_of_the_image_branch_is_reached_and_none_of_the_maps(make):
    unet = make()
    graft(unet, {"depth": trained(unet)})
    before = {reads: both(unet, reads=reads) for reads in (0.0, 1.0)}
    lora = whole(unet)
    graft_lora(unet, "ink", lora, weight=0.5)
    expected = alone(changed_by(make(), lora, 0.5))
    torch.testing.assert_close(alone(unet), expected, rtol=1e-4, atol=1e-5)
    image, drawn = both(unet, reads=0.0)
    assert torch.equal(drawn, before[0.0][1])
    assert not torch.allclose(image, before[0.0][0], atol=1e-2)
    keys = set(make().state_dict())
    assert set(unet.state_dict()) == keys
    unet.load_state_dict(make().state_dict())  # knows nothing of them
    ungraft_lora(unet)
    for reads, found in before.items():
        assert torch.equal(both(unet, reads=reads), found)
    assert not [name for name, _ in unet.named_modules() if "grafted_loras" in name]


def test_layers_are_written_and_read_by_diffusers_and_by_us(tmp_path):
    pytest.importorskip("peft")
    unet, lora = tiny_unet(), whole(tiny_unet())
    save_lora(lora, tmp_path / "ink.safetensors")
    again = load_lora(tmp_path / "ink.safetensors", unet)
    assert list(again.layers()) == list(lora.layers())
    graft_lora(unet, "ink", again)
    found = alone(unet)
    torch.testing.assert_close(found, alone(changed_by(tiny_unet(), lora, 1.0)), rtol=1e-4, atol=1e-5)
    other = tiny_unet()
    state, alphas = StableDiffusionPipeline.lora_state_dict(
        str(tmp_path / "ink.safetensors"), unet_config=other.config
    )[:2]
    StableDiffusionPipeline.load_lora_into_unet(state, alphas, other)
    with torch.no_grad():
        torch.testing.assert_close(other(*batch(2)).sample, found, rtol=1e-4, atol=1e-5)


def test_kohyas_names_of_xls_blocks_are_known(tmp_path):
    """Those of its authors: a block's parts counted through all resolutions."""
    unet = sdxl_like_unet()
    lora = whole(unet)
    save_lora(lora, tmp_path / "ours.safetensors")
    theirs = {
        "down_blocks_1_attentions_0": "input_blocks_3_1", "mid_block_attentions_0": "middle_block_1",
        "up_blocks_0_attentions_1": "output_blocks_1_1", "up_blocks_0_upsamplers_0": "output_blocks_1_2",
        "down_blocks_0_downsamplers_0_conv": "input_blocks_2_0_op", "conv_in": "input_blocks_0_0",
        "down_blocks_0_resnets_0_conv1": "input_blocks_1_0_in_layers_2",
    }  # fmt: skip
    renamed = {
        key.replace(ours, theirs[ours]): tensor
        for key, tensor in load_file(tmp_path / "ours.safetensors").items()
        for ours in theirs
        if f"lora_unet_{ours}" in key
    }
    save_file(renamed, tmp_path / "theirs.safetensors")
    expected = {**dict(lora.items()), **lora.layers()}
    again = load_lora(tmp_path / "theirs.safetensors", unet)
    found = {**dict(again.items()), **again.layers()}
    assert len(found) == len(renamed) / 3
    for name, update in found.items():
        assert torch.equal(update.down, expected[name].down), name


def test_several_and_their_weights_and_merged_adapters():
    unet = tiny_unet()
    graft(unet, {"depth": trained(unet)})
    graft_lora(unet, "ink", whole(unet), weight=0.5)
    graft_lora(unet, "wash", learnt(unet), weight=0.0)
    found = two_way(unet)
    merge_for_inference(unet)
    torch.testing.assert_close(two_way(unet), found, rtol=1e-4, atol=1e-5)
    unmerge(unet)
    set_lora_weight(unet, "ink", 0.0)
    assert torch.equal(two_way(unet), two_way(unet, lora_branches=()))


@pytest.mark.slow
@torch.no_grad()
def test_layers_break_no_graph():
    unet = tiny_unet()
    graft(unet, {"depth": trained(unet)})
    graft_lora(unet, "ink", whole(unet))
    expected = two_way(unet)
    torch._dynamo.reset()
    unet.compile_repeated_blocks(fullgraph=True, backend="eager")
    torch.testing.assert_close(two_way(unet), expected, rtol=1e-5, atol=1e-6)


def test_a_text_encoders_alpha_is_its_own(tmp_path):
    unet, encoder = tiny_unet(), torch.nn.ModuleDict({"q_proj": torch.nn.Linear(6, 6)})
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    layer = unet.get_submodule(name)
    tensors = {
        f"unet.{name}.lora_A.weight": torch.randn(8, layer.in_features),
        f"unet.{name}.lora_B.weight": torch.randn(layer.out_features, 8),
        "text_encoder.text_model.q_proj.lora_A.weight": torch.randn(2, 6),
        "text_encoder.text_model.q_proj.lora_B.weight": torch.randn(6, 2),
    }
    alphas = {"unet.lora_alpha": 8, "text_encoder.lora_alpha": 6}
    save_file(tensors, tmp_path / "a.safetensors", metadata={"lora_adapter_metadata": json.dumps(alphas)})
    lora = load_lora(tmp_path / "a.safetensors", unet, text_encoders=[encoder])
    (text,), ((_, image),) = lora.text.values(), lora.items()
    torch.testing.assert_close(text.up, 3 * tensors["text_encoder.text_model.q_proj.lora_B.weight"])
    torch.testing.assert_close(image.up, tensors[f"unet.{name}.lora_B.weight"])
