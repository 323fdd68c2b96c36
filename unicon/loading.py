"""How does a base come with its adapters: loaded, added, merged, offloaded, saved?

What the pipeline does with them is `unicon.pipeline`.
"""

from __future__ import annotations

import inspect
import json
import keyword
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from diffusers import (
    PriorTransformer,
    SchedulerMixin,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import logging
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)
from transformers.image_processing_utils import BaseImageProcessor

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
    save_adapter,
    save_decoder,
    save_lora,
    set_lora_weight,
    ungraft,
    ungraft_decoder,
    ungraft_lora,
    unmerge,
)
from adapters.files import write_whole
from adapters.layer_lora import graft_layers, ungraft_layers
from unicon.bases import check_base
from unicon.cards import Origin, write_card
from unicon.embeddings import check_same_clip, identity
from unicon.latents import Autoencoder, downscale
from unicon.prior_ar import AutoregressivePrior
from unicon.priors import WithPriors
from unicon.sources import (
    ADAPTERS_FOLDER,
    DECODER_FOLDER,
    STYLE_WEIGHTS,
    STYLES_FOLDER,
    explained,
    find_adapter,
    find_base,
    hub_commit,
    is_xl,
    saved_with,
)
from unicon.styles import StyleCard
from unicon.texts import TextReader

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.get_logger(__name__)


class AdaptedPipeline(WithPriors):
    """Stable Diffusion's components (1.x, 2.x or XL), with joint adapters on the UNet. A safety checker is
    not run."""

    model_cpu_offload_seq = "text_encoder->text_encoder_2->image_encoder->unet->vae"
    _exclude_from_cpu_offload = ["prior", "prior_ar"]  # their statistics are read outside of their forward
    _optional_components = [
        "text_encoder_2", "tokenizer_2", "image_encoder", "feature_extractor", "safety_checker", "prior",
        "prior_ar",
    ]  # fmt: skip

    unet: UNet2DConditionModel
    vae: Autoencoder
    image_encoder: CLIPVisionModelWithProjection | None
    feature_extractor: BaseImageProcessor | None

    def __init__(
        self,
        vae: Autoencoder,
        text_encoder: CLIPTextModel | CLIPTextModelWithProjection,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: SchedulerMixin,
        text_encoder_2: CLIPTextModelWithProjection | None = None,
        tokenizer_2: CLIPTokenizer | None = None,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        feature_extractor: BaseImageProcessor | None = None,
        safety_checker: torch.nn.Module | None = None,
        force_zeros_for_empty_prompt: bool = False,
        prior: PriorTransformer | None = None,
        prior_ar: AutoregressivePrior | None = None,
    ):
        super().__init__()
        check_base(unet, vae, text_encoder_2)
        if safety_checker is not None:
            logger.warning("UniConPipeline runs no safety checker; the one it was given is left out")
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            text_encoder_2=text_encoder_2,
            tokenizer_2=tokenizer_2,
            image_encoder=image_encoder,
            feature_extractor=feature_extractor,
            safety_checker=None,
            prior=prior,
            prior_ar=prior_ar,
        )
        self.register_to_config(force_zeros_for_empty_prompt=force_zeros_for_empty_prompt)
        self.prior_clips = {}
        self.vae_scale_factor = downscale(vae)
        self._interrupt = False
        self._num_timesteps = 0

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """Load a base: "mini" (ships with the package), a diffusers folder, or a hub id.

        What was saved with it (`adapters/NAME`, `styles/NAME.safetensors`, `decoder`) is loaded too.
        Keywords are those of `DiffusionPipeline.from_pretrained`, such as `dtype=` and `revision=`. Raises
        ValueError for a folder that is none, and for a hub id that is neither cached nor to be had now.
        """
        base = find_base(pretrained_model_name_or_path)
        with explained(base):
            pipe = super().from_pretrained(base, **{"safety_checker": None, **kwargs})
        hub = {k: kwargs[k] for k in ("revision", "token", "cache_dir", "local_files_only") if kwargs.get(k)}
        saved = saved_with(base, **hub)
        for name, folder in saved.adapters.items():
            pipe.load_adapter(folder, name)
        for name, file in saved.styles.items():
            pipe.load_style(file, name, weight=saved.weights.get(name, 1.0))
        if saved.decoder is not None:
            pipe.load_decoder(saved.decoder)
        pipe.name_prior_clips(saved.priors)
        return pipe

    @classmethod
    def from_single_file(cls, file: str | Path, **kwargs: Any) -> Self:
        """Load a base from one checkpoint file, .safetensors or .ckpt.

        Keywords are those of diffusers' `from_single_file`, such as `config=` (a folder or hub id with the
        base's configuration) and `dtype=`. Raises ValueError for what is no such file.
        """
        if Path(file).suffix not in (".safetensors", ".ckpt") or not Path(file).is_file():
            raise ValueError(f"{file} is no checkpoint; name a .safetensors or .ckpt file")
        kind = StableDiffusionXLPipeline if is_xl(Path(file)) else StableDiffusionPipeline
        return cast("Self", cls.from_pipe(kind.from_single_file(str(file), **kwargs)))

    @property
    def commit(self) -> str | None:
        """The commit of the hub's repository that the base came from; None for one from elsewhere."""
        return hub_commit(self.unet.config.get("_name_or_path") or "")

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write the base in diffusers' layout, every loaded adapter below `adapters/`, every style below
        `styles/` and the decoder adapter in `decoder/`, as they are.

        Raises ValueError if the folder holds one that is not loaded: it would come back with the base.
        """
        folder = Path(save_directory)
        if folder.is_dir():
            there = saved_with(str(folder))
            stale = sorted(there.adapters.keys() - self.adapters) + sorted(there.styles.keys() - self.styles)
            stale += [DECODER_FOLDER] if there.decoder is not None and self.decoder is None else []
            if stale:
                raise ValueError(
                    f"{folder} holds {', '.join(stale)}, not loaded here; remove it, or save elsewhere"
                )
        for name, adapter in self.adapters.items():
            save_adapter(adapter, folder / ADAPTERS_FOLDER / name)
        for name, lora in grafted_loras(self.unet).items():
            save_lora(lora, folder / STYLES_FOLDER / f"{name}.safetensors")
        if self.decoder is not None:
            save_decoder(self.decoder, folder / DECODER_FOLDER)
        if weights := dict(lora_weights(self.unet)):
            text = json.dumps(weights, indent=2)
            write_whole(folder / STYLES_FOLDER / STYLE_WEIGHTS, lambda path: path.write_text(text))
        super().save_pretrained(str(folder), **kwargs)
        self.save_prior_clips(folder)

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

        A folder in UniCon's published layout is taken, too. It does not say what it is for: that is `name`,
        or else the folder's own. The words before its maps' prompts are those it was released with
        (`adapters.published.TRIGGERS`), or `trigger`. Raises ValueError for a folder that is neither, an
        adapter of another base, and a `trigger` for one that has its own.
        """
        self._check_not_offloaded()
        place = find_adapter(folder)
        if is_published(place):
            name = place.name if name is None else name
            self.add_adapter(load_published(place, self.unet, name, trigger=trigger), name, replace=replace)
        elif trigger is not None:
            raise ValueError(f"{place} has trigger words of its own, in config.json; leave trigger out")
        else:
            self.add_adapter(load_adapter(place, self.unet), name, replace=replace)

    def push_adapter_to_hub(
        self,
        name: str,
        repository: str,
        *,
        folder: str = "",
        private: bool | None = None,
        token: str | None = None,
        message: str = "Add a joint adapter",
    ) -> str:
        """Upload a loaded adapter with its card to OWNER/NAME on the hub, below `folder` if given; the
        commit's address. `load_adapter("OWNER/NAME/FOLDER")` loads it again."""
        if name not in self.adapters:
            raise ValueError(f"no adapter {name!r} is loaded, only {', '.join(self.adapters) or 'none'}")
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        with tempfile.TemporaryDirectory() as place:
            save_adapter(self.adapters[name], place)
            origin = Origin(base=str(self.config.get("_name_or_path") or ""))
            write_card(Path(place), self.adapters[name].config, origin=origin)
            api.create_repo(repository, private=private, exist_ok=True)
            return api.upload_folder(
                repo_id=repository, folder_path=place, path_in_repo=folder or None, commit_message=message
            ).commit_url

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
        before = self.adapters.get(name)
        if before is not None:
            if not replace:
                raise ValueError(
                    f"an adapter {name!r} is already there: choose another name, or load it with replace=True"
                )
            self.unload_adapter(name)
        try:
            graft(self.unet, {name: adapter})
        except ValueError:
            if before is not None:
                graft(self.unet, {name: before})
            raise
        adapter.to(self.unet.device, self.unet.dtype)

    def unload_adapter(self, name: str | None = None) -> None:
        """Take one adapter (or all) out again; the UNet is bitwise what it was."""
        ungraft(self.unet, *([] if name is None else [name]))

    @property
    def styles(self) -> dict[str, StyleCard]:
        """What the loaded styles say about themselves, by name: phrase, author, licence, allowed use."""
        return {n: StyleCard.from_metadata(lora.metadata) for n, lora in grafted_loras(self.unet).items()}

    def load_style(self, file: str | Path, name: str | None = None, *, weight: float = 1.0) -> None:
        """Load a style, a LoRA file, for the image and its words alone; several add up, each `weight` times.

        It may update attentions, feed-forwards, convolutions and text encoders, as those of kohya's tools do.

        `name` is the file's stem by default. Its phrase follows the image's prompt in every call. Raises
        ValueError for a file that is no LoRA of this base.
        """
        self._check_not_offloaded()
        path = Path(file)
        name = path.stem.replace(".", "_") if name is None else name
        encoders = TextReader.of(self).encoders
        lora = load_lora(path, self.unet, text_encoders=encoders, dtype=self.unet.dtype).requires_grad_(False)
        self._graft_style(name, lora, weight)

    def set_style(self, name: str, weight: float) -> None:
        """How much of a loaded style pictures get: 0 nothing, not its phrase either; 1 all of it."""
        set_lora_weight(self.unet, name, weight)

    def unload_style(self, name: str | None = None) -> None:
        """Take one style (or all) out again."""
        ungraft_lora(self.unet, *([] if name is None else [name]))
        for encoder in TextReader.of(self).encoders:
            ungraft_layers(encoder, lora_weights(self.unet))

    def credits(self) -> list[str]:
        """Whose styles pictures are made with now: a line each, with author, licence and allowed use."""
        weights = lora_weights(self.unet)
        return [card.credit(name) for name, card in self.styles.items() if weights[name] != 0]

    @property
    def decoder(self) -> DecoderAdapter | None:
        """The loaded decoder adapter."""
        grafted = grafted_decoder(self.unet)
        return None if grafted is None else grafted.adapter

    def load_decoder(self, folder: str | Path) -> None:
        """Load a decoder adapter from a folder (or OWNER/NAME/FOLDER on the hub), see `add_decoder`."""
        self._check_not_offloaded()
        self.add_decoder(load_decoder(find_adapter(folder), self.unet))

    def add_decoder(self, decoder: DecoderAdapter) -> None:
        """Graft a decoder adapter built for this base, in the base's number format: the call then takes
        `like`.

        Raises ValueError for a second one, and one trained with another CLIP than the base's image encoder.
        """
        self._check_not_offloaded()
        self._check_clip(decoder)
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

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str | None]) -> torch.Tensor:
        """What the call takes as `prompt_embeds`: (prompts, rows, width), with SDXL's pooled embedding as
        the last row. None is no prompt."""
        return TextReader.of(self)(prompts, self._execution_device)

    def merge_for_inference(self) -> int:
        """Fold adapters' and styles' low-rank updates into weights of their own; returns the bytes added."""
        return merge_for_inference(self.unet)

    def unmerge(self) -> None:
        """Undo `merge_for_inference`."""
        unmerge(self.unet)

    def enable_sequential_cpu_offload(self, gpu_id: int | None = None, device: Any = None) -> None:
        """As in diffusers. What is grafted is no part of the UNet's state dict: offloaded one by one."""
        from accelerate import cpu_offload

        loaded, loras, weights = self.adapters, grafted_loras(self.unet), lora_weights(self.unet)
        decoder = self.decoder
        self.unload_adapter()
        self.unload_style()
        if decoder is not None:
            self.unload_decoder()
        super().enable_sequential_cpu_offload(gpu_id, device)
        for name, adapter in loaded.items():
            cpu_offload(adapter, self._offload_device)
            graft(self.unet, {name: adapter})
        for name, lora in loras.items():
            cpu_offload(lora, self._offload_device)
            self._graft_style(name, lora, weights[name])
        if decoder is not None:
            cpu_offload(decoder, self._offload_device)
            graft_decoder(self.unet, decoder)

    def _graft_style(self, name: str, lora: ImageLora, weight: float) -> None:
        graft_lora(self.unet, name, lora, weight)
        for number, encoder in enumerate(TextReader.of(self).encoders):
            graft_layers(encoder, name, lora.text_layers(number))

    @classmethod
    def call_parameters(cls) -> frozenset[str]:
        """Names of the call's own parameters, which no adapter may have."""
        parameters = inspect.signature(cls.__call__).parameters.values()
        return frozenset(p.name for p in parameters if p.kind is not p.VAR_KEYWORD) - {"self"}

    def _check_not_offloaded(self) -> None:
        if any(p.is_meta for p in self.unet.parameters()):
            raise ValueError(
                "the base is offloaded piece by piece, and an adapter added now would not be: load adapters "
                "before enable_sequential_cpu_offload"
            )
