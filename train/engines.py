"""What can a run not have that `accelerate launch` spreads over processes with FSDP or DeepSpeed?

Both are refused alike: what was asked for, under what, why, and what would do. How DeepSpeed takes a step is
`train.zero`, how spread tensors become whole `train.spread`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedType, parse_flag_from_env

from train.config import LoopConfig, RunConfig

WHOLE = '--launch="--config_file ddp"'
"""Keeps the whole model in each process: what runs in one process runs so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """One of them."""

    name: str
    flag: str
    """The variable in the environment by which accelerate's launcher asks for it."""
    kind: DistributedType
    """What accelerate calls a run under it."""
    why_adamw: str
    """What it does to the optimizer, for which AdamW alone is fit."""

    def check(self, loop: LoopConfig, precision: str) -> None:
        """Raises ValueError for fields that a run under it cannot have."""
        if loop.optimizer != "adamw":
            raise ValueError(
                f"--optimizer {loop.optimizer} under {self.name}, which {self.why_adamw}: choose "
                f"--optimizer adamw, or {WHOLE}"
            )
        if precision == "fp16":
            raise ValueError(f"--mixed_precision fp16 under {self.name}: choose bf16 or no")

    def check_started(self, accelerator: Accelerator) -> None:
        """Raises ValueError where accelerate was asked for it and runs something else."""
        if accelerator.distributed_type != self.kind:
            raise ValueError(
                f"this run was started under {self.name}, which accelerate runs on GPUs alone, and there are "
                "none: choose --processes N"
            )


FSDP = Engine(
    name="FSDP",
    flag="ACCELERATE_USE_FSDP",
    kind=DistributedType.FSDP,
    why_adamw="gives it a part of every weight",
)
DEEPSPEED = Engine(
    name="DeepSpeed",
    flag="ACCELERATE_USE_DEEPSPEED",
    kind=DistributedType.DEEPSPEED,
    why_adamw="runs one optimizer on parts of all weights strung together",
)


def asked_for() -> Engine | None:
    """The one that `accelerate launch` was told to use."""
    return next((engine for engine in (FSDP, DEEPSPEED) if parse_flag_from_env(engine.flag)), None)


def check_run(config: RunConfig) -> None:
    """Raises ValueError, before anything is read or encoded, for a run that cannot be spread as asked for."""
    engine = asked_for()
    if engine is None:
        return
    engine.check(config.loop, config.loop.mixed_precision)
    why = _why_not_by_fsdp(config.objective) if engine is FSDP else ""
    if why:
        what = type(config.objective).__name__
        raise ValueError(f"a run of {what} under FSDP, which {why}: choose {WHOLE}")


def _why_not_by_fsdp(objective: Any) -> str:
    """What of FSDP this objective's config is not fit for; empty where it is."""
    from train.objectives.clip import ClipConfig
    from train.objectives.decoder import DecoderTraining
    from train.objectives.judge import JudgeConfig
    from train.objectives.prior_ar import ArPriorConfig
    from train.objectives.vae import VaeConfig

    if isinstance(objective, DecoderTraining):
        return "spreads tensors that lie in one place of a network, and a decoder adapter's lie in several"
    if isinstance(objective, ArPriorConfig | ClipConfig | JudgeConfig | VaeConfig):
        return "spreads networks by their blocks (diffusers' BasicTransformerBlock), and this one has none"
    return ""
