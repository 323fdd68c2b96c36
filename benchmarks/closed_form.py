"""Do the samplers sample the right distribution, and how fast do they converge?

For a jointly Gaussian (image, condition) the exact denoiser is linear, whatever the two noise levels, and
so is every step of every solver here. A run is then an affine map of its initial and added noise.
`propagate` reads that map off the production loop itself, by running it on basis vectors, and gets the
exact mean and covariance of what it samples: no sampling error. The distance to the closed form is what the
solver's steps cost.

    python benchmarks/closed_form.py [--spacing linspace]      # distance against steps, per mode and solver

What is exact in the limit of many steps:
- image | clean condition, condition | clean image, image | noisy condition that is held: every solver.
- both together, also asynchronously, and from a noisy condition that is refined: the joint law, every solver.
- the same for one *given* noisy condition: only solvers that add noise. A deterministic one turns a given
noisy
  condition and a given noise into a single outcome; its outcomes have the right joint law over all noisy
  conditions, but not the right law for each, and the table shows the distance that remains.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unicon.call.randomness import CallNoise, given_temperatures
from unicon.sampling.grids import Grid, Spacing
from unicon.sampling.levels import Levels, Schedule
from unicon.sampling.loop import sample
from unicon.sampling.noise import INITIAL
from unicon.sampling.plans import Plan, Trajectory, hold, run, staged
from unicon.sampling.solvers import Solver

NAMES = ("image", "depth")
SCHEDULE = Schedule.from_scheduler(
    {
        "_class_name": "DDIMScheduler",
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,  # so that the run starts from its exact law, N(0, 1)
    }
)
SPACING = Spacing()
SOLVERS = {
    "ddim": Solver(name="ddim"),
    "euler": Solver(name="euler"),
    "heun": Solver(name="heun"),
    "dpm++ 2m": Solver(name="dpmpp_2m"),
    "ancestral": Solver(name="ancestral"),
    "dpm++ 2m sde": Solver(name="dpmpp_2m", eta=1.0),
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Gaussian:
    """A law over one or both branches, `size` numbers each: mean [n], covariance [n, n]."""

    mean: Tensor
    cov: Tensor

    def __getitem__(self, part: slice) -> Gaussian:
        return Gaussian(mean=self.mean[part], cov=self.cov[part, part])

    def distance(self, other: Gaussian) -> float:
        """2-Wasserstein distance (Gelbrich 1990)."""
        root = _root(other.cov)
        spread = self.cov.trace() + other.cov.trace() - 2 * _root(root @ self.cov @ root).trace()
        return float(((self.mean - other.mean).square().sum() + spread.clamp(min=0)).sqrt())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pair:
    """A jointly Gaussian image and condition, `size` numbers each, and its exact denoiser."""

    law: Gaussian
    size: int

    def noisy(self, levels: Levels) -> tuple[Tensor, Tensor, Tensor]:
        """(alphas as a diagonal matrix, mean, covariance) of the noisy pair at one level per branch."""
        alpha, sigma = (v.double().repeat_interleave(self.size) for v in (levels.alpha, levels.sigma))
        mix = torch.diag(alpha)
        return mix, mix @ self.law.mean, mix @ self.law.cov @ mix + torch.diag(sigma.square())

    def denoise(self, x: Tensor, levels: Levels) -> Tensor:
        """E[clean | x]: both branches at once, each at its own level. x: [branch, sample, size, 1, 1]."""
        mix, mean, cov = self.noisy(levels)
        gain = torch.linalg.solve(cov, mix @ self.law.cov).T
        return to_branches(self.law.mean + (to_rows(x) - mean) @ gain.T, self.size)

    def given(self, branch: int, value: Tensor, level: Levels) -> Gaussian:
        """The clean pair given one branch at a level, by conditioning the Gaussian."""
        part = slice(branch * self.size, (branch + 1) * self.size)
        observed = level.alpha**2 * self.law.cov[part, part] + level.sigma**2 * torch.eye(self.size).double()
        gain = torch.linalg.solve(observed, level.alpha * self.law.cov[part]).T
        surprise = value - level.alpha * self.law.mean[part]
        return Gaussian(
            mean=self.law.mean + gain @ surprise, cov=self.law.cov - gain @ (level.alpha * self.law.cov[part])
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BasisNoise:
    """Noise in which every number that a run draws is 1 in one row of the batch, and 0 in all others."""

    names: Sequence[str]
    size: int
    rows: int

    def draw(self, branch: str, step: int, shape: Sequence[int]) -> Tensor:
        first = 1 + ((step - INITIAL) * len(self.names) + self.names.index(branch)) * self.size
        noise = torch.zeros(self.rows, self.size, dtype=torch.float64)
        noise[first : first + self.size] = torch.eye(self.size)
        return noise.reshape(self.rows, *shape)


def propagate(
    pair: Pair,
    trajectory: Trajectory,
    solver: Solver,
    starts: Sequence[Gaussian],
    temperature: float = 1.0,
) -> Gaussian:
    """The exact law of what a run ends with, from independent starting laws of the branches."""
    rows = 1 + (trajectory.num_steps + 1) * len(starts) * pair.size
    basis = BasisNoise(names=trajectory.names, size=pair.size, rows=rows)
    temperatures = given_temperatures(temperature, trajectory)
    noise = CallNoise(source=basis, latents={}, temperatures=temperatures)
    units = [noise.draw(name, INITIAL, (pair.size,)) for name in trajectory.names]
    x = torch.stack([law.mean + unit @ _root(law.cov) for law, unit in zip(starts, units, strict=True)])
    end = to_rows(sample(pair.denoise, x[..., None, None], trajectory, solver, noise))
    effect = end[1:] - end[0]
    return Gaussian(mean=end[0], cov=effect.T @ effect)


def to_rows(x: Tensor) -> Tensor:
    """[branch, sample, size, 1, 1] -> [sample, branch * size]."""
    return x.transpose(0, 1).flatten(1)


def to_branches(rows: Tensor, size: int) -> Tensor:
    """[sample, branch * size] -> [branch, sample, size, 1, 1]."""
    return rows.reshape(len(rows), -1, size).transpose(0, 1)[..., None, None]


def _root(cov: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(cov)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


# ----------------------------------------------------------------------------------------------------------
# modes


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Mode:
    """A direction: what to run, from where, and what it should end with, on the branches it generates."""

    plan: Plan
    starts: tuple[Gaussian, Gaussian]
    target: Gaussian
    part: slice
    stochastic_only: bool = False


def standard_pair() -> Pair:
    """Two numbers per branch, of unequal deviation, strongly correlated across branches."""
    deviation = torch.tensor([1.0, 0.5, 0.9, 0.4], dtype=torch.float64)
    correlation = torch.eye(4, dtype=torch.float64)
    for i, j, value in [(0, 1, 0.3), (0, 2, 0.8), (0, 3, 0.2), (1, 2, 0.1), (1, 3, -0.7), (2, 3, 0.1)]:
        correlation[i, j] = correlation[j, i] = value
    mean = torch.tensor([0.5, -0.3, 0.2, 0.4], dtype=torch.float64)
    return Pair(law=Gaussian(mean=mean, cov=deviation[:, None] * correlation * deviation), size=2)


def modes(pair: Pair, grid: Grid) -> dict[str, Mode]:
    """Every direction whose result is known in closed form."""
    image, depth, both = slice(0, pair.size), slice(pair.size, None), slice(None)
    white = Gaussian(mean=torch.zeros(pair.size).double(), cov=torch.eye(pair.size).double())
    value = torch.tensor([0.9, -0.1], dtype=torch.float64)
    fixed = Gaussian(mean=value, cov=torch.zeros_like(white.cov))
    clean, half = SCHEDULE.clean(), grid.at(0.5 * grid.num_steps)
    _, mean, cov = pair.noisy(grid.at([0.5 * grid.num_steps] * 2))
    half_depth = Gaussian(mean=mean, cov=cov)[depth]
    refine = Plan((run("image"), run("depth", noise=0.5)))
    picture_first = Plan((staged("image", (0, 1), (1, 1)), staged("depth", (0, 0), (0, 1))))
    return {
        "joint": Mode(
            plan=Plan((run("image"), run("depth"))), starts=(white, white), target=pair.law, part=both
        ),
        "image | condition": Mode(
            plan=Plan((run("image"), hold("depth"))),
            starts=(white, fixed),
            target=pair.given(1, value, clean)[image],
            part=image,
        ),
        "condition | image": Mode(
            plan=Plan((hold("image"), run("depth"))),
            starts=(fixed, white),
            target=pair.given(0, value, clean)[depth],
            part=depth,
        ),
        "coarse, held": Mode(
            plan=Plan((run("image"), hold("depth", noise=0.5))),
            starts=(white, fixed),
            target=pair.given(1, value, half)[image],
            part=image,
        ),
        "coarse, refined": Mode(plan=refine, starts=(white, half_depth), target=pair.law, part=both),
        "coarse, refined, given": Mode(
            plan=refine,
            starts=(white, fixed),
            target=pair.given(1, value, half),
            part=both,
            stochastic_only=True,
        ),
        "image first": Mode(plan=picture_first, starts=(white, white), target=pair.law, part=both),
    }


def error(pair: Pair, mode: str, solver: Solver, num_steps: int) -> float:
    """Distance between what a run samples and the closed form, relative to the deviation of the closed
    form."""
    grid = SPACING.grid(SCHEDULE, num_steps)
    case = modes(pair, grid)[mode]
    got = propagate(pair, case.plan.resolve(grid), solver, case.starts)[case.part]
    return got.distance(case.target) / float(case.target.cov.trace().sqrt())


def main(steps: Sequence[int] = (2, 4, 8, 16, 32, 64, 128)) -> None:
    pair = standard_pair()
    print(
        "2-Wasserstein distance to the closed form, in % of its deviation; * does not vanish for this solver"
    )
    print(f"spacing: {SPACING.name}\n\n{'steps':37}" + "".join(f"{n:>8}" for n in steps))
    for mode, case in modes(pair, SPACING.grid(SCHEDULE, 2)).items():
        for name, solver in SOLVERS.items():
            mark = "*" if case.stochastic_only and not solver.draws_noise else ""
            errors = [100 * error(pair, mode, solver, n) for n in steps]
            print(f"{mode:23} {name + mark:13}" + "".join(f"{e:8.3f}" for e in errors))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spacing", default="trailing", choices=["trailing", "leading", "linspace"])
    SPACING = Spacing(name=parser.parse_args().spacing)
    main()
