"""How much does the error at each noise level count?

A weight is stated for the error of the clean estimate, where it means the same for every network. What a
network's own loss counts there is divided out: its plain error counts SNR (epsilon), 1 / sigma^2 (v and
flow) or 1 (sample) times the error of the clean estimate. Weights are scaled to a mean of 1 over the levels
that are trained, so the learning rate keeps its meaning.

How often a level is trained (`train.levels`) and how much it counts there act as one product. `Weighting`
refuses a weight that undoes the law it is joined with.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from train.levels import LevelTable
from train.names import closest
from unicon.sampling.levels import Levels, Prediction, Schedule

FARTHEST = 0.5
"""By how many nats of log-SNR a weight may move the middle of what a law trains."""

Weight = Callable[[Tensor], Tensor]
"""From the SNR (alpha^2 / sigma^2) to how much the squared error of the clean estimate counts."""


def min_snr(gamma: float = 5.0) -> Weight:
    """Hang et al. 2023: at most `gamma`, so that the least noise does not take all."""
    return lambda snr: snr.clamp(max=_positive("gamma", gamma))


def soft_min_snr(gamma: float = 5.0) -> Weight:
    """Crowson et al. 2024: the same with a round corner."""
    return lambda snr: snr * _positive("gamma", gamma) / (snr + gamma)


def debiased() -> Weight:
    """Yu et al. 2023: an epsilon error counts 1 / sqrt(SNR), the SNR taken as at most 1000."""
    return lambda snr: torch.maximum(snr.sqrt(), snr / 1000**0.5)


def p2(gamma: float = 1.0) -> Weight:
    """Choi et al. 2022: an epsilon error counts (1 + SNR)^-gamma."""
    return lambda snr: snr * (1 + snr) ** -gamma


def flow(cap: float = 100.0) -> Weight:
    """As flow matching counts it: 1 / sigma^2 at sigma = 1 / (1 + sqrt(SNR)); at most `cap` on epsilon."""
    return lambda snr: torch.minimum((1 + snr.sqrt()).square(), snr * _positive("cap", cap))


WEIGHTS: dict[str, Callable[..., Weight]] = {
    weight.__name__: weight for weight in (min_snr, soft_min_snr, debiased, p2, flow)
}
"""Every weight by its name; `plain` beside them is the network's own loss."""

PLAIN = "plain"
_TERM = re.compile(r"\s*(\w+)\s*(?:\(\s*([-\d.e]+)?\s*\))?\s*")


def parse_weight(text: str) -> Weight | None:
    """The weight a text names, "min_snr" or "min_snr(5)"; None for "plain". ValueError where it is none."""
    match = _TERM.fullmatch(text)
    if match is None:
        raise ValueError(f"loss weight {text!r}: expected a name such as plain or min_snr(5)")
    name, number = match.groups()
    if name == PLAIN:
        return None
    if name not in WEIGHTS:
        raise ValueError(f"loss weight {text!r}: there is no {name!r}; {closest(name, [PLAIN, *WEIGHTS])}")
    try:
        weight = WEIGHTS[name](*([float(number)] if number else []))
        weight(torch.ones(1))  # its number is looked at only now
    except (TypeError, ValueError) as error:
        raise ValueError(f"loss weight {text!r}: {error}") from error
    return weight


@dataclass(frozen=True, slots=True)
class Weighting:
    """A weight on one schedule, for levels that follow one law."""

    weight: Weight | None
    prediction: Prediction
    scale: float

    @classmethod
    def on(cls, schedule: Schedule, text: str, law: str, table: LevelTable) -> Weighting:
        """Weight `text` where levels follow `law`, whose table on the schedule is `table`.

        Raises ValueError where the weight undoes the law, and warns where it exaggerates it: where the middle
        of what is trained moves by more than `FARTHEST`. A law of time states no levels of its own to undo.
        """
        weight = parse_weight(text)
        if weight is None:
            return cls(None, schedule.prediction, 1.0)
        middle = schedule.at_timestep(torch.arange(schedule.last_timestep) + 0.5)
        counts = cls(weight, schedule.prediction, 1.0)(middle)
        mean = float((table.mass * counts).sum())
        moved = _median(middle.log_snr, table.mass * counts) - _median(middle.log_snr, table.mass)
        if table.of_log_snr and abs(moved) > FARTHEST:
            what = f"loss weight {text!r} on a {schedule.prediction} network with levels {law!r}"
            if moved > 0:
                raise ValueError(
                    f"{what}: the weight undoes the law; what counts has its middle {moved:.1f} nats of "
                    f"log-SNR nearer to clean than what is drawn. Choose --loss_weight {PLAIN}, or levels "
                    "uniform"
                )
            warnings.warn(
                f"{what}: the weight exaggerates the law; what counts has its middle {-moved:.1f} nats of "
                f"log-SNR nearer to noise than what is drawn. --loss_weight {PLAIN} trains the law as stated",
                stacklevel=2,
            )
        return cls(weight, schedule.prediction, 1 / mean)

    def __call__(self, levels: Levels) -> Tensor:
        """What the network's own squared error counts at noisy levels, of their shape; 1 where CLEAN."""
        if self.weight is None:
            return torch.ones_like(levels.alpha)
        sigma2 = torch.where(levels.is_clean, 1.0, levels.sigma.square())
        snr = levels.alpha.square() / sigma2
        own = {"epsilon": snr, "sample": torch.ones_like(snr)}.get(self.prediction, 1 / sigma2)
        return torch.where(levels.is_clean, 1.0, self.weight(snr) / own * self.scale)


def _median(places: Tensor, mass: Tensor) -> float:
    """Where half the mass lies, for places in falling order."""
    share = mass.cumsum(0) / mass.sum()
    return float(places[int(torch.searchsorted(share, 0.5))])


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value:g}")
    return value
