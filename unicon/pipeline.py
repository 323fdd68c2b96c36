"""How does a user ask for any direction between a picture and its conditions?

One pipeline, one call. The call turns arguments into branches (`unicon.branch`), branches into a plan
(`unicon.sampling.plans`), prompts and maps into tensors, and runs the loop (`unicon.sampling.loop`) on the
UNet (`unicon.network`). Numerics, layers and picture formats live there, not here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from torch import Tensor

from adapters import (
    JointAdapter,
    Pair,
    graft,
    grafted,
    joint_forward,
    load_adapter,
    merge_for_inference,
    save_adapter,
    ungraft,
    unmerge,
)
from unicon.branch import IMAGE, Branch, plan_branch
from unicon.network import BranchNetwork
from unicon.output import UniConOutput
from unicon.pictures import Frame, as_output, as_pictures, check_output_type, ensemble, repeat_to
from unicon.prompts import encode_prompts, join_trigger
from unicon.sampling.grids import Grid, grid_from_timesteps
from unicon.sampling.guidance import Guidance
from unicon.sampling.levels import Schedule
from unicon.sampling.loop import State, sample, start
from unicon.sampling.noise import NoiseSource
from unicon.sampling.plans import Known, Plan, Trajectory
from unicon.sampling.solvers import Solver, solver_from_scheduler

ADAPTERS_FOLDER = "adapters"
"""Where a saved pipeline keeps its adapters, one folder each."""

HeldClean = Literal["auto", "shortcut", "two_way"]


class UniConPipeline(DiffusionPipeline):
    """One frozen text-to-image base and its joint adapters, in every direction.

    Components are Stable Diffusion's; `scheduler` chooses and parameterises the solver and stays swappable.
    """

    model_cpu_offload_seq = "text_encoder->unet->vae"
    _optional_components = ["image_encoder", "feature_extractor", "safety_checker"]
    _callback_tensor_inputs = ["latents"]

    unet: UNet2DConditionModel
    vae: AutoencoderKL

    def __init__(
        self,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        unet: Any,
        scheduler: Any,
        image_encoder: Any = None,
        feature_extractor: Any = None,
        safety_checker: Any = None,
    ):
        super().__init__()
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            image_encoder=image_encoder,
            feature_extractor=feature_extractor,
            safety_checker=safety_checker,
        )
        self.vae_scale_factor = 2 ** (len(vae.config.block_out_channels) - 1) if vae is not None else 8

    # --- bases and adapters -------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> UniConPipeline:
        """Load a base: "mini" (ships with the package), a diffusers folder, or a hub id.

        Adapters saved in the folder (`adapters/NAME`) are loaded too. Keywords are those of
        `DiffusionPipeline.from_pretrained`, such as `dtype=` and `revision=`.
        """
        path = str(pretrained_model_name_or_path)
        if path == "mini":
            from unicon.mini import mini_folder

            path = str(mini_folder())
        pipe = super().from_pretrained(path, **kwargs)
        for folder in sorted(Path(path).glob(f"{ADAPTERS_FOLDER}/*/config.json")):
            pipe.load_adapter(folder.parent)
        return pipe

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write the base in diffusers' layout and every loaded adapter below `adapters/`."""
        super().save_pretrained(save_directory, **kwargs)
        for name, adapter in self.adapters.items():
            save_adapter(adapter, Path(save_directory) / ADAPTERS_FOLDER / name)

    @property
    def adapters(self) -> dict[str, JointAdapter]:
        """The loaded adapters by name."""
        return dict(grafted(self.unet))

    def load_adapter(self, folder: str | Path, name: str | None = None) -> None:
        """Load one adapter from a folder and add it under `name` (default: the condition it was trained for)."""
        adapter = load_adapter(folder, self.unet)
        self.add_adapter(adapter, name or adapter.config.condition)

    def add_adapter(self, adapter: JointAdapter, name: str) -> None:
        """Graft an adapter built for this base under `name`, an identifier that is no parameter of the call."""
        if not name.isidentifier() or name in _PARAMETERS:
            raise ValueError(
                f"adapter name {name!r}: it becomes a keyword of the call, so it must be an identifier "
                f"and none of its parameters ({', '.join(sorted(_PARAMETERS))})"
            )
        adapter.to(self.unet.device, self.unet.dtype)
        graft(self.unet, {name: adapter})

    def unload_adapter(self, name: str | None = None) -> None:
        """Take one adapter (or all) out again; the UNet is bitwise what it was."""
        if name is not None and name not in self.adapters:
            raise ValueError(f"no adapter {name!r} is loaded; loaded: {', '.join(self.adapters) or 'none'}")
        ungraft(self.unet, name)

    def merge_for_inference(self) -> int:
        """Fold every adapter's low-rank updates into weights of its own; returns the bytes this adds."""
        return merge_for_inference(self.unet)

    def unmerge(self) -> None:
        """Undo `merge_for_inference`."""
        unmerge(self.unet)

    # --- the call -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        image: Any = None,
        conditions: Mapping[str, Any] | None = None,
        outputs: Sequence[str] | None = None,
        *,
        noise: float | None = None,
        mask: Any = None,
        height: int | None = None,
        width: int | None = None,
        processing_resolution: int | None = None,
        num_inference_steps: int = 20,
        timesteps: Sequence[float] | None = None,
        guidance_scale: float = 1.0,
        condition_guidance_scale: float = 0.0,
        guidance_rescale: float = 0.0,
        negative_prompt: str | Sequence[str] | None = None,
        num_images_per_prompt: int = 1,
        ensemble_size: int = 1,
        eta: float | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        latents: Mapping[str, Tensor] | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        held_clean: HeldClean = "auto",
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[..., dict[str, Any] | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        **maps: Any,
    ) -> UniConOutput | tuple:
        """Denoise an image and its conditions together; which branch gets noise chooses the direction.

        Args:
            prompt: what the image shows; one, or one per sample. None is the empty prompt.
            image: picture(s) of the image branch, or a `Branch`. None: generated from noise.
            conditions: adapter name -> picture(s) or `Branch`. Loaded adapters are keywords too: `depth=map`.
            outputs: what to return, "image" and adapter names; named conditions without a map are generated.
                None: every branch that runs.
            noise: fraction of the grid in [0, 1] the given `image` starts from (editing).
            mask: white where `image` is generated, black where it is kept (inpainting).
            height, width: pixels; none: those of the given pictures, else the base's own size. Sizes off the
                latent grid are padded and cropped back.
            processing_resolution: longer side in pixels that pictures are worked on at, results come back in
                their own size. None: the base's own when the image is held (estimation), else theirs.
                0: theirs.
            num_inference_steps: steps of a branch that runs from pure noise to clean.
            timesteps: custom descending timesteps instead of the scheduler's spacing.
            guidance_scale: classifier-free guidance of the image, 1 is off; conditions have their own in
                `Branch`.
            condition_guidance_scale: along joint minus separate prediction, 0 is off.
            guidance_rescale: in [0, 1], Lin et al. 2023, section 3.4.
            num_images_per_prompt: samples per prompt (and given picture).
            ensemble_size: independent estimates per picture, averaged; their deviation is `.uncertainty`.
            eta: share of fresh noise, 0 to 1, for solvers that take it.
            generator: one, or one per sample; noise depends on (sample, branch, step) alone.
            latents: branch name -> initial noise (sample, C, h, w) instead of drawing it.
            prompt_embeds, negative_prompt_embeds: (sample, tokens, width) instead of the image's prompts.
            held_clean: "shortcut" computes held-clean branches once, "two_way" in every step, "auto" the
                shortcut wherever all adapters in the run allow it.
            output_type: "pil", "np", "pt" or "latent".
            callback_on_step_end: called as (pipe, step, timestep, {"latents": (branch, sample, C, h, w)});
                may return changed latents; set `pipe._interrupt = True` to stop.

        Raises ValueError for contradictory branches, unknown names, sizes that differ, values out of range.
        """
        check_output_type(output_type)
        call = self._branches(image, noise, mask, prompt, negative_prompt, conditions, maps, outputs, guidance_scale)
        copies = num_images_per_prompt * ensemble_size
        frame, pictures, masks = self._pictures(call, height, width, processing_resolution)
        num = self._num_samples(call, pictures, prompt_embeds) * copies
        clean = {name: self._encode(p, num, copies, name) for name, p in pictures.items()}
        known = {name: self._known(call.branches[name], clean[name], m, num, copies) for name, m in masks.items()}
        trajectory = self._trajectory(call, known, num_inference_steps, timesteps)
        prompts = self._prompts(call, num, copies, prompt_embeds, negative_prompt_embeds)
        network = self._network(call, trajectory, prompts, held_clean)
        guidance = Guidance(
            text=tuple(self._text_scales(call)), condition=float(condition_guidance_scale), rescale=guidance_rescale
        )
        source = _Noise(NoiseSource.from_generator(generator, num), latents or {})
        shape = (num, self.unet.config.in_channels, *(s // self.vae_scale_factor for s in frame.padded))
        x = start(trajectory, clean, source, shape, device=self._execution_device)
        self._interrupt = False
        with self.progress_bar(total=trajectory.num_steps) as bar:
            hook = self._hook(bar, callback_on_step_end, callback_on_step_end_tensor_inputs)
            x = sample(guidance(network.evaluate), x, trajectory, self._solver(eta), source, on_step=hook)
        result = self._output(dict(zip(trajectory.names, x, strict=True)), call, frame, output_type, ensemble_size)
        self.maybe_free_model_hooks()
        return result if return_dict else result.to_tuple()

    @torch.no_grad()
    def predict(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        pairs: Sequence[tuple[int, int, float, float, str]],
        num_guidance: int = 1,
    ) -> Tensor:
        """The UNet's raw output for a stacked batch (guidance, branch, sample).

        `pairs` are (image branch, condition branch, image weight, condition weight, adapter). The number of
        branches is one more than the highest index; with none, every item is a branch.
        """
        items = sample.shape[0] // num_guidance
        branches = 1 + max((max(p[0], p[1]) for p in pairs), default=items - 1)
        routes = [
            Pair(image=i, condition=c, adapter=name, image_weight=wi, condition_weight=wc)
            for i, c, wi, wc, name in pairs
        ]
        return joint_forward(
            self.unet,
            sample,
            timestep,
            encoder_hidden_states,
            pairs=routes,
            num_branches=branches,
            num_guidance=num_guidance,
        )

    # --- the call's parts, in its order -------------------------------------------------------------------

    def _branches(self, image, noise, mask, prompt, negative_prompt, conditions, maps, outputs, scale) -> _Call:
        given = {**(conditions or {}), **maps}
        loaded = self.adapters
        asked = tuple(outputs) if outputs is not None else ()
        if isinstance(outputs, str):
            raise ValueError(f"outputs is the text {outputs!r}; give a list: outputs=[{outputs!r}]")
        if both := set(conditions or {}) & set(maps):
            raise ValueError(f"{both.pop()!r} is given twice, in conditions and as a keyword; keep one")
        for name in [*given, *asked]:
            if name not in loaded and name != IMAGE:
                raise ValueError(
                    f"unknown keyword or condition {name!r}; loaded adapters: {', '.join(loaded) or 'none'} "
                    "(load one with load_adapter)"
                )
        main = image if isinstance(image, Branch) else Branch(map=image, noise=noise, mask=mask)
        if isinstance(image, Branch) and (noise is not None or mask is not None):
            raise ValueError("image is a Branch: put noise and mask into it")
        main = replace(
            main,
            prompt=main.prompt if main.prompt is not None else prompt,
            negative_prompt=main.negative_prompt if main.negative_prompt is not None else negative_prompt,
            guidance_scale=scale if main.guidance_scale is None else main.guidance_scale,
        )
        branches = {IMAGE: main}
        for name in dict.fromkeys([*given, *(n for n in asked if n != IMAGE)]):
            value = given.get(name)
            branches[name] = value if isinstance(value, Branch) else Branch(map=value)
        return _Call(branches=branches, asked=asked)

    def _pictures(self, call: _Call, height, width, longest) -> tuple[Frame, dict[str, Tensor], dict[str, Tensor]]:
        """Given pictures and masks, padded to the latent grid, and the frame that takes results back."""
        pictures = {n: as_pictures(b.map, n) for n, b in call.branches.items() if b.map is not None}
        sizes = {n: tuple(p.shape[-2:]) for n, p in pictures.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f"pictures of one call share a size, got {sizes} (height, width); resize the maps to the image"
            )
        native = self.unet.config.sample_size * self.vae_scale_factor
        size = next(iter(sizes.values()), (height or native, width or native))
        if sizes and (height or width) and (height or size[0], width or size[1]) != size:
            raise ValueError(
                f"height={height}, width={width}, but the given picture is {size}; leave them out, or resize it"
            )
        if min(size) < 1:
            raise ValueError(f"height={height}, width={width}: pictures have at least 1 pixel a side")
        if longest is None:
            held = IMAGE in pictures and call.branches[IMAGE].noise is None and call.branches[IMAGE].mask is None
            longest = native if held and all(n == IMAGE for n in pictures) else 0
        frame = Frame.of(*size, self._grid_multiple, longest or None)
        masks = {
            n: self._mask(b.mask, n, size) for n, b in call.branches.items() if b.mask is not None and n in pictures
        }
        enter = {n: frame.enter(p.to(self._execution_device)) for n, p in pictures.items()}
        return frame, enter, {n: frame.enter(m.to(self._execution_device), sharp=True) for n, m in masks.items()}

    @property
    def _grid_multiple(self) -> int:
        """Pixels per side that a padded picture is a multiple of: the VAE's factor times the UNet's halvings."""
        return self.vae_scale_factor * 2 ** (len(self.unet.config.block_out_channels) - 1)

    def _mask(self, mask: Any, name: str, size: tuple[int, int]) -> Tensor:
        pictures = as_pictures(mask, f"mask of {name}")
        if tuple(pictures.shape[-2:]) != size:
            raise ValueError(f"mask of {name} is {tuple(pictures.shape[-2:])}, its picture {size}; they share a size")
        return (pictures.mean(1, keepdim=True) > 0.5).float()

    def _num_samples(self, call: _Call, pictures: dict[str, Tensor], embeds: Tensor | None) -> int:
        counts = {f"{n} pictures": len(p) for n, p in pictures.items()}
        for name, branch in call.branches.items():
            for field in ("prompt", "negative_prompt"):
                value = getattr(branch, field)
                if value is not None and not isinstance(value, str):
                    counts[f"{name} {field}"] = len(value)
        if embeds is not None:
            counts["prompt_embeds"] = len(embeds)
        num = max(counts.values(), default=1)
        if wrong := {k: v for k, v in counts.items() if v not in (1, num)}:
            raise ValueError(f"{wrong} do not fit the largest of {counts}: give 1 or {num} of each")
        return num

    def _encode(self, pictures: Tensor, num: int, copies: int, name: str) -> Tensor:
        """Clean latents (sample, C, h, w), float32, each picture encoded once."""
        latents = self.vae.encode((pictures * 2 - 1).to(self.vae.dtype))
        mean = latents.latent_dist.mode() if hasattr(latents, "latent_dist") else latents.latents
        shift = getattr(self.vae.config, "shift_factor", None) or 0.0
        scaled = (mean.float() - shift) * self.vae.config.scaling_factor
        return repeat_to(scaled, num // copies, name).repeat_interleave(copies, dim=0)

    def _known(self, branch: Branch, clean: Tensor, mask: Tensor, num: int, copies: int) -> Known:
        small = torch.nn.functional.max_pool2d(mask, self.vae_scale_factor)  # a partly white cell is generated
        small = repeat_to(small, num // copies, "mask").repeat_interleave(copies, dim=0)
        return Known(clean=clean, mask=small, weight=branch.mask_guidance)

    def _trajectory(self, call: _Call, known: dict[str, Known], num_steps: int, timesteps) -> Trajectory:
        plans = tuple(
            plan_branch(n, b, asked=n in call.asked, known=known.get(n)) for n, b in call.branches.items()
        )
        return Plan(plans).resolve(self._grid(num_steps, timesteps))

    def _grid(self, num_steps: int, timesteps: Sequence[float] | None) -> Grid:
        schedule = Schedule.from_scheduler(self.scheduler)
        if timesteps is not None:
            return grid_from_timesteps(schedule, timesteps)
        return solver_from_scheduler(self.scheduler)[1].grid(schedule, num_steps)

    def _solver(self, eta: float | None) -> Solver:
        solver = solver_from_scheduler(self.scheduler)[0]
        return solver if eta is None else replace(solver, eta=eta)

    def _prompts(self, call: _Call, num: int, copies: int, embeds: Tensor | None, negative: Tensor | None) -> Tensor:
        """Text embeddings (2, branch, sample, tokens, width): negative first."""
        main = call.branches[IMAGE]
        texts: list[list[str]] = []
        for name, branch in call.branches.items():
            trigger = "" if name == IMAGE else self.adapters[name].config.trigger
            # A condition's empty prompt keeps its trigger words: they say which kind of map it is.
            for own, shared in ((branch.negative_prompt, None), (branch.prompt, main.prompt)):
                words = own if own is not None or name == IMAGE else join_trigger(trigger, shared)
                texts.append(_per_sample(words, num, copies))
        rows = encode_prompts(self.tokenizer, self.text_encoder, texts, self._execution_device)
        rows = rows.unflatten(0, (len(call.branches), 2, num)).transpose(0, 1).contiguous()
        for half, given in ((0, negative), (1, embeds)):
            if given is not None:
                own = given.to(rows).expand(num // copies, -1, -1).repeat_interleave(copies, dim=0)
                rows[half, 0] = own
        for index, scale in enumerate(self._text_scales(call)):
            if scale == 1:  # unguided: the unprompted half of the image reads the branch as it is
                rows[0, index] = rows[1, index]
        return rows.to(self.unet.dtype)

    def _network(self, call: _Call, trajectory: Trajectory, prompts: Tensor, held_clean: str) -> BranchNetwork:
        names = list(call.branches)
        held = [i for i in range(len(names)) if bool(trajectory.levels[:, i].is_clean.all())]
        reading = {i: not (i in held) for i in range(len(names))}
        pairs = []
        for i, name in enumerate(names[1:], start=1):
            config = self.adapters[name].config
            image_reads = reading[0] or config.reads_when_clean
            pairs.append(
                Pair(
                    image=0,
                    condition=i,
                    adapter=name,
                    image_weight=float(call.branches[name].weight) if image_reads else 0.0,
                    condition_weight=1.0 if reading[i] or config.reads_when_clean else 0.0,
                )
            )
        return BranchNetwork(
            unet=self.unet,
            schedule=Schedule.from_scheduler(self.scheduler),
            pairs=pairs,
            prompts=prompts,
            cached=self._cached(held, pairs, held_clean),
        )

    def _cached(self, held: list[int], pairs: list[Pair], held_clean: str) -> tuple[int, ...]:
        if held_clean not in ("auto", "shortcut", "two_way"):
            raise ValueError(f"held_clean is {held_clean!r}; choose auto, shortcut or two_way")
        refusing = [p.adapter for p in pairs if not self.adapters[p.adapter].config.allows_shortcut]
        if held_clean == "shortcut" and refusing:
            raise ValueError(
                f"held_clean='shortcut', but adapter {refusing[0]!r} reads both ways in every step (its config has "
                "reads_when_clean or a fused or shared projection, as published adapters do); use 'two_way' or 'auto'"
            )
        return () if held_clean == "two_way" or refusing else tuple(held)

    def _text_scales(self, call: _Call) -> list[float]:
        return [1.0 if b.guidance_scale is None else float(b.guidance_scale) for b in call.branches.values()]

    def _hook(self, bar, callback, tensor_inputs) -> Callable[[State], None]:
        if unknown := set(tensor_inputs) - set(self._callback_tensor_inputs):
            raise ValueError(f"callback inputs {sorted(unknown)} are unknown; known: {self._callback_tensor_inputs}")

        def on_step(state: State) -> None:
            bar.update()
            if callback is not None:
                changed = callback(self, state.index, state.levels.timestep, {"latents": state.x}) or {}
                state.x = changed.get("latents", state.x)
            state.stop = self._interrupt

        return on_step

    def _output(self, latents: dict[str, Tensor], call: _Call, frame: Frame, kind: str, members: int) -> UniConOutput:
        names = call.asked or [n for n in latents if self._ran(n, call)]
        if kind == "latent":
            return UniConOutput(
                images=latents.get(IMAGE) if IMAGE in names else None,
                conditions={n: latents[n] for n in names if n != IMAGE},
            )
        out = UniConOutput()
        for name in names:
            pictures = frame.leave(self._decode(latents[name]))
            if name == IMAGE:
                out.images = as_output(pictures, kind)
                continue
            stacked = pictures.unflatten(0, (-1, members)).transpose(0, 1)
            mean, deviation = ensemble(stacked)
            out.conditions[name] = as_output(mean, kind)
            out.maps[name] = as_output(mean, "np")
            if members > 1:
                out.uncertainty[name] = deviation.float().cpu().numpy()
                out.members[name] = stacked.float().movedim(2, -1).cpu().numpy()
        return out

    def _ran(self, name: str, call: _Call) -> bool:
        branch = call.branches[name]
        return plan_branch(name, replace(branch, mask=None, mask_guidance=0.0), asked=False).moves or (
            branch.mask is not None
        )

    def _decode(self, latents: Tensor) -> Tensor:
        shift = getattr(self.vae.config, "shift_factor", None) or 0.0
        scaled = latents / self.vae.config.scaling_factor + shift
        pictures = [self.vae.decode(part.to(self.vae.dtype)).sample.float() for part in scaled.split(16)]
        return (torch.cat(pictures) / 2 + 0.5).clamp(0, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    """Branches of one call in batch order, the image first, and the outputs asked for (empty: what runs)."""

    branches: dict[str, Branch]
    asked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Noise:
    """The call's noise source with the user's initial latents in place of drawn ones."""

    source: NoiseSource
    given: Mapping[str, Tensor]

    def draw(self, branch: str, step: int, shape: Sequence[int]) -> Tensor:
        if step < 0 and branch in self.given:
            value = self.given[branch]
            if tuple(value.shape) != (len(self.source.seeds), *shape):
                raise ValueError(
                    f"latents of {branch!r} have shape {tuple(value.shape)}; expected {(len(self.source.seeds), *shape)}"
                )
            return value.float()
        return self.source.draw(branch, step, shape)


def _per_sample(words: str | Sequence[str] | None, num: int, copies: int) -> list[str]:
    if words is None:
        words = ""
    texts = [words] * (num // copies) if isinstance(words, str) or len(words) == 1 else list(words)
    texts = [t if isinstance(t, str) else t[0] for t in texts]
    return [t for t in texts for _ in range(copies)]


_PARAMETERS = frozenset(inspect.signature(UniConPipeline.__call__).parameters)
