"""What is grafted onto a pipeline's base: adapters, styles, a decoder adapter?

They are added, weighted, merged, offloaded and taken out again, and the base is what it was. How they come
and go with a base's folder is `unicon.loading`; the layers themselves are `adapters`.
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel
from transformers import CLIPVisionModelWithProjection

from adapters import (
    ClipIdentity,
    DecoderAdapter,
    ImageLora,
    JointAdapter,
    graft,
    graft_decoder,
    graft_lora,
    grafted,
    grafted_decoder,
    grafted_loras,
    is_published,
    load_adapter,
    load_decoder,
    load_lora,
    load_published,
    lora_weights,
    merge_for_inference,
    set_lora_weight,
    ungraft,
    ungraft_decoder,
    ungraft_lora,
    unmerge,
)
from adapters.base import check_base
from adapters.decoder import check_decoder_base
from adapters.layer_lora import graft_layers, ungraft_layers
from adapters.published import TRIGGERS
from unicon.embeddings import check_same_clip, identity
from unicon.ranges import FINITE
from unicon.sources import LORA_FILE, find_adapter, find_decoder, find_style, style_name
from unicon.styles import StyleCard
from unicon.texts import TextReader


class WithGrafts(DiffusionPipeline):
    """The part of a pipeline that holds what is added to its frozen base."""

    unet: UNet2DConditionModel
    image_encoder: CLIPVisionModelWithProjection | None

    @property
    def adapters(self) -> dict[str, JointAdapter]:
        """The loaded adapters by name."""
        return dict(grafted(self.unet))

    def load_adapter(
        self,
        folder: str | Path,
        name: str | None = None,
        *,
        trigger: str | None = None,
        replace: bool = False,
    ) -> None:
        """Load one adapter from a folder (or OWNER/NAME/FOLDER on the hub) and add it, see `add_adapter`.

        A folder in UniCon's published layout is taken, too. It does not say what it is for: that is `name`
        or the folder's own, whichever is a condition that it was released for. The words before its maps'
        prompts are those it was released with (`adapters.published.TRIGGERS`), or `trigger`. Raises
        ValueError for a folder that is neither, an adapter of another base, and a `trigger` for one that has
        its own.
        """
        place = find_adapter(folder)
        if is_published(place):
            name = place.name if name is None else name
            known = next((each for each in (name, place.name) if each in TRIGGERS), name)
            self.add_adapter(load_published(place, self.unet, known, trigger=trigger), name, replace=replace)
        elif trigger is not None:
            raise ValueError(f"{place} has trigger words of its own, in config.json; leave trigger out")
        else:
            self.add_adapter(load_adapter(place, self.unet), name, replace=replace)

    def add_adapter(self, adapter: JointAdapter, name: str | None = None, *, replace: bool = False) -> None:
        """Graft an adapter built for this base, in the base's number format.

        `name` (default: the condition it was trained for) becomes a keyword of the call, so it must be an
        identifier and none of the call's parameters. One that is loaded under that name is an error, or
        gives way with `replace`.
        """
        name = adapter.config.condition if name is None else name
        taken = self.call_parameters()
        if not name.isidentifier() or keyword.iskeyword(name) or name in taken:
            raise ValueError(
                f"adapter name {name!r}: it becomes a keyword of the call, so it must be an identifier "
                f"and none of its parameters ({', '.join(sorted(taken))})"
            )
        self._check_not_offloaded()
        if name in self.adapters:
            if not replace:
                raise ValueError(
                    f"an adapter {name!r} is already there: choose another name, or load it with replace=True"
                )
            check_base(adapter.base, self.unet, f"adapter {name!r}")  # while the old one is still there
            self.unload_adapter(name)
        graft(self.unet, {name: adapter})
        adapter.to(self.unet.device, self.unet.dtype)

    def unload_adapter(self, name: str | None = None) -> None:
        """Take one adapter (or all) out again; the UNet is bitwise what it was."""
        ungraft(self.unet, *([] if name is None else [name]))

    @property
    def styles(self) -> dict[str, StyleCard]:
        """What the loaded styles say about themselves, by name: phrase, author, licence, allowed use."""
        return {n: StyleCard.from_metadata(lora.metadata) for n, lora in grafted_loras(self.unet).items()}

    def phrases(self) -> list[str]:
        """Of the styles that pictures get."""
        weights = lora_weights(self.unet)
        return [card.phrase for name, card in self.styles.items() if weights[name] != 0 and card.phrase]

    def load_style(self, file: str | Path, name: str | None = None, *, weight: float = 1.0) -> None:
        """Load a style, a LoRA file, for the image and its words alone; several add up, each `weight` times.

        It may update attentions, feed-forwards, convolutions and text encoders, as those of kohya's tools do.
        From the hub it is OWNER/NAME/FILE.safetensors, or OWNER/NAME where the file has diffusers' own name.

        `name` is the file's stem by default, or the repository's name. Its phrase follows the image's prompt
        in every call. Raises ValueError for a file that is no LoRA of this base.
        """
        self._check_not_offloaded()
        FINITE.check("weight", weight)
        path = find_style(file)
        name = style_name(file).replace(".", "_") if name is None else name
        encoders = TextReader.of(self).encoders
        lora = load_lora(path, self.unet, text_encoders=encoders, dtype=self.unet.dtype).requires_grad_(False)
        self._graft_style(name, lora, weight)

    def load_lora_weights(
        self, source: str | Path, weight_name: str | None = None, adapter_name: str | None = None
    ) -> None:
        """`load_style` with the name and arguments that it has in diffusers: a file, or a folder or
        OWNER/NAME with the file's name. As every style it is for the image and its words alone, and
        `set_style` weights it."""
        place = f"{source}/{weight_name}" if weight_name else str(source)
        self.load_style(Path(place) / LORA_FILE if Path(place).is_dir() else place, adapter_name)

    def unload_lora_weights(self) -> None:
        """`unload_style` of all, as it is called in diffusers."""
        self.unload_style()

    def set_adapters(
        self,
        adapter_names: str | Sequence[str],
        adapter_weights: float | Sequence[float | None] | None = None,
    ) -> None:
        """`set_style` of all styles at once, as it is called in diffusers: these at their weights (None: 1),
        all others at 0.

        Raises ValueError for names of other things, and for weights that are not one, or one for each.
        """
        names = [adapter_names] if isinstance(adapter_names, str) else list(adapter_names)
        several = isinstance(adapter_weights, (list, tuple))
        weights: list[Any] = list(adapter_weights) if several else [adapter_weights] * len(names)
        if len(weights) != len(names):
            raise ValueError(f"got {len(weights)} weights for {len(names)} styles; give one, or one for each")
        given = {n: 1.0 if w is None else w for n, w in zip(names, weights, strict=True)}
        for name, weight in given.items():
            FINITE.check(f"weight of {name!r}", weight)  # before any is set
            if name not in self.styles and name in self.adapters:
                raise ValueError(
                    f"{name!r} is an adapter of a condition, whose weight stands in the call: "
                    f"{name}=Branch(map=picture, weight={weight}); set_adapters weights styles"
                )
            if name not in self.styles:
                raise ValueError(f"no style {name!r} is loaded, only {', '.join(self.styles) or 'none'}")
        for name in self.styles:
            self.set_style(name, given.get(name, 0.0))

    def set_style(self, name: str, weight: float) -> None:
        """How much of a loaded style pictures get: 0 nothing, not its phrase either; 1 all of it."""
        FINITE.check(f"weight of {name!r}", weight)
        set_lora_weight(self.unet, name, weight)

    def unload_style(self, name: str | None = None) -> None:
        """Take one style (or all) out again."""
        names = list(lora_weights(self.unet)) if name is None else [name]
        ungraft_lora(self.unet, *names)
        for encoder in TextReader.of(self).encoders:
            ungraft_layers(encoder, names)

    def credits(self) -> list[str]:
        """Whose styles pictures are made with now: a line each, with author, licence and allowed use."""
        weights = lora_weights(self.unet)
        return [card.credit(name) for name, card in self.styles.items() if weights[name] != 0]

    @property
    def decoder(self) -> DecoderAdapter | None:
        """The loaded decoder adapter."""
        grafted = grafted_decoder(self.unet)
        return None if grafted is None else grafted.adapter

    def load_decoder(self, folder: str | Path, *, replace: bool = False) -> None:
        """Load a decoder adapter from a folder (or OWNER/NAME/FOLDER on the hub), see `add_decoder`."""
        self.add_decoder(load_decoder(find_decoder(folder), self.unet), replace=replace)

    def add_decoder(self, decoder: DecoderAdapter, *, replace: bool = False) -> None:
        """Graft a decoder adapter built for this base, in the base's number format: the call then takes
        `like`. One that is there gives way with `replace`.

        Raises ValueError for a second one, and one trained with another CLIP than the base's image encoder.
        """
        self._check_not_offloaded()
        self._check_clip(decoder)
        if replace and self.decoder is not None:
            check_decoder_base(decoder.config, self.unet, "the decoder adapter")
            self.unload_decoder()
        graft_decoder(self.unet, decoder)
        decoder.to(self.unet.device, self.unet.dtype)

    def unload_decoder(self) -> None:
        """Take the decoder adapter out again; the UNet is bitwise what it was."""
        ungraft_decoder(self.unet)

    @property
    def clip(self) -> ClipIdentity:
        """The CLIP whose embeddings this pipeline works with. ValueError where there is none."""
        if self.decoder is not None:
            return self.decoder.config.clip
        if self.image_encoder is not None:
            return identity(self.image_encoder)
        raise ValueError("no CLIP: this base has no image encoder, and no decoder adapter is loaded")

    def _check_clip(self, decoder: DecoderAdapter | None) -> None:
        if decoder is not None and self.image_encoder is not None:
            check_same_clip(decoder.config.clip, identity(self.image_encoder), "the decoder adapter")

    def merge_for_inference(self) -> int:
        """Fold adapters' and styles' low-rank updates into weights of their own; returns the bytes added."""
        return merge_for_inference(self.unet)

    def unmerge(self) -> None:
        """Undo `merge_for_inference`."""
        unmerge(self.unet)

    def enable_sequential_cpu_offload(self, gpu_id: int | None = None, device: Any = None) -> None:
        """As in diffusers. What is grafted is no part of the UNet's state dict: offloaded one by one."""
        from accelerate import cpu_offload

        if next(self.unet.parameters()).is_meta:
            return  # it is already
        loaded, loras, weights = self.adapters, grafted_loras(self.unet), lora_weights(self.unet)
        decoder = self.decoder
        self.unload_adapter()
        self.unload_style()
        if decoder is not None:
            self.unload_decoder()
        offloaded = False
        try:
            super().enable_sequential_cpu_offload(gpu_id, device)
            offloaded = True
        finally:  # where there is nothing to offload from, all stays as it was
            for name, adapter in loaded.items():
                if offloaded:
                    cpu_offload(adapter, self._offload_device)
                graft(self.unet, {name: adapter})
            for name, lora in loras.items():
                if offloaded:
                    cpu_offload(lora, self._offload_device)
                self._graft_style(name, lora, weights[name])
            if decoder is not None:
                if offloaded:
                    cpu_offload(decoder, self._offload_device)
                graft_decoder(self.unet, decoder)

    def _graft_style(self, name: str, lora: ImageLora, weight: float) -> None:
        graft_lora(self.unet, name, lora, weight)
        grafted: list[torch.nn.Module] = []
        try:
            for number, encoder in enumerate(TextReader.of(self).encoders):
                graft_layers(encoder, name, lora.text_layers(number))
                grafted.append(encoder)
        except ValueError:
            ungraft_lora(self.unet, name)
            for encoder in grafted:
                ungraft_layers(encoder, [name])
            raise

    @property
    def kinds(self) -> dict[str, str]:
        """What each adapter's name stands for: the condition that it was trained for."""
        return {name: adapter.config.condition for name, adapter in self.adapters.items()}

    @classmethod
    @cache
    def call_parameters(cls) -> frozenset[str]:
        """Names of the call's own parameters, which no adapter may have."""
        parameters = inspect.signature(cls.__call__).parameters.values()
        return frozenset(p.name for p in parameters if p.kind is not p.VAR_KEYWORD) - {"self"}

    def _check_not_offloaded(self) -> None:
        if next(self.unet.parameters()).is_meta:  # all of it is, or nothing
            raise ValueError(
                "the base is offloaded piece by piece, and an adapter added now would not be: load adapters "
                "before enable_sequential_cpu_offload"
            )
