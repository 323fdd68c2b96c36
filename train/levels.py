"""How often is each noise level trained?

A law says how much of its mass lies on less noise than a level. Laws of log-SNR (`normal`, `laplace`, ...)
mean the same on every schedule; laws of time (`uniform`, `cubic`, ...) are about the schedule's own
timesteps. Both become one table over the timesteps of a schedule. The table is made from cumulative mass, so
it is the law cut off at the ends of the schedule, with the right Jacobian, and nothing is ever clamped to a
timestep.

A law is written as a name with its numbers, "style_friendly" or "normal(-2.2, 2)", or as a mixture,
"0.8 style_friendly + 0.2 uniform". One sign everywhere: a lower log-SNR is more noise.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from train.names import closest
from unicon.sampling.levels import Schedule

LEAST_MASS = 1e-3
"""A law with less of its mass on a schedule is refused: what is left of it is its far tail."""


@dataclass(frozen=True, slots=True)
class LevelTable:
    """A law on one schedule."""

    cumulative: Tensor
    """Share of the mass at timesteps up to 0, 1, 2, ...: from 0 to 1, float64."""
    on_schedule: float
    """How much of the whole law lies on the schedule; 1 for laws of time."""
    of_log_snr: bool
    """Whether the law is one of log-SNR, or a mixture with one."""

    @property
    def mass(self) -> Tensor:
        """Between neighbouring timesteps; sums to 1."""
        return self.cumulative.diff()

    def timesteps(self, uniform: Tensor) -> Tensor:
        """Numbers in [0, 1) as timesteps that follow the law, float64; monotone, so strata stay strata."""
        u = (
            uniform.double().cpu().clamp(max=1 - 2**-53)
        )  # strata in float32 are rounded up to 1, once in a while
        # A step without mass is never landed on, so no division by zero.
        after = torch.searchsorted(self.cumulative, u, right=True).clamp(1, len(self.cumulative) - 1)
        low, high = self.cumulative[after - 1], self.cumulative[after]
        return after - 1 + (u - low) / (high - low)


Law = Callable[[Schedule], LevelTable]


def parse_law(text: str) -> Law:
    """The law that a text describes. Raises ValueError for what is none, with the nearest name."""
    terms = [_term(part) for part in re.split(r"\+(?![^(]*\))", text)]  # not within parentheses
    total = sum(weight for weight, _ in terms)
    if len(terms) == 1:
        return terms[0][1]
    if total <= 0:
        raise ValueError(f"levels {text!r}: the weights of a mixture must add up to more than 0")

    def mixture(schedule: Schedule) -> LevelTable:
        tables = [(weight / total, law(schedule)) for weight, law in terms]
        return LevelTable(
            sum((weight * table.cumulative for weight, table in tables), torch.zeros(())),
            sum(weight * table.on_schedule for weight, table in tables),
            any(table.of_log_snr for _, table in tables),
        )

    return mixture


_TERM = re.compile(r"\s*(?:([\d.]+)(?:\s*\*\s*|\s+))?(\w+)\s*(?:\(([^()]*)\))?\s*")


def _term(text: str) -> tuple[float, Law]:
    match = _TERM.fullmatch(text)
    if match is None:
        raise ValueError(
            f"levels {text!r}: expected a name such as uniform, or one with numbers: normal(0, 2)"
        )
    weight, name, numbers = match.groups()
    if name not in LAWS:
        raise ValueError(f"levels {text!r}: there is no law {name!r}; {closest(name, LAWS)}")
    parameters = list(inspect.signature(LAWS[name]).parameters)
    try:
        values = [float(n) for n in numbers.split(",")] if numbers and numbers.strip() else []
        return float(weight or 1), LAWS[name](*values)
    except (TypeError, ValueError) as error:
        expected = f"{name}({', '.join(parameters)})" if parameters else name
        raise ValueError(f"levels {text!r}: {error}; expected {expected}") from error


# --- laws of log-SNR --------------------------------------------------------------------------------------


def over_log_snr(noisier: Callable[[Tensor], Tensor], name: str) -> Law:
    """A law given by the mass below a log-SNR, that is, on more noise."""

    def table(schedule: Schedule) -> LevelTable:
        log_snr = schedule.at_timestep(torch.arange(schedule.last_timestep + 1)).log_snr
        below = noisier(log_snr)
        inside = float(below[0] - below[-1])
        if inside < LEAST_MASS:
            raise ValueError(
                f"levels {name!r}: {inside:.2%} of it lies on this schedule, whose log-SNR goes from "
                f"{float(log_snr[-1]):.1f} to {float(log_snr[0]):.1f}; choose a mean inside"
            )
        return LevelTable((below[0] - below) / inside, inside, of_log_snr=True)

    return table


def normal(mean: float = 0.0, deviation: float = 2.0) -> Law:
    """Normal in log-SNR; in flow matching the logit-normal law of mean -mean/2 and half the deviation."""
    _positive("deviation", deviation)
    return over_log_snr(
        lambda x: torch.special.ndtr((x - mean) / deviation), f"normal({mean:g}, {deviation:g})"
    )


def logit_normal(mean: float = 0.0, deviation: float = 1.0, shift: float = 1.0) -> Law:
    """Stable Diffusion 3's (Esser et al. 2024): the logit of the noise share is normal, then shifted."""
    _positive("shift", shift)
    return normal(-2 * mean - 2 * math.log(shift), 2 * deviation)


def edm(mean: float = -1.2, deviation: float = 1.2) -> Law:
    """Karras et al. 2022: log of sigma / alpha is normal."""
    return normal(-2 * mean, 2 * deviation)


def laplace(mean: float = 0.0, scale: float = 1.0) -> Law:
    """Laplace in log-SNR (Hang et al. 2024)."""
    _positive("scale", scale)

    def below(x: Tensor) -> Tensor:
        z = (x - mean) / scale
        return torch.where(z < 0, 0.5 * z.clamp(max=0).exp(), 1 - 0.5 * (-z.clamp(min=0)).exp())

    return over_log_snr(below, f"laplace({mean:g}, {scale:g})")


def mode(scale: float = 1.29) -> Law:
    """Stable Diffusion 3's mode law (Esser et al. 2024), in the noise share."""
    if not -1 <= scale <= 2 / (math.pi - 2):
        raise ValueError(f"scale must lie in [-1, {2 / (math.pi - 2):.2f}], got {scale:g}")
    u = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    # Monotone in u: from pure noise at 0 to clean at 1.
    share = 1 - u - scale * ((math.pi / 2 * u).cos().square() - 1 + u)

    def below(log_snr: Tensor) -> Tensor:
        wanted = torch.sigmoid(-log_snr / 2)
        return _interpolate(wanted, share.flip(0), u.flip(0))

    return over_log_snr(below, f"mode({scale:g})")


def style_friendly(mean: float | None = None, deviation: float = 2.0) -> Law:
    """Choi et al. 2024 (arXiv 2411.14793): normal in log-SNR, where style is decided.

    The paper's mean of -6 is for flow matching at 1024 px. On variance-preserving schedules the default is
    -4.6: a quarter of the pixels show the same structure at log 4 less noise, and Stable Diffusion 1.5 ends
    at -5.4 anyway. `style_friendly(-6)` is the paper's own there.
    """

    def table(schedule: Schedule) -> LevelTable:
        usual = -6.0 if schedule.kind == "flow" else -4.6
        return normal(usual if mean is None else mean, deviation)(schedule)

    _positive("deviation", deviation)
    return table


# --- laws of time -----------------------------------------------------------------------------------------


def over_time(cumulative: Callable[[Tensor], Tensor]) -> Law:
    """A law given by the mass up to a share of the timesteps."""

    def table(schedule: Schedule) -> LevelTable:
        steps = schedule.last_timestep
        share = torch.arange(steps + 1, dtype=torch.float64) / steps
        return LevelTable(cumulative(share), 1.0, of_log_snr=False)

    return table


def uniform() -> Law:
    """Every timestep equally often (Ho et al. 2020)."""
    return over_time(lambda t: t)


def between(low: float = 0.0, high: float = 1.0) -> Law:
    """Uniform between two shares of the timesteps."""
    if not 0 <= low < high <= 1:
        raise ValueError(f"low and high must rise within [0, 1], got {low:g} and {high:g}")
    return over_time(lambda t: ((t - low) / (high - low)).clamp(0, 1))


def cubic() -> Law:
    """T2I-Adapter's (Mou et al. 2023): t = 1 - u^3, mostly noisy."""
    return over_time(lambda t: 1 - (1 - t) ** (1 / 3))


def beta(a: float = 1.0, b: float = 1.0) -> Law:
    """Beta(a, b) in the share of the timesteps; a above b is noisier."""
    _positive("a", a)
    _positive("b", b)

    def cumulative(t: Tensor) -> Tensor:
        # The mass of every cell by the midpoint rule, on a grid that is fine where the law has poles.
        edges = (torch.linspace(0, math.pi, 200_001, dtype=torch.float64).cos() * -0.5 + 0.5).clamp(0, 1)
        middle = (edges[1:] + edges[:-1]) / 2
        cells = middle ** (a - 1) * (1 - middle) ** (b - 1) * edges.diff()
        sums = torch.cat([torch.zeros(1, dtype=torch.float64), cells.cumsum(0)])
        return _interpolate(t, edges, sums / sums[-1])

    return over_time(cumulative)


LAWS: dict[str, Callable[..., Law]] = {
    law.__name__: law
    for law in (uniform, between, cubic, beta, normal, logit_normal, mode, edm, laplace, style_friendly)
}
"""Every law by its name."""


def _interpolate(x: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """Linear interpolation; `places` ascend."""
    after = torch.searchsorted(places, x).clamp(1, len(places) - 1)
    low, high = places[after - 1], places[after]
    share = ((x - low) / (high - low)).clamp(0, 1)
    return torch.lerp(values[after - 1], values[after], share)


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value:g}")
