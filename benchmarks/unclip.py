"""How exactly does a picture come back from its noise, and what do the prior and the decoder adapter cost?

    python benchmarks/unclip.py                  # tables below, on the mini base
    python benchmarks/unclip.py --inversion 20   # one number of steps

The inversion is that of the base alone, whose error is the solver's, and that of the base told the picture's
embedding by the decoder adapter that ships. Times and memory are of fresh weights of the mini recipes' sizes,
which cost what trained ones do. A training step is one of the real loop: data, both passes, clipping,
optimizer, moving average, log. It is the difference of a long and a short run, so that start, checkpoint and
export are not in it. Memory is the most that a call adds to what the process held before it, and of training
that of a whole run with optimizer, moving average and checkpoint.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from PIL import Image
from timing import processor_name, seconds, working_bytes

from adapters import DecoderAdapter, DecoderConfig
from train.config import RunConfig
from train.loop import fit
from train.objectives.decoder import DataDecoderTraining, SceneDecoderTraining
from train.objectives.prior import DataPriorConfig, ScenePriorConfig
from train.recipes import FAMILIES
from unicon import PriorSettings, UniConPipeline
from unicon.data.scenes import SceneConfig, render
from unicon.embeddings import identity
from unicon.latents import encode
from unicon.mini import mini_folder
from unicon.pictures import as_pictures, resize
from unicon.prior import fit_statistics, new_prior, predict, sample_prior
from unicon.sampling.inversion import invert
from unicon.sampling.noise import NoiseSource

SUBSTITUTIONS = (1, 2, 5)
NUM_PICTURES = 160
"""Scenes that are trained on."""
SHORT, LONG, REPEATS = 2, 12, 3
"""Steps of the two runs whose difference is the time of the steps between, and how often."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inversion", type=int, nargs="*", default=[20, 50], metavar="STEPS")
    parser.add_argument("--only", choices=("inversion", "speed", "training"))
    args = parser.parse_args()
    pipe = UniConPipeline.from_pretrained("mini")
    pipe.set_progress_bar_config(disable=True)
    print(f"{processor_name()}, torch {torch.__version__}, {torch.get_num_threads()} threads, float32")
    if args.only in (None, "inversion"):
        inversion(pipe, args.inversion)
    if args.only in (None, "speed"):
        step_0(pipe)
        speed(pipe)
    if args.only in (None, "training"):
        with tempfile.TemporaryDirectory() as folder:
            training(Path(folder))


@torch.no_grad()
def inversion(pipe: UniConPipeline, numbers: list[int]) -> None:
    """Root mean square error of a photograph's latents that come back, in shares of their deviation."""
    own = pipe.scheduler
    pipe.scheduler = DDIMScheduler.from_config(own.config, clip_sample=False)
    photo = resize(as_pictures(str(mini_folder().parent / "photo.jpg"), "photo"), 128, 128)
    latents = encode(pipe.vae, photo)
    for name, like in {"base alone": None, "told z": pipe.embed(photo)}.items():
        for steps in numbers:
            for count in SUBSTITUTIONS:
                error = come_back(pipe, photo, latents, steps, count, like)
                print(f"inversion, {name}, {steps} steps, {count} substitutions: {error:.4f}", flush=True)
    pipe.scheduler = own


def come_back(
    pipe: UniConPipeline,
    photo: torch.Tensor,
    latents: torch.Tensor,
    steps: int,
    count: int,
    like: torch.Tensor | None,
) -> float:
    from unicon.call import backwards

    def counted(denoise, x, trajectory):
        return invert(denoise, x, trajectory, substitutions=count)

    original, backwards.invert = backwards.invert, counted
    try:
        common = {"num_inference_steps": steps, "guidance_scale": 1.0, "like": like}
        noise = pipe("", image=photo, invert=True, **common).images
    finally:
        backwards.invert = original
    again = pipe("", latents=noise, height=128, width=128, output_type="latent", **common).images
    return float((again - latents).square().mean().sqrt() / latents.std())


@torch.no_grad()
def step_0(pipe: UniConPipeline) -> None:
    """Whether a fresh adapter on the mini base is the base."""
    if pipe.decoder is not None:
        pipe.unload_decoder()
    z = torch.nn.functional.normalize(torch.randn(1, pipe.clip.width), dim=-1)
    drawn = []
    for like in (None, z):
        if like is not None:
            pipe.add_decoder(fresh_decoder(pipe))
        drawn.append(
            pipe(
                "a red chair",
                like=like,
                num_inference_steps=4,
                guidance_scale=1.0,
                output_type="pt",
                generator=torch.Generator().manual_seed(0),
            ).images
        )
    print(f"step 0: bitwise the base: {torch.equal(*drawn)}")


def fresh_decoder(pipe: UniConPipeline) -> DecoderAdapter:
    recipe = FAMILIES["mini"]["decoder"].objective
    assert isinstance(recipe, SceneDecoderTraining)
    config = DecoderConfig(
        clip=identity(pipe.image_encoder), num_tokens=recipe.num_tokens, token_width=recipe.token_width
    )
    return DecoderAdapter.for_unet(pipe.unet, config)


def speed(pipe: UniConPipeline) -> None:
    """Passes and sampling of the mini prior; pictures with and without the decoder adapter."""
    recipe = FAMILIES["mini"]["prior"].objective
    assert isinstance(recipe, ScenePriorConfig)
    prior = new_prior(
        pipe.clip.width, pipe.tokenizer.model_max_length, channels=recipe.channels, layers=recipe.layers,
        heads=recipe.heads,
    )  # fmt: skip
    fit_statistics(prior, torch.nn.functional.normalize(torch.randn(100, pipe.clip.width), dim=-1))
    for name, part in (("prior", prior), ("decoder adapter", pipe.decoder)):
        print(f"{name}: {sum(p.numel() for p in part.parameters()):,} parameters")
    said = pipe.embed_texts(["a red chair on a wooden floor"] * 128)
    x, t = torch.randn(128, pipe.clip.width), torch.full((128,), 500.0)

    def learn() -> None:
        predict(prior, x, t, said).square().mean().backward()

    report("prior, training step of 128 (forward and backward)", learn, 128, "items")
    bare = pipe.embed_texts([""])
    texts = said[torch.arange(8)]
    noise = NoiseSource.from_seed(0, 8)
    report(
        "prior, sampling 8 texts (25 steps, best of 2)",
        lambda: sample_prior(prior, texts, bare, noise, PriorSettings()), 8, "texts",
    )  # fmt: skip
    z = texts.z[:1]
    for name, like in (("without", None), ("with", z)):
        report(f"picture of 10 steps {name} like", lambda like=like: draw(pipe, like), 1, "pictures")


def draw(pipe: UniConPipeline, like: torch.Tensor | None) -> None:
    pipe("a red chair", like=like, num_inference_steps=10, guidance_scale=1.0, output_type="latent")


def training(folder: Path) -> None:
    """Steps of the real loop, of the mini recipes' sizes and batches, on a folder of captioned pictures."""
    data = folder / "data"
    for part in ("image", "caption"):
        (data / part).mkdir(parents=True)
    for seed in range(NUM_PICTURES):
        scene = render(seed, SceneConfig(second_view=False))
        Image.fromarray(scene.image).save(data / "image" / f"{seed}.png")
        (data / "caption" / f"{seed}.txt").write_text(scene.caption, encoding="utf-8")
    prior, decoder = (FAMILIES["mini"][name].objective for name in ("prior", "decoder"))
    assert isinstance(prior, ScenePriorConfig)
    assert isinstance(decoder, SceneDecoderTraining)
    of_prior = DataPriorConfig(
        data=str(data), channels=prior.channels, layers=prior.layers, heads=prior.heads
    )
    of_decoder = DataDecoderTraining(
        data=str(data), num_tokens=decoder.num_tokens, token_width=decoder.token_width
    )
    for name, config in {"prior": of_prior, "decoder": of_decoder}.items():
        loop = replace(FAMILIES["mini"][name].loop, mixed_precision="no", validate_every=0)
        objective = config.build(folder / name)

        def run(steps: int, place: str, config=config, objective=objective, loop=loop, name=name) -> None:
            settings = replace(loop, steps=steps, checkpoint_every=steps)
            fit(objective, RunConfig(name=name, objective=config, loop=settings), folder / name / place)

        added = working_bytes(lambda run=run: run(SHORT, "memory"), "cpu")
        taken = []
        for number in range(REPEATS):
            long, short = (
                seconds(lambda run=run, n=n, k=number: run(n, f"{k}-{n}"), "cpu", "processor")
                for n in (LONG, SHORT)
            )
            taken.append((long - short) / (LONG - SHORT))
        told(f"{name}, training step of {loop.batch_size}, real loop", taken, loop.batch_size, "items", added)


def report(name: str, call, num: int, what: str) -> None:
    call()  # warm-up
    taken = [seconds(call, "cpu", "processor") for _ in range(5)]
    told(name, taken, num, what, working_bytes(call, "cpu"))


def told(name: str, taken: list[float], num: int, what: str, added: int | None) -> None:
    middle = statistics.median(taken)
    memory = "memory is not told here" if added is None else f"{added / 2**20:.0f} MiB more at the peak"
    print(
        f"{name}: {middle:.3f} s of processor time ({min(taken):.3f} to {max(taken):.3f}), "
        f"{num / middle:.1f} {what} a second; {memory}",
        flush=True,
    )


if __name__ == "__main__":
    main()
