"""How do an adapter, a LoRA and a decoder adapter get onto a base, and off again?

Grafting replaces attention processors; a decoder also looks at the time embedding, and a LoRA of other layers
at those. Nothing of the base is copied or changed, and removing restores the very same processor objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import nn

from adapters.adapter import JointAdapter
from adapters.base import bare, check_base, transformer_blocks
from adapters.compiling import allow_shapes
from adapters.decoder import DecoderAdapter, check_decoder_base
from adapters.image_lora import ImageLora
from adapters.joint import GraftedProcessor, JointAttention, TextAttention
from adapters.layer_lora import graft_layers, ungraft_layers
from adapters.time_change import TimeChange

_REGISTRY, _LORAS = "_joint_adapters", "_image_loras"


def grafted(unet: nn.Module) -> Mapping[str, JointAdapter]:
    """The adapters on a UNet, by name, in the order they came."""
    return dict(bare(unet).__dict__.get(_REGISTRY, {}))


def graft(unet: nn.Module, adapters: Mapping[str, JointAdapter]) -> None:
    """Attach adapters to a UNet beside those already there; its plain forward stays the base's.

    Raises `ValueError` if a name is taken, an adapter is for another base, the UNet is merged, or one of its
    attentions has a processor that joint attention would silently replace.
    """
    _check_graftable(unet, adapters)
    for path, block in _installed(unet):
        for name, adapter in adapters.items():
            part = adapter[path]
            grafted_on(block.attn1).adapters[name] = part.attn1
            if block.attn2 is not None and part.attn2 is not None:
                grafted_on(block.attn2).adapters[name] = part.attn2
    bare(unet).__dict__[_REGISTRY] = {**grafted(unet), **adapters}


def ungraft(unet: nn.Module, *names: str) -> None:
    """Take the named adapters off a UNet, or all of them. With the last one (and no LoRA left) the original
    processors return.

    Raises `ValueError` for a name that is not there, and while the UNet is merged.
    """
    check_unmerged(unet)
    bare(unet).__dict__[_REGISTRY] = _without(grafted(unet), names, "adapter")
    _drop_unused(unet)


# --- LoRAs of the image branch ----------------------------------------------------------------------------


def graft_lora(unet: nn.Module, name: str, lora: ImageLora, weight: float = 1.0) -> None:
    """Attach a LoRA that `joint_forward` applies to image branches alone, `weight` times.

    The UNet's plain forward stays the base's. Raises `ValueError` as `graft` does.
    """
    check_unmerged(unet)
    _check_name(name, lora_weights(unet), "a LoRA")
    check_base(lora.base, unet, f"LoRA {name!r}")
    for path, block in _installed(unet):
        for attn, kind in ((block.attn1, "attn1"), (block.attn2, "attn2")):
            if attn is not None and (part := lora.part(f"{path}.{kind}")) is not None:
                grafted_on(attn).loras[name] = part
    graft_layers(bare(unet), name, lora.layers())
    bare(unet).__dict__[_LORAS] = {**_loras(unet), name: (lora, float(weight))}


def ungraft_lora(unet: nn.Module, *names: str) -> None:
    """Take the named LoRAs off a UNet, or all of them. Raises `ValueError` as `ungraft` does."""
    check_unmerged(unet)
    before = _loras(unet)
    left = _without(before, names, "LoRA")
    bare(unet).__dict__[_LORAS] = left
    ungraft_layers(bare(unet), set(before) - set(left))
    _drop_unused(unet)


def set_lora_weight(unet: nn.Module, name: str, weight: float) -> None:
    """How much of a LoRA image branches get: 0 nothing, 1 all of it. Raises `ValueError` while merged."""
    check_unmerged(unet)
    _without(_loras(unet), [name], "LoRA")  # raises for an unknown name
    bare(unet).__dict__[_LORAS][name] = (grafted_loras(unet)[name], float(weight))


def grafted_loras(unet: nn.Module) -> Mapping[str, ImageLora]:
    """The LoRAs on a UNet, by name, in the order they came."""
    return {name: lora for name, (lora, _) in _loras(unet).items()}


def lora_weights(unet: nn.Module) -> Mapping[str, float]:
    """How much of each LoRA image branches get."""
    return {name: weight for name, (_, weight) in _loras(unet).items()}


def _loras(unet: nn.Module) -> dict[str, tuple[ImageLora, float]]:
    return bare(unet).__dict__.get(_LORAS, {})


# --- a decoder of embeddings ------------------------------------------------------------------------------


def graft_decoder(unet: nn.Module, decoder: DecoderAdapter) -> None:
    """Attach a decoder adapter; without a likeness in `joint_forward` the UNet stays what it was.

    Raises `ValueError` if there is one already, it is for another base, or the UNet is merged.
    """
    check_unmerged(unet)
    if grafted_decoder(unet) is not None:
        raise ValueError("a decoder adapter is already there: ungraft_decoder first")
    check_decoder_base(decoder.config, unet, "the decoder adapter")
    for path, block in _installed(unet):
        if block.attn2 is not None:
            grafted_on(block.attn2).decoder = decoder.part(path)
    _time_embedding(unet).add_module(TimeChange.PLACE, TimeChange(decoder, _time_embedding(unet)))


def ungraft_decoder(unet: nn.Module) -> None:
    """Take the decoder adapter off again. Raises `ValueError` if none is there, or the UNet is merged."""
    check_unmerged(unet)
    decoder = grafted_decoder(unet)
    if decoder is None:
        raise ValueError("no decoder adapter to take off: none is grafted")
    decoder.remove()
    del _time_embedding(unet)._modules[TimeChange.PLACE]
    for attn in _grafted_attentions(unet):
        grafted_on(attn).decoder = None
    _drop_unused(unet)


def grafted_decoder(unet: nn.Module) -> TimeChange | None:
    """The decoder adapter on a UNet, with what tells it to the time embedding."""
    return cast("TimeChange | None", _time_embedding(unet)._modules.get(TimeChange.PLACE))


def _time_embedding(unet: nn.Module) -> nn.Module:
    return cast(nn.Module, bare(unet).time_embedding)


# --- processors -------------------------------------------------------------------------------------------


def joint_attentions(unet: nn.Module) -> Iterator[tuple[str, JointAttention]]:
    """(block path, processor of `attn1`) of a grafted UNet, merged or not."""
    for path, block in transformer_blocks(unet).items():
        if isinstance(block.attn1.processor, JointAttention):
            yield path, block.attn1.processor


def check_unmerged(unet: nn.Module) -> None:
    """Raise `ValueError` if the UNet is merged for inference."""
    if any(grafted_on(attn).is_merged for attn in _grafted_attentions(unet)):
        raise ValueError(
            "adapters are merged for inference: call unmerge(unet), of a pipeline pipe.unmerge(), first, and "
            "merge again afterwards"
        )


def grafted_on(attn: Attention) -> GraftedProcessor:
    """The processor of an attention that has one of ours."""
    return cast(GraftedProcessor, attn.processor)


def _grafted_attentions(unet: nn.Module) -> list[Attention]:
    attentions = [a for block in transformer_blocks(unet).values() for a in (block.attn1, block.attn2)]
    return [a for a in attentions if a is not None and isinstance(a.processor, GraftedProcessor)]


def _check_graftable(unet: nn.Module, adapters: Mapping[str, JointAdapter]) -> None:
    check_unmerged(unet)
    for name, adapter in adapters.items():
        _check_name(name, grafted(unet), "an adapter")
        check_base(adapter.base, unet, f"adapter {name!r}")


def _check_name(name: str, taken: Mapping[str, Any], what: str) -> None:
    if not name or set(name) & set("./\\"):
        raise ValueError(
            f"{what.split()[-1]} name {name!r}: must be a non-empty name without dots and slashes"
        )
    if hasattr(nn.ModuleDict, name):
        raise ValueError(f"{what.split()[-1]} name {name!r}: torch has a method of that name; choose another")
    if name in taken:
        raise ValueError(f"{what} {name!r} is already there: choose another name or ungraft it first")


def _without(present: Mapping[str, Any], names: Sequence[str], what: str) -> dict[str, Any]:
    """What is left of `present` without these names, or without all."""
    for name in names:
        if name not in present:
            raise ValueError(f"no {what} {name!r} to take off; grafted: {sorted(present) or 'none'}")
    return {name: value for name, value in present.items() if names and name not in names}


def _drop_unused(unet: nn.Module) -> None:
    """Take what is no longer registered off every attention, and where nothing is left, our processors."""
    adapters, loras = grafted(unet), _loras(unet)
    for attn in _grafted_attentions(unet):
        processor = grafted_on(attn)
        for parts, left in ((processor.adapters, adapters), (processor.loras, loras)):
            for name in set(parts) - set(left):
                del parts[name]
        if not adapters and not loras and grafted_decoder(unet) is None:
            attn.set_processor(processor.original)


def check_in_place(unet: nn.Module) -> None:
    """Raise `ValueError` where something is grafted and another attention processor has taken its place, as
    diffusers' switches of attention do: nothing of it would be heard."""
    if not (grafted(unet) or _loras(unet) or grafted_decoder(unet)):
        return
    for path, block in transformer_blocks(unet).items():
        if not isinstance(block.attn1.processor, GraftedProcessor):
            raise ValueError(
                f"{path} has the attention processor {type(block.attn1.processor).__name__} in the place of "
                "the one that was grafted, so adapters would be ignored: load the base again, and leave "
                "attention's processors as they are"
            )


def _installed(unet: nn.Module) -> Iterator[tuple[str, BasicTransformerBlock]]:
    """(path, block) with our processors on its attentions. ValueError, before any is changed, where one has a
    processor that is not to be replaced."""
    allow_shapes()
    blocks = transformer_blocks(unet)
    for path, block in blocks.items():
        for attn in (block.attn1, block.attn2):
            _check_replaceable(attn, path)
    for path, block in blocks.items():
        for attn, kind in ((block.attn1, JointAttention), (block.attn2, TextAttention)):
            if attn is not None and not isinstance(attn.processor, GraftedProcessor):
                attn.set_processor(cast(Any, kind(attn.processor)))
        yield path, block


def _check_replaceable(attn: Attention | None, path: str) -> None:
    if attn is None or isinstance(attn.processor, GraftedProcessor):
        return
    if type(attn.processor) not in (AttnProcessor, AttnProcessor2_0):  # the same sums, fused or not
        raise ValueError(
            f"{path} has the attention processor {type(attn.processor).__name__}, which joint attention "
            "would silently replace: call unet.set_attn_processor(AttnProcessor2_0()) first"
        )
