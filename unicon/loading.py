"""How do a base and what is grafted onto it come from a folder, a file or the hub, and go back there?

What is grafted, and how, is `unicon.grafts`; what the pipeline does with it, `unicon.pipeline`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from diffusers import (
    DiffusionPipeline,
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
    grafted_loras,
    lora_weights,
    save_adapter,
    save_decoder,
    save_lora,
)
from adapters.files import write_whole
from unicon.bases import check_base
from unicon.cards import Origin, write_card
from unicon.grafts import WithGrafts
from unicon.latents import Autoencoder, downscale
from unicon.prior_ar import AutoregressivePrior
from unicon.priors import WithPriors
from unicon.sources import (
    ADAPTERS_FOLDER,
    DECODER_FOLDER,
    STYLE_WEIGHTS,
    STYLES_FOLDER,
    configured,
    explained,
    find_base,
    hub_commit,
    is_xl,
    located,
    saved_with,
    split_config,
)
from unicon.styles import with_phrases
from unicon.switches import WithSwitches
from unicon.texts import TextReader

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.get_logger(__name__)


class AdaptedPipeline(WithGrafts, WithPriors, WithSwitches):
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
        self.vae_scale_factor = downscale(vae)
        self._interrupt = False
        self._num_timesteps = 0

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        adapters: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load a base: "mini" (ships with the package), a diffusers folder, a checkpoint's file (see
        `from_single_file`; FILE,config=FOLDER says where its configuration lies), or a hub id, OWNER/NAME or
        OWNER/NAME@REVISION.

        What was saved with it (`adapters/NAME`, `styles/NAME.safetensors`, `decoder`) is loaded too. Of its
        adapters `adapters` names those that are, and are downloaded: one, several, or () for none. None
        (default): all.
        Other keywords are those of `DiffusionPipeline.from_pretrained`, such as `dtype=` and `revision=`.
        Raises ValueError for a folder that is none, for a hub id that is neither cached nor to be had now,
        and for an adapter that was not saved with it.
        """
        found = find_base(pretrained_model_name_or_path)
        file, config = split_config(found)
        if Path(file).is_file():
            saved_with(file).chosen(adapters)  # it holds none: a name is refused
            return cls.from_single_file(file, **({"config": config} if config else {}), **kwargs)
        base, kwargs["revision"] = located(found, kwargs.get("revision"))
        hub = {k: kwargs[k] for k in ("revision", "token", "cache_dir", "local_files_only") if kwargs.get(k)}
        with explained(found, kwargs["revision"]):
            saved = saved_with(base, adapters, **hub)
            chosen = saved.chosen(adapters)  # a name that is wrong costs no loading
            pipe = super().from_pretrained(base, **{"safety_checker": None, **kwargs})
        for name, folder in chosen.items():
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
        base's configuration) and `dtype=`. Raises ValueError for what is no such file, and where its
        configuration is neither cached nor to be had now.
        """
        if Path(file).suffix not in (".safetensors", ".ckpt") or not Path(file).is_file():
            raise ValueError(f"{file} is no checkpoint; name a .safetensors or .ckpt file")
        kind = StableDiffusionXLPipeline if is_xl(Path(file)) else StableDiffusionPipeline
        with configured(Path(file), kwargs.get("config")):
            return cls.from_pipe(kind.from_single_file(str(file), **kwargs))

    @classmethod
    def from_pipe(cls, pipeline: DiffusionPipeline, **kwargs: Any) -> Self:
        """The components of a pipeline, shared, with what is grafted on them, as diffusers' `from_pipe` takes
        them; in the number format of its UNet unless `dtype` says otherwise, which would be for both."""
        if kwargs.get("dtype") is None and kwargs.get("torch_dtype") is None:
            kwargs["dtype"] = pipeline.components["unet"].dtype
        return cast("Self", super().from_pipe(pipeline, **kwargs))

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
            origin = Origin(base=str(self.config.get("_name_or_path") or ""), commit=self.commit or "")
            write_card(Path(place), self.adapters[name].config, origin=origin)
            api.create_repo(repository, private=private, exist_ok=True)
            return api.upload_folder(
                repo_id=repository, folder_path=place, path_in_repo=folder or None, commit_message=message
            ).commit_url

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str | None], *, negative: bool = False) -> torch.Tensor:
        """What the call takes as `prompt_embeds`: (prompts, rows, width), with SDXL's pooled embedding as
        the last row. None is no prompt. Loaded styles read them, and their phrases follow, as in the call.

        `negative`: what it takes as `negative_prompt_embeds`, which no phrase follows.
        """
        reader, phrases = TextReader.of(self), [] if negative else self.phrases()
        words = [with_phrases(each, phrases, reader.fits) for each in prompts]
        return reader(words, self._execution_device, styled=True)  # pyright: ignore[reportArgumentType]
