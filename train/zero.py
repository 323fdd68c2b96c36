"""How does DeepSpeed (ZeRO stage 2) take a step of ours, and where are its optimizer's states?

Its engine accumulates, clips and steps by itself, told by accelerate's `sync_gradients`. Gradients and the
optimizer's states are spread over the processes; what is trained stays whole and in float32 in each, and the
frozen base as it was read: fewer bits are torch's autocast, because the engine's own bf16 would cast both.

Checkpoints hold whole states in torch's own form: a run may go on with other processes, or without DeepSpeed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from train.config import LoopConfig
from train.engines import DEEPSPEED
from train.optimizers import restore


def configure(accelerator: Accelerator, loop: LoopConfig, share: int, precision: str) -> None:
    """Give the engine our batch of `share` items per process, clipping and number format.

    Raises ValueError where accelerate does not run it, and for stages other than 2 and for offloading.
    """
    DEEPSPEED.check_started(accelerator)
    plugin = accelerator.deepspeed_plugin
    if plugin.zero_stage != 2:
        raise ValueError(
            f"DeepSpeed's ZeRO stage {plugin.zero_stage}: only stage 2 is supported; to spread the weights "
            'as well, as stage 3 does, choose --launch="--config_file fsdp2"'
        )
    config = plugin.deepspeed_config
    zero = config["zero_optimization"]
    if any(
        (zero.get(f"offload_{what}") or {}).get("device", "none") != "none" for what in ("optimizer", "param")
    ):
        raise ValueError(
            "DeepSpeed's offloading would replace the optimizer by one with other settings: set "
            "offload_optimizer_device and offload_param_device to none"
        )
    config.update(
        train_batch_size=loop.batch_size,
        train_micro_batch_size_per_gpu=share,
        gradient_accumulation_steps=1,  # the loss is divided by our share; `sync_gradients` ends the step
        gradient_clipping=loop.clip_norm,
        bf16={"enabled": False},
        fp16={"enabled": False},
    )
    if precision != "no":
        # No modules are listed as safe for fewer bits: gradients are then summed in float32.
        config["torch_autocast"] = {
            "enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []
        }  # fmt: skip


def whole_state(optimizer: Any, parameters: Sequence[Tensor]) -> dict[str, Any]:
    """AdamW's state dict as without DeepSpeed. All processes must come here."""
    from deepspeed.utils import safe_get_full_optimizer_state

    own = _zero(optimizer).optimizer.state_dict()
    numbers = list(range(len(parameters)))
    state = {
        number: {
            name: value.clone() if name == "step" else safe_get_full_optimizer_state(parameters[number], name)
            for name, value in own["state"][0].items()
        }
        for number in numbers
    }
    return {"state": state, "param_groups": [{**group, "params": numbers} for group in own["param_groups"]]}


@torch.no_grad()
def restore_state(optimizer: Any, parameters: Sequence[Tensor], whole: dict[str, Any]) -> None:
    """Continue from the weights as they are now and a whole state, of which each process keeps its part."""
    zero = _zero(optimizer)
    zero.refresh_fp32_params()  # the engine steps a copy of its part of the weights
    (flat,) = zero.optimizer.param_groups[0]["params"]
    part = {
        name: value if name == "step" else _part(flat, parameters, [v[name] for v in whole["state"].values()])
        for name, value in whole["state"][0].items()
    }
    groups = [{**group, "params": [0]} for group in whole["param_groups"]]
    restore(zero.optimizer, {"state": {0: part}, "param_groups": groups})


def _part(flat: Tensor, parameters: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
    """Of a value per element of all parameters, this process's part, as `flat` (n,) holds it."""
    part = torch.zeros_like(flat)
    for parameter, value in zip(parameters, values, strict=True):
        place = parameter._hp_mapping  # None: another process has it
        if place is not None:
            here, there = place.hp_fragment_address, place.lp_fragment_address
            part.narrow(0, here.start, here.numel).copy_(value.flatten().narrow(0, there.start, there.numel))
    return part


def _zero(optimizer: Any) -> Any:
    """DeepSpeed's optimizer in accelerate's wrapper; its own `optimizer` is ours."""
    return optimizer.optimizer
