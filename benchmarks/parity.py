"""By how much do our predictions and samplings differ from those of the published code?

    python benchmarks/parity.py [--out docs/parity.md]

Runs every tensor file of `tests/fixtures/official_unicon` (made by the published code on a tiny base of
random weights, see its README) with the published checkpoints loaded as users load them, as they are and with
their updates merged into weights of their own. Writes a table; the exit status is 1 if a difference is above
its bound. `tests/pipeline/test_published.py` asserts the same bounds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from adapters import Pair
from unicon import UniConPipeline
from unicon.call.network import BranchNetwork
from unicon.sampling.grids import grid_from_timesteps
from unicon.sampling.guidance import Guidance
from unicon.sampling.levels import Schedule
from unicon.sampling.loop import sample, start
from unicon.sampling.plans import BranchPlan, Plan
from unicon.sampling.solvers import Solver

FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "official_unicon"
NAMES = ("image", "depth")
"""Branches of the files' samplings."""
FORWARD, SAMPLING = 1e-5, 1e-3
"""Largest difference that is allowed in one prediction, and after a whole sampling."""


HEAD = """# Parity with the published code

Written by `python benchmarks/parity.py`. Every tensor in `tests/fixtures/official_unicon` was made by the
published UniCon code (commit 4936ffc) on a tiny base of random weights; here our predictions and samplings
are held against them, in float32 on a CPU. `depth` has the fused projection and an update of the map's own
attention, `id` the shared projection and none. *Merged* is after `pipe.merge_for_inference()`.
`tests/pipeline/test_published.py` asserts the bounds.

| tensors | what | largest number in them | bound | largest difference | mean | merged: largest | mean |
|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One file of tensors."""

    name: str
    what: str
    adapter: str
    bound: float
    run: Callable[[UniConPipeline, dict[str, Tensor]], Tensor]
    """A pipeline with the adapter, and the file's tensors -> what the file's `out` is compared with."""

    @property
    def tensors(self) -> dict[str, Tensor]:
        return load_file(FIXTURES / f"{self.name}.safetensors")


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """From what the published code computed."""

    largest: float
    mean: float
    magnitude: float
    """The largest number that it computed."""


def cases() -> Iterator[Case]:
    """Every file of the fixture."""
    stated = json.loads((FIXTURES / "cases.json").read_text(encoding="utf-8"))
    for name in ("depth", "id"):
        yield Case(
            name=f"train_forward_{name}", what="prediction, two pairs, as in training", adapter=name,
            bound=FORWARD, run=_predicted([[0, 1, 1.0, 1.0, name]], num_guidance=1),
        )  # fmt: skip
    for case in stated["forward"]:
        reads = case.get("joint", True)
        pairs = [[i, c, wi * reads, wc * reads, name] for i, c, wi, wc, name in case["pairs"]]
        what = "prediction, two guidance halves" if case.get("cfg") else "prediction"
        yield Case(
            name=f"forward_{case['name']}", what=what if reads else f"{what}, joint attention off",
            adapter=case["models"][0], bound=FORWARD,
            run=_predicted(pairs, num_guidance=2 if case.get("cfg") else 1),
        )  # fmt: skip
    for case in stated["sample"]:
        yield Case(
            name=f"sample_{case['name']}", what=f"{case['steps']} steps of DDIM, guidance {case['guidance']}",
            adapter=case["models"][0], bound=SAMPLING, run=_sampled(case),
        )  # fmt: skip


def difference(case: Case, *, merged: bool) -> Difference:
    """What a case differs by, with its adapter's updates `merged` or not."""
    tensors = case.tensors
    with torch.no_grad():
        found = case.run(pipeline(case.adapter, merged=merged), tensors)
    away = (found - tensors["out"]).abs()
    return Difference(
        largest=float(away.max()), mean=float(away.mean()), magnitude=float(tensors["out"].abs().max())
    )


def pipeline(adapter: str, *, merged: bool) -> UniConPipeline:
    """The fixture's base with one of its checkpoints. The files hold latents and embeddings, so its VAE and
    its missing text encoder are never asked."""
    absent: Any = None
    vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=1, latent_channels=4)
    pipe = UniConPipeline(
        vae=vae, text_encoder=absent, tokenizer=absent,
        unet=UNet2DConditionModel.from_pretrained(FIXTURES / "base" / "unet"),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    )  # fmt: skip
    pipe.load_adapter(FIXTURES / adapter)
    if merged:
        pipe.merge_for_inference()
    return pipe


def _predicted(pairs: Sequence[Any], *, num_guidance: int):
    def run(pipe: UniConPipeline, tensors: dict[str, Tensor]) -> Tensor:
        inputs = tensors["sample"], tensors["timestep"], tensors["encoder_hidden_states"]
        return pipe.predict(*inputs, pairs=[tuple(pair) for pair in pairs], num_guidance=num_guidance)

    return run


def _sampled(case: dict[str, Any]):
    """The published sampler's quirks are asked for below the pipeline: its grid ends at timestep 0, and a
    "clean" branch lies at the last timestep."""

    def run(pipe: UniConPipeline, tensors: dict[str, Tensor]) -> Tensor:
        schedule = Schedule.from_scheduler(pipe.scheduler)
        paths = zip(*(stage[:-1] for stage in case["schedule"]), strict=True)
        branches = [
            BranchPlan(name=name, stages=tuple((float(a), float(b)) for a, b in path))
            for name, path in zip(NAMES, paths, strict=True)
        ]
        grid = grid_from_timesteps(schedule, tensors["timesteps"], final=0)
        trajectory = Plan(tuple(branches)).resolve(grid, published=True)
        network = BranchNetwork(
            unet=pipe.unet,
            prediction=schedule.prediction,
            pairs=[
                Pair(image=i, condition=c, adapter=name, image_weight=wi, condition_weight=wc)
                for i, c, wi, wc, name in case["pairs"]
            ],
            prompts=torch.stack([tensors["negative_prompt_embeds"], tensors["prompt_embeds"]])[:, :, None],
            reads_when_clean=[case["models"][0]],
        )
        clean = {name: latent[None] for name, latent in zip(NAMES, tensors["image_latents"], strict=True)}
        noise = FileNoise(tensors["noise"])
        x = start(trajectory, clean, noise, (1, *tensors["noise"].shape[1:]))
        denoise = Guidance(text=case["guidance"])(network.evaluate)
        return sample(denoise, x, trajectory, Solver(), noise)[:, 0]

    return run


class FileNoise:
    """A file's noise, (branch, C, h, w), for one sample."""

    def __init__(self, noise: Tensor):
        self.noise = noise

    def draw(self, branch: str, step: int, shape: object) -> Tensor:
        assert step < 0, "DDIM draws nothing on its way"
        return self.noise[NAMES.index(branch)][None]


def page(rows: Sequence[tuple[Case, Difference, Difference]]) -> str:
    """The table, as markdown."""
    lines = []
    for case, plain, merged in rows:
        numbers = [plain.largest, plain.mean, merged.largest, merged.mean]
        lines.append(
            f"| `{case.name}` | {case.what} | {plain.magnitude:.2f} | {case.bound:.0e} | "
            + " | ".join(f"{number:.1e}" for number in numbers)
            + " |"
        )
    return HEAD + "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/parity.md"))
    args = parser.parse_args(argv)
    rows = [
        (case, difference(case, merged=False), difference(case, merged=True)) for case in cases()
    ]  # fmt: skip
    text = page(rows)
    print(text)
    args.out.write_text(text, encoding="utf-8")
    above = [case.name for case, *found in rows if max(each.largest for each in found) > case.bound]
    if above:
        print(f"above their bounds: {', '.join(above)}", file=sys.stderr)
    return int(bool(above))


if __name__ == "__main__":
    raise SystemExit(main())
