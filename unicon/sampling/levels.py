"""How noisy is a latent, and what does a network's output mean there?

A level is (alpha, sigma) with x = alpha * clean + sigma * noise, and the timestep the network is told.
`Schedule` knows the levels a network was trained on, variance preserving or flow matching; `Levels` holds one
level per branch (and sample). This is the only file that converts between network output, clean estimate and
noise. Which levels a run visits is the business of `grids` and `plans`.

One sign convention: log-SNR = log(alpha^2 / sigma^2), so more noise is a lower number and `CLEAN` is +inf.
Inside, a level is its *noise share* sigma / (alpha + sigma), which runs from 0 (CLEAN) to exactly 1 (zero
SNR) without an infinity on the way; in flow matching it is sigma itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

Prediction = Literal["epsilon", "v_prediction", "sample", "flow_prediction"]
PREDICTIONS: tuple[Prediction, ...] = ("epsilon", "v_prediction", "sample", "flow_prediction")

CLEAN = math.inf
"""The log-SNR of a latent without noise: alpha 1, sigma 0, the network told timestep 0, no step, no loss.

It is a level of its own: timestep 0 of Stable Diffusion's schedule still has sigma 0.029.
"""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Levels:
    """One noise level per branch, or per (branch, sample); all three tensors have that shape."""

    alpha: Tensor
    """Weight of the clean latent, in [0, 1]."""
    sigma: Tensor
    """Weight of the noise, in [0, 1]."""
    timestep: Tensor
    """What the network is told; may be fractional; 0 for CLEAN."""
    _host: Levels | None = field(default=None, repr=False)
    """The same on the CPU, of levels that were moved off it."""

    @property
    def on_host(self) -> Levels:
        """The same levels where a decision about them does not make the host wait for a device."""
        return self if self._host is None else self._host

    @property
    def log_snr(self) -> Tensor:
        """log(alpha^2 / sigma^2): +inf where CLEAN, -inf at zero SNR."""
        return 2 * (self.alpha / self.sigma).log()

    @property
    def is_clean(self) -> Tensor:
        return self.sigma == 0

    def clean_where(self, mask: Tensor) -> Levels:
        """The same levels with CLEAN wherever `mask` (bool, same shape) is set."""
        return Levels(
            alpha=torch.where(mask, 1.0, self.alpha),
            sigma=torch.where(mask, 0.0, self.sigma),
            timestep=torch.where(mask, 0.0, self.timestep),
        )

    def told(self, clean_timestep: Tensor | float) -> Tensor:
        """What a network is told that was trained to hear `clean_timestep` for CLEAN."""
        return torch.where(self.is_clean, clean_timestep, self.timestep)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Levels:
        alpha, sigma, timestep = (t.to(device, dtype) for t in (self.alpha, self.sigma, self.timestep))
        host = None if alpha.device.type == "cpu" else self._host or self
        return Levels(alpha=alpha, sigma=sigma, timestep=timestep, _host=host)

    def __getitem__(self, index: Any) -> Levels:
        return Levels(
            alpha=self.alpha[index],
            sigma=self.sigma[index],
            timestep=self.timestep[index],
            _host=None if self._host is None else self._host[index],
        )


def spread(value: Tensor, x: Tensor) -> Tensor:
    """A value per branch or per (branch, sample), shaped to broadcast over x[branch, sample, ...]."""
    return value.to(x.device, x.dtype).reshape(value.shape + (1,) * (x.ndim - value.ndim))


def add_noise(clean: Tensor, noise: Tensor, levels: Levels) -> Tensor:
    """alpha * clean + sigma * noise; `clean` bitwise where the level is CLEAN and the noise finite."""
    return spread(levels.alpha, clean) * clean + spread(levels.sigma, clean) * noise


def clean_estimate(output: Tensor, x: Tensor, levels: Levels, prediction: Prediction) -> Tensor:
    """What the network's `output` at noisy `x` says about the clean latent.

    x and output: [branch, sample, ...]; the result has the wider dtype of the two, so a half-precision output
    becomes float32 next to a float32 x. Finite at zero SNR, except that an epsilon says nothing there.
    """
    alpha, sigma = spread(levels.alpha, x), spread(levels.sigma, x)
    if prediction == "epsilon":
        return (x - sigma * output) / alpha
    if prediction == "v_prediction":  # Salimans & Ho 2022, appendix D
        return alpha * x - sigma * output
    if prediction == "flow_prediction":  # output = noise - clean, and alpha + sigma = 1
        return x - sigma * output
    return output


def noise_estimate(x: Tensor, clean: Tensor, levels: Levels) -> Tensor:
    """The noise that `clean` leaves in x; 0 where the level is CLEAN and there is none."""
    alpha, sigma = spread(levels.alpha, x), spread(levels.sigma, x)
    return torch.where(sigma > 0, (x - alpha * clean) / sigma.clamp(min=torch.finfo(x.dtype).tiny), 0)


def network_target(clean: Tensor, noise: Tensor, levels: Levels, prediction: Prediction) -> Tensor:
    """What a perfect network outputs: the training target, and the inverse of `clean_estimate`."""
    if prediction == "epsilon":
        return noise
    if prediction == "v_prediction":
        return spread(levels.alpha, clean) * noise - spread(levels.sigma, clean) * clean
    if prediction == "flow_prediction":
        return noise - clean
    return clean


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Schedule:
    """The levels a network was trained on, and how it was asked to predict.

    Levels are made on the CPU in float64, whatever the device of the argument; move them with `Levels.to`.
    """

    kind: Literal["vp", "flow"]
    """vp: alpha^2 + sigma^2 = 1. flow: alpha + sigma = 1."""
    prediction: Prediction
    noise_share: Tensor
    """sigma / (alpha + sigma) at timestep 0, 1, 2, ...: increasing, float64."""

    def __post_init__(self) -> None:
        if self.prediction not in PREDICTIONS:
            raise ValueError(
                f"prediction_type {self.prediction!r} is unknown; known: {', '.join(PREDICTIONS)}"
            )
        if (self.prediction == "flow_prediction") != (self.kind == "flow"):
            raise ValueError(
                f"prediction_type {self.prediction!r} does not belong to a {self.kind!r} schedule: "
                "flow matching predicts 'flow_prediction', and nothing else does"
            )
        if self.noise_share.ndim != 1 or not bool((self.noise_share.diff() > 0).all()):
            raise ValueError(
                "a schedule gets noisier with every timestep; this one does not: check its betas"
            )
        if self.prediction == "epsilon" and self.zero_terminal_snr:
            raise ValueError(
                "prediction_type 'epsilon' with zero terminal SNR: at the last timestep the latent is the "
                "noise itself and the network's answer says nothing about the picture. Use a v_prediction "
                "or sample network, or set rescale_betas_zero_snr=False"
            )

    @classmethod
    def from_scheduler(cls, scheduler: Any) -> Schedule:
        """The schedule in a diffusers scheduler, its `.config`, or the dict of its scheduler_config.json."""
        config = scheduler_config(scheduler)
        if is_flow(config):
            share = torch.linspace(0, 1, config.get("num_train_timesteps", 1000) + 1, dtype=torch.float64)
            # A flow scheduler made from the config of a base that predicts anything else would draw noise.
            prediction = config.get("prediction_type", "flow_prediction")
            return cls(kind="flow", prediction=prediction, noise_share=share)
        alpha, sigma = _alphas_and_sigmas(_betas(config), config.get("rescale_betas_zero_snr", False))
        prediction = config.get("prediction_type", "epsilon")
        return cls(kind="vp", prediction=prediction, noise_share=sigma / (alpha + sigma))

    @property
    def last_timestep(self) -> int:
        """The noisiest timestep: 999 for Stable Diffusion, 1000 (pure noise) in flow matching."""
        return len(self.noise_share) - 1

    @property
    def zero_terminal_snr(self) -> bool:
        return float(self.noise_share[-1]) == 1.0

    def at_timestep(self, timestep: Tensor | Sequence[float] | float) -> Levels:
        """Levels at timesteps in [0, last_timestep]; between integers the noise share is interpolated."""
        t = torch.as_tensor(timestep, device="cpu").double()
        inside = (t >= 0) & (t <= self.last_timestep)
        if not bool(inside.all()):
            raise ValueError(
                f"timestep {float(t[~inside][0])} is outside this schedule's 0 to {self.last_timestep}"
            )
        low = t.floor().long().clamp(max=self.last_timestep - 1)
        return self._levels(torch.lerp(self.noise_share[low], self.noise_share[low + 1], t - low), t)

    def at_log_snr(self, log_snr: Tensor | Sequence[float] | float) -> Levels:
        """Levels at a log-SNR inside the schedule's range, or CLEAN. Never clamped: outside is an error."""
        share = torch.sigmoid(-torch.as_tensor(log_snr, device="cpu").double() / 2)
        clean = share == 0
        inside = share.clamp(self.noise_share[0], self.noise_share[-1])
        if bool(((share - inside).abs() > 1e-9)[~clean].any()):
            low, high = (2 * torch.logit(1 - self.noise_share[[-1, 0]])).tolist()
            raise ValueError(
                f"log-SNR {log_snr} is outside this schedule's {low:.3f} to {high:.3f}, and not CLEAN"
            )
        return self._levels(inside, self._timestep(inside)).clean_where(clean)

    def clean(self, *shape: int) -> Levels:
        """CLEAN levels of that shape."""
        return self.at_log_snr(torch.full(shape, CLEAN))

    def _levels(self, share: Tensor, timestep: Tensor) -> Levels:
        alpha, sigma = 1 - share, share
        if self.kind == "vp":
            norm = torch.hypot(alpha, sigma)
            alpha, sigma = alpha / norm, sigma / norm
        return Levels(alpha=alpha, sigma=sigma, timestep=timestep)

    def _timestep(self, share: Tensor) -> Tensor:
        """Inverse of the interpolation in `at_timestep`."""
        low = (torch.searchsorted(self.noise_share, share, right=True) - 1).clamp(0, self.last_timestep - 1)
        below, above = self.noise_share[low], self.noise_share[low + 1]
        return low + (share - below) / (above - below)


def scheduler_config(scheduler: Any) -> dict[str, Any]:
    """The plain config, with its `_class_name`, of a diffusers scheduler, its config, or a dict."""
    if isinstance(scheduler, Mapping):
        return dict(scheduler)
    if not isinstance(getattr(scheduler, "config", None), Mapping):
        raise ValueError(
            f"a {type(scheduler).__name__} is no diffusers scheduler: it has no .config; "
            "pass a scheduler, its .config, or the dict of a scheduler_config.json"
        )
    return {**scheduler.config, "_class_name": type(scheduler).__name__}


def is_flow(config: Mapping[str, Any]) -> bool:
    """Whether a scheduler config describes flow matching."""
    return str(config.get("_class_name")).startswith("FlowMatch") or bool(config.get("use_flow_sigmas"))


def _betas(config: Mapping[str, Any]) -> Tensor:
    """The noise variance added per training timestep, float64."""
    if config.get("trained_betas") is not None:
        return torch.as_tensor(config["trained_betas"], dtype=torch.float64)
    num = config.get("num_train_timesteps", 1000)
    start, end = config.get("beta_start", 1e-4), config.get("beta_end", 0.02)
    name = config.get("beta_schedule", "linear")
    if name == "linear":
        return torch.linspace(start, end, num, dtype=torch.float64)
    if name == "scaled_linear":  # Stable Diffusion: linear in the standard deviation
        return torch.linspace(start**0.5, end**0.5, num, dtype=torch.float64).square()
    if name == "squaredcos_cap_v2":  # Nichol & Dhariwal 2021, eq. 17
        t = torch.linspace(0, 1, num + 1, dtype=torch.float64)
        alpha_bar = ((t + 0.008) / 1.008 * math.pi / 2).cos().square()
        return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999)
    raise ValueError(
        f"beta_schedule {name!r} is unknown; known: linear, scaled_linear, squaredcos_cap_v2; "
        "or give trained_betas"
    )


def _alphas_and_sigmas(betas: Tensor, zero_terminal_snr: bool) -> tuple[Tensor, Tensor]:
    alpha = (1 - betas).cumprod(0).sqrt()
    if zero_terminal_snr:  # Lin et al. 2023, algorithm 1: the last alpha is 0 exactly, the first is kept
        alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    return alpha, (1 - alpha.square()).sqrt()
