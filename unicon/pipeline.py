"""How does a user ask for any direction between a picture and its conditions?

One pipeline, one call. Everything it needs is a question of its own file: what is asked for (`branch`,
`request`), in what size (`framing`, `pictures`), for how many samples (`batch`), with which text (`prompts`),
looking like what (`likeness`), noise (`randomness`) and latents (`latents`), on which network (`network`), by
which arithmetic (`sampling`), and what comes back (`output`). How bases come and go is `loading`, what is on
them `grafts`; layers are `adapters`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from adapters import Pair, joint_forward
from adapters.grafting import check_in_place
from unicon import latents as autoencoder
from unicon.bases import base_size
from unicon.branch import IMAGE
from unicon.call.arguments import check_interval, check_numbers
from unicon.call.backwards import check_invertible, inverse
from unicon.call.batch import Batch, Generators
from unicon.call.framing import Given, known_parts, read_given
from unicon.call.likeness import LIKE, LikeSettings, Told, check_like, read_like, read_prior
from unicon.call.network import BranchNetwork, HeldClean, branch_network, is_told_guidance
from unicon.call.prompts import Embeddings, branch_embeddings, count_prompts, has_words
from unicon.call.randomness import CallNoise, given_latents, given_temperatures
from unicon.call.request import Names, Request, image_branch, read_guidance, read_request
from unicon.call.tiles import TiledNetwork, tile_cells
from unicon.call.views import in_every_view
from unicon.call.watching import TENSORS, Watch
from unicon.embeddings import TextEmbeddings, embed_pictures, embed_texts
from unicon.loading import AdaptedPipeline
from unicon.output import UniConOutput, check_finite, latent_output, picture_output
from unicon.pictures import check_output_type
from unicon.priors import AnySettings
from unicon.sampling.grids import Grid, grid_from_timesteps
from unicon.sampling.levels import Schedule
from unicon.sampling.loop import sample, start
from unicon.sampling.noise import NoiseSource
from unicon.sampling.plans import Plan
from unicon.sampling.solvers import Solver, solver_from_scheduler
from unicon.texts import TextReader
from unicon.usual_guidance import usual_guidance


class UniConPipeline(AdaptedPipeline):
    """One frozen text-to-image base and its joint adapters, in every direction.

    Components are Stable Diffusion's. `scheduler` chooses and parameterises the solver and stays swappable
    (`unicon.sampling.solvers`; PNDM, with which Stable Diffusion 1.5 ships, stands for DPM++ 2M). A base's
    safety checker is neither loaded nor run.
    """

    _callback_tensor_inputs = list(TENSORS)

    @in_every_view
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
        processing_resolution: int | Sequence[int] | None = None,
        mirrored: bool = False,
        tile_size: int | None = None,
        num_inference_steps: int = 20,
        timesteps: Sequence[float] | None = None,
        guidance_scale: float | None = None,
        condition_guidance_scale: float = 0.0,
        guidance_rescale: float = 0.0,
        guidance_interval: Sequence[float] = (0.0, 1.0),
        negative_prompt: str | Sequence[str] | None = None,
        num_images_per_prompt: int = 1,
        ensemble_size: int = 1,
        eta: float | None = None,
        temperature: Mapping[str, float] | float = 1.0,
        generator: Generators = None,
        latents: Mapping[str, Tensor] | Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        like: Any = None,
        like_scale: float = 1.0,
        like_guidance_scale: float = 1.0,
        like_noise_level: int = 0,
        prior: bool | AnySettings = False,
        invert: bool = False,
        held_clean: HeldClean = "auto",
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[..., dict[str, Any] | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        **maps: Any,
    ) -> UniConOutput | tuple:
        """Denoise an image and its conditions together; which branch gets noise chooses the direction.

        Args:
            prompt: what the image shows; one, or one per sample. None (default): no words.
            image: picture(s) of the image branch, or a `Branch`: a file, PIL image, array (H, W, 3) or tensor
                (3, H, W) of floats in [0, 1], uint8 or uint16, or a list of them, one per sample, of one
                size. None (default): generated from noise.
            conditions: adapter name -> picture(s), as `image` takes them, or `Branch`; one that is None takes
                no part. None (default): no conditions but those in keywords.
            **maps: the same with loaded adapters' names as keywords: `depth=map`.
            outputs: what to return, "image" and adapter names; named conditions without a map are generated.
                None (default): every branch that runs.
            noise: fraction of the grid, 0 (clean) to 1 (pure noise), the given `image` starts from (editing).
                None (default): it is held clean, or all drawn anew where there is a mask.
            mask: picture(s) of the image's ratio, white where it is generated, black where it is kept
                (inpainting). None (default): all of it is treated alike.
            height, width: of the results, pixels from 1. None (default): those of the image given, or of the
                largest map, whose ratio one alone keeps; else the base's own size. Given pictures of that
                ratio, up to 4 %, are resized. Sizes off the latent grid are padded and cropped back.
            processing_resolution: longer side in pixels that is worked on; results come back in their own
                size. 0: that size. None (default): the base's own to estimate from a held image alone, else
                that size, up to 4 times the base's. Several, for estimates alone: an ensemble of
                `ensemble_size` members in each (`unicon.call.views`).
            mirrored: whether mirror images are estimated as well, for estimates alone: as many members more,
                their maps turned back. Default False.
            tile_size: the network sees overlapping windows of so many pixels a side, a multiple of the latent
                grid, one at a time, and their estimates are averaged in every step (`unicon.call.tiles`):
                large pictures in the size that the base knows. 0: the base's own size. None (default): it
                sees all at once.
            num_inference_steps: steps of a branch that runs from pure noise to clean, from 1 to
                the schedule's last timestep (999; with an LCMScheduler to its original 50). Default 20.
            timesteps: descending timesteps, from 0 to the schedule's last (999), in place of
                `num_inference_steps` and the scheduler's spacing. None (default): those.
            guidance_scale: classifier-free guidance of the image, from 0; 1 is off. None (default): off for a
                held image and without words, else what suits the base (`usual_guidance_scale`). Conditions
                have their own in `Branch`.
            condition_guidance_scale: along joint minus separate prediction, any number. 0 (default) is off.
            guidance_rescale: 0 (default, off) to 1, Lin et al. 2023, section 3.4.
            guidance_interval: least and most noise, fractions of the grid, at which a branch is guided;
                steps beyond ask the network once in place of several times. (0, 1) (default): always.
            negative_prompt: the image's, for its guidance; one, or one per sample. None (default): no words.
            num_images_per_prompt: samples per prompt (and given picture), from 1 (default).
            ensemble_size: independent estimates per held image, from 1 (default); above it what they say
                together (`unicon.conditions.ensembles`) is returned, and their deviation is `.uncertainty`.
            eta: share of fresh noise, 0 to 1, for DDIM and DPM++ 2M. None (default): the scheduler's own.
            temperature: factor of all noise from 0, of every branch or by branch name. 1 (default) samples;
                below, results come nearer the mean of what the model believes in: often a better estimate, a
                duller picture.
            generator: one, or one per sample (or per image of an ensemble); noise depends on (sample, branch,
                step) alone. None (default): torch's global one.
            latents: branch name -> initial standard normal noise (sample, C, h, w) instead of drawing it; a
                tensor is the image's. None (default): drawn.
            prompt_embeds, negative_prompt_embeds: (sample, rows, width) instead of the image's prompts, as
                `pipe.encode_prompts` makes them. None (default): the prompts count.
            like: picture(s) the image is to look like, or their embeddings (n, width), by a decoder adapter.
                False: the decoder adapter is told nothing, as for a share of its training. None (default): no
                adapter.
            like_scale: how much of the decoder adapter the image gets, any number; 0 is the base. Default 1.
            like_guidance_scale: guidance by `like` beside that of the text, any number; 1 (default) is off.
            like_noise_level: noise on the embedding, 0 (default) to 999: more of it keeps less of `like`.
            prior: let a prior choose what the image looks like, after its prompt, instead of `like`: True, or
                `PriorSettings` or `ArPriorSettings` for the diffusion or the autoregressive one. Default
                False.
            invert: run backwards, from the given image to the noise it comes from (DDIM). `.images` are then
                `latents` of a call that draws it again: the same one without image and invert, or with the
                same `noise` and image; where a condition is held noisy, by a generator of the same seed.
                Guidance makes it less exact, guidance_scale=1 is best. Default False.
            held_clean: "shortcut" computes clean branches once, "two_way" in every step, "auto" (default) the
                shortcut wherever all adapters in the run allow it.
            output_type: "pil" (default), "np" (sample, H, W, 3), "pt" (sample, 3, H, W), both floats in
                [0, 1], or "latent".
            return_dict: False for the output's fields as a tuple. Default True.
            callback_on_step_end: called as (pipe, step, timesteps of all branches, tensors).
                May return {"latents": changed}; setting `pipe._interrupt = True` ends the run there. None
                (default): nobody is called.
            callback_on_step_end_tensor_inputs: of "latents" after the step (default) and the "clean"
                estimates it was made with, both (branch, sample, C, h, w).

        Returns what `outputs` names: `.images` of the image, `.conditions` and float `.maps` by name, and of
        an ensemble its `.uncertainty`, its `.members`, and of poses its `.people` (`unicon.output`).

        Raises ValueError for contradictory branches, unknown names, shapes that differ, values out of range,
        and TypeError for arguments of diffusers' pipelines that have another name here.
        """
        assert not mirrored, "in_every_view sees to it"
        assert not isinstance(processing_resolution, Sequence), "in_every_view sees to them"
        check_output_type(output_type)
        check_numbers(
            timesteps,
            height=height,
            width=width,
            processing_resolution=processing_resolution,
            tile_size=tile_size,
            num_inference_steps=num_inference_steps,
            condition_guidance_scale=condition_guidance_scale,
            guidance_rescale=guidance_rescale,
            num_images_per_prompt=num_images_per_prompt,
            ensemble_size=ensemble_size,
            eta=eta,
        )
        check_interval(guidance_interval)
        # 1. What is asked for: branches, what each does, what comes back.
        main = image_branch(
            image,
            noise=noise,
            mask=mask,
            prompt=prompt,
            negative_prompt=negative_prompt,
            guidance_scale=guidance_scale,
        )
        if invert and main.noise is None:
            main = replace(main, noise=1.0)
        names = Names(adapters=tuple(self.adapters), parameters=self.call_parameters())
        embeddings = Embeddings(prompted=prompt_embeds, unprompted=negative_prompt_embeds)
        request = read_request(
            image=main,
            conditions=conditions,
            keywords=maps,
            outputs=outputs,
            names=names,
            usual_scale=self.usual_guidance_scale if has_words(main, embeddings) else 1.0,
        )
        liking = LikeSettings(
            scale=like_scale, guidance_scale=like_guidance_scale, noise_level=like_noise_level
        )
        wants = like is not None or prior is not False
        check_like(wants, liking, self.decoder, request, nothing=like is False)
        asked = read_prior(prior, like, prompt_embeds)
        imagining = None if asked is False else self.prior_settings(asked)
        # 2. Pictures, their size, and how many samples there are.
        size = base_size(self.unet, self.vae)
        tile = tile_cells(tile_size, size, self.vae_scale_factor)
        given = read_given(request, size, height, width, processing_resolution, tiled=tile is not None)
        liked = None if like is None or like is False else self.embed(like)
        counts = {**given.counts, **count_prompts(request, embeddings)}
        counts |= {} if liked is None else {LIKE: len(liked)}
        batch = Batch.of(counts, num_images_per_prompt, ensemble_size)
        guidance = read_guidance(
            request,
            num_members=ensemble_size,
            condition_scale=float(condition_guidance_scale),
            rescale=guidance_rescale,
            like_scale=liking.guidance_scale,
            is_told=is_told_guidance(self.unet),
            is_partial=tuple(guidance_interval) != (0.0, 1.0),
        )
        # 3. The levels of every branch at every step, and how a step is made.
        grid, solver = self._grid(num_inference_steps, timesteps, eta)
        trajectory = Plan(tuple(request.plans.values())).resolve(grid)
        guidance = replace(guidance, log_snr=grid.log_snr_between(*guidance_interval))
        if invert:
            check_invertible(request, solver, latents=latents, callback_on_step_end=callback_on_step_end)
        # 4. Noise.
        rows, columns = (side // self.vae_scale_factor for side in given.frame.padded)
        shape = (batch.num_samples, self.unet.config["in_channels"], rows, columns)
        source = NoiseSource.from_generator(batch.generators(generator), batch.num_samples)
        draws = CallNoise(
            source=source,
            latents=given_latents(latents, trajectory, shape),
            temperatures=given_temperatures(temperature, trajectory),
        )
        # 5. Text embeddings, what the image is to look like, and the network that is told both.
        device = self._execution_device  # which looks at every module: asked for once
        wanted = None if liked is None else batch.spread(liked)
        if imagining is not None:
            texts = [text or "" for text in batch.texts(request.branches[IMAGE].prompt)]
            wanted = self.imagine(texts, imagining, source)
        told = None
        if wanted is not None or like is False:
            told = self._told(wanted, liking, source, batch.num_samples, device)
        network = self._network(request, batch, embeddings, held_clean, told, device)
        if tile is not None:
            network = TiledNetwork.of(network, (rows, columns), tile)
        # 6. Clean latents of what was given, and latents to start from.
        clean = {n: batch.spread(self._encode(p, given, device)) for n, p in given.pictures.items()}
        known = known_parts(request, given, batch, clean, self.vae_scale_factor)
        trajectory = replace(trajectory, known=known)
        x = start(trajectory, clean, draws, shape, device=device)
        if invert:
            with self.progress_bar(total=trajectory.num_steps) as bar:  # pyright: ignore[reportCallIssue]
                began = inverse(guidance(network.evaluate), trajectory, clean[IMAGE], x, bar)
            self.maybe_free_model_hooks()
            result = latent_output({IMAGE: began})
            return result if return_dict else result.to_tuple()
        # 7. The run.
        self._interrupt, self._num_timesteps = False, trajectory.num_steps
        with self.progress_bar(total=trajectory.num_steps) as bar:  # pyright: ignore[reportCallIssue]
            watch = Watch(self, callback_on_step_end, callback_on_step_end_tensor_inputs, network, bar)
            x = sample(
                guidance(network.evaluate), x, trajectory, solver, draws,
                on_step=lambda state: watch.after(state, trajectory),
            )  # fmt: skip
        # 8. What was asked for, as pictures in the user's size.
        ended = dict(zip(trajectory.names, x, strict=True))
        ended = {name: ended[name] for name in request.outputs}
        check_finite(ended, self.unet.dtype)
        if output_type == "latent":
            result = latent_output(ended)
        else:
            pictures = {name: self._decode(name, latent, given, batch) for name, latent in ended.items()}
            result = picture_output(pictures, output_type, batch.members, self.kinds)
        self.maybe_free_model_hooks()
        return result if return_dict else result.to_tuple()

    @property
    def interrupt(self) -> bool:
        """Whether the run is to stop after this step."""
        return self._interrupt

    @property
    def num_timesteps(self) -> int:
        """Steps of the last run."""
        return self._num_timesteps

    @property
    def usual_guidance_scale(self) -> float:
        """What `guidance_scale` is where nobody says, for an image that is drawn after a prompt."""
        own_px = base_size(self.unet, self.vae).own_px
        return usual_guidance(own_px, self.scheduler, is_told=is_told_guidance(self.unet))

    def embed(self, pictures: Any) -> Tensor:
        """Embeddings (n, width) of pictures in the CLIP of this base, unit vectors; given ones are checked.

        Raises ValueError for embeddings of another width, with NaN or of other lengths than 1, without an
        image encoder, and for one that is not the decoder adapter's.
        """
        return read_like(pictures, self.clip.width, self._embed)

    def embed_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        """What the CLIP of this base says about texts; `.z` lies in one space with those of pictures."""
        return embed_texts(self.text_encoder, self.tokenizer, texts, self._execution_device)

    @torch.no_grad()
    def predict(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        pairs: Sequence[tuple[int, int, float, float, str]],
        num_guidance: int = 1,
        num_branches: int | None = None,
        styled: bool = True,
    ) -> Tensor:
        """The UNet's raw output for a stacked batch (guidance, branch, sample).

        `pairs` are (image branch, condition branch, image weight, condition weight, adapter). `num_branches`,
        if not given, is one more than the highest index in them; without pairs all items are samples of one.
        The first branch gets the loaded styles unless it is not `styled`.
        """
        check_in_place(self.unet)
        if num_branches is None:
            num_branches = 1 + max((max(p[0], p[1]) for p in pairs), default=0)
        routes = [
            Pair(image=i, condition=c, adapter=name, image_weight=to_image, condition_weight=to_condition)
            for i, c, to_image, to_condition, name in pairs
        ]
        return joint_forward(
            self.unet,
            sample,
            timestep,
            encoder_hidden_states,
            pairs=routes,
            num_branches=num_branches,
            num_guidance=num_guidance,
            lora_branches=(0,) if styled else (),
        )

    # --- the call's parts ---------------------------------------------------------------------------------

    def _grid(
        self, num_steps: int, timesteps: Sequence[float] | None, eta: float | None
    ) -> tuple[Grid, Solver]:
        schedule = Schedule.from_scheduler(self.scheduler)
        solver, spacing = solver_from_scheduler(self.scheduler)
        if timesteps is None:
            grid = spacing.grid(schedule, num_steps)
        else:
            grid = grid_from_timesteps(schedule, timesteps)
        return grid, solver if eta is None else solver.with_eta(eta)

    def _network(
        self,
        request: Request,
        batch: Batch,
        embeddings: Embeddings,
        held_clean: HeldClean,
        told: Told | None,
        device: torch.device,
    ) -> BranchNetwork:
        check_in_place(self.unet)
        configs = {name: adapter.config for name, adapter in self.adapters.items()}
        reader, image = TextReader.of(self), request.plans[IMAGE]
        is_drawn = image.is_drawn and image.moves
        prompts = branch_embeddings(
            request,
            batch,
            {name: config.trigger for name, config in configs.items()},
            embeddings,
            # A style, its words and what it changes in the text encoder are for an image that is drawn.
            reader=reader if is_drawn else replace(reader, styles={}),
            device=device,
            phrases=self.phrases() if is_drawn else [],
        )
        prediction = Schedule.from_scheduler(self.scheduler).prediction
        return branch_network(
            self.unet, prediction, request, configs, prompts, held_clean, told, styled=is_drawn
        )

    def _told(
        self,
        z: Tensor | None,
        settings: LikeSettings,
        noise: NoiseSource,
        num_samples: int,
        device: torch.device,
    ) -> Told:
        assert self.decoder is not None, "check_like has seen to it"
        if z is None:
            return Told.nothing(num_samples, settings, self.decoder, device)
        return Told.of(z.to(device), settings, self.decoder, noise)

    def _embed(self, pictures: Sequence[Tensor]) -> Tensor:
        self._check_clip(self.decoder)
        if self.image_encoder is None:
            raise ValueError(
                "this base has no image encoder to see like with: give embeddings instead of pictures, or "
                "load the base with image_encoder=CLIPVisionModelWithProjection.from_pretrained(...)"
            )
        return embed_pictures(self.image_encoder, self.feature_extractor, pictures, self._execution_device)

    def _encode(self, pictures: Tensor, given: Given, device: torch.device) -> Tensor:
        # Resized where they are: CUDA refuses to make large photographs small, and they are large to bring.
        with autoencoder.in_parts(self.vae, given.is_huge):
            return autoencoder.encode(self.vae, given.frame.enter(pictures).to(device))

    def _decode(self, name: str, latents: Tensor, given: Given, batch: Batch) -> Tensor:
        """Pictures in the user's size; what was known is as it was given."""
        with autoencoder.in_parts(self.vae, given.is_huge):
            pictures = given.frame.leave(autoencoder.decode(self.vae, latents))
        if name not in given.masks:
            return pictures
        kept, mask = (batch.spread(t).to(pictures) for t in (given.in_users_size(name), given.masks[name]))
        return torch.where(mask > 0, pictures, kept)
