"""How exactly does a picture come back from its noise, and how fast are the prior and the decoder adapter?

    python benchmarks/unclip.py                  # tables below, on the mini base
    python benchmarks/unclip.py --inversion 20   # one number of steps

The inversion is that of the base alone (its error is the solver's, not the adapter's); times are of fresh
weights of the mini recipes' sizes, which cost what trained ones do.
"""

from __future__ import annotations

import argparse
import statistics

import torch
from timing import processor_name, seconds

from adapters import DecoderAdapter, DecoderConfig
from train.objectives.decoder import SceneDecoderTraining
from train.objectives.prior import ScenePriorConfig
from train.recipes import FAMILIES
from unicon import PriorSettings, UniConPipeline
from unicon.embeddings import identity
from unicon.latents import encode
from unicon.mini import mini_folder
from unicon.pictures import as_pictures, resize
from unicon.prior import fit_statistics, new_prior, predict, sample_prior
from unicon.sampling.inversion import invert
from unicon.sampling.noise import NoiseSource

SUBSTITUTIONS = (1, 2, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inversion", type=int, nargs="*", default=[20, 50], metavar="STEPS")
    parser.add_argument("--only", choices=("inversion", "speed"))
    args = parser.parse_args()
    pipe = UniConPipeline.from_pretrained("mini")
    pipe.set_progress_bar_config(disable=True)
    print(f"{processor_name()}, torch {torch.__version__}, {torch.get_num_threads()} threads, float32")
    if args.only != "speed":
        inversion(pipe, args.inversion)
    if args.only != "inversion":
        step_0(pipe)
        speed(pipe)


@torch.no_grad()
def inversion(pipe: UniConPipeline, numbers: list[int]) -> None:
    """Deviation of a photograph's latents that come back, in shares of their own."""
    photo = resize(as_pictures(str(mini_folder().parent / "photo.jpg"), "photo"), 128, 128)
    latents = encode(pipe.vae, photo)
    for steps in numbers:
        for count in SUBSTITUTIONS:
            error = come_back(pipe, photo, latents, steps, count)
            print(f"inversion, {steps} steps, {count} substitutions: {error:.4f} of the latents' deviation")


def come_back(
    pipe: UniConPipeline, photo: torch.Tensor, latents: torch.Tensor, steps: int, count: int
) -> float:
    from unicon.call import backwards

    def counted(denoise, x, trajectory):
        return invert(denoise, x, trajectory, substitutions=count)

    original, backwards.invert = backwards.invert, counted
    try:
        common = {"num_inference_steps": steps, "return_dict": True}
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
        generator = torch.Generator().manual_seed(0)
        drawn.append(
            pipe(
                "a red chair", like=like, num_inference_steps=4, output_type="pt", generator=generator
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
    """Training and sampling of the mini prior; pictures with and without the decoder adapter."""
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
    pipe("a red chair", like=like, num_inference_steps=10, output_type="latent")


def report(name: str, call, num: int, what: str) -> None:
    call()  # warm-up
    taken = [seconds(call, "cpu", "processor") for _ in range(5)]
    middle = statistics.median(taken)
    print(
        f"{name}: {middle:.3f} s of processor time ({min(taken):.3f} to {max(taken):.3f}), "
        f"{num / middle:.1f} {what} a second"
    )


if __name__ == "__main__":
    main()
