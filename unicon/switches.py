"""Which of diffusers' switches of memory does a pipeline have, and which would take off what is grafted?"""

from __future__ import annotations

from collections.abc import Callable

from diffusers import DiffusionPipeline, UNet2DConditionModel

from adapters.joint import GraftedProcessor
from unicon.latents import Autoencoder


class WithSwitches(DiffusionPipeline):
    """The part of a pipeline that saves memory."""

    unet: UNet2DConditionModel
    vae: Autoencoder

    def enable_vae_tiling(self) -> None:
        """Pictures that are larger than the VAE's tile (most often 512 px) pass through it in overlapping
        parts, with small differences where they meet. `tile_size` of the call is the UNet's."""
        self.vae.enable_tiling()

    def disable_vae_tiling(self) -> None:
        """Undo `enable_vae_tiling`."""
        self.vae.disable_tiling()

    def enable_vae_slicing(self) -> None:
        """Pictures of a batch pass through the VAE one after the other."""
        self.vae.enable_slicing()

    def disable_vae_slicing(self) -> None:
        """Undo `enable_vae_slicing`."""
        self.vae.disable_slicing()

    def set_attention_slice(self, slice_size: int | None) -> None:
        """Refused while something is grafted: diffusers' sliced attention would take its place, unnoticed."""
        self._check_keeps_grafts("attention slicing")
        super().set_attention_slice(slice_size)

    def set_use_memory_efficient_attention_xformers(
        self, valid: bool, attention_op: Callable | None = None
    ) -> None:
        """Refused while something is grafted, as `set_attention_slice` is."""
        self._check_keeps_grafts("xFormers' attention")
        super().set_use_memory_efficient_attention_xformers(valid, attention_op)

    def _check_keeps_grafts(self, what: str) -> None:
        if any(isinstance(each, GraftedProcessor) for each in self.unet.attn_processors.values()):
            raise ValueError(
                f"{what} would silently take adapters, styles and decoder off the UNet: leave it "
                "out, fused attention needs no more memory; or unload_adapter() first"
            )
