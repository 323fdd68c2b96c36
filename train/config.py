"""What is a run, and how does a user change it?

A run is a frozen dataclass: an objective's config, the loop's config and the place its data comes from.
Command-line overrides name fields; an unknown name is refused with the closest known one.
Recipes (named, complete configs) are in `train.recipes`.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.names import closest
from unicon.ranges import AT_LEAST_1, COUNT, LESS_THAN_1, NOT_NEGATIVE, POSITIVE, SHARE

DECAYS = ("linear", "cosine")
OPTIMIZERS = ("adamw", "muon", "adamw8bit", "prodigy")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopConfig:
    """How long, how fast and how safely a run trains."""

    steps: int
    """Optimizer steps of the whole run."""
    batch_size: int
    """Items per optimizer step, over all processes and accumulation."""
    micro_batch: int = 0
    """Items per forward pass of one process; 0: the process's whole share at once."""
    optimizer: str = "adamw"
    """adamw; muon: Muon on matrices and AdamW on the rest, for networks that start from random weights;
    adamw8bit (bitsandbytes); or prodigy (prodigyopt), which finds its own rate: learning_rate 1."""
    learning_rate: float = 1e-4
    """After the warm-up."""
    matrix_learning_rate: float = 0.02
    """Muon's; `learning_rate` is AdamW's."""
    warmup_steps: int = 200
    """Steps of linear warm-up."""
    decay_share: float = 0.2
    """Share of the run, at its end, over which the rate falls to zero (warm-up, stable, decay)."""
    decay: str = "linear"
    """How it falls: linear, or cosine, with --decay_share 1 the cosine schedule of other trainers."""
    weight_decay: float = 0.01
    """Decoupled, as in AdamW."""
    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW's decays of the gradient's mean and of its square's."""
    clip_norm: float = 1.0
    """Gradients of a larger norm are scaled down to it; 0: none are."""
    ema_decay: float = 0.999
    """Decay of the exponential moving average that is exported; 0: export the last weights."""
    seed: int = 0
    """The order of the data, noise, levels and what is dropped come from it and the number of the step."""
    mixed_precision: str = "auto"
    """no, bf16, fp16, or auto: bf16 where a short probe finds it faster than float32."""
    gradient_checkpointing: bool = False
    """Compute the network's blocks again in the backward pass: slower, in much less memory."""
    compile: bool = False
    """Compile the network's repeated blocks (`torch.compile`): minutes at the start, then faster steps."""
    checkpoint_every: int = 500
    """Steps between checkpoints, from which a run that was stopped continues."""
    keep_checkpoints: int = 2
    """Newest checkpoints that are kept."""
    log_every: int = 20
    """Steps between lines of `metrics.jsonl`."""
    validate_every: int = 0
    """Steps between looks at pairs that are not trained on; 0: never."""
    trackers: str = ""
    """tensorboard, wandb or others that accelerate knows, separated by commas; beside the run's own files."""

    def __post_init__(self):
        AT_LEAST_1.check_fields(
            self, "steps", "batch_size", "checkpoint_every", "keep_checkpoints", "log_every"
        )
        COUNT.check_fields(self, "micro_batch", "warmup_steps", "validate_every")
        NOT_NEGATIVE.check_fields(self, "weight_decay", "clip_norm")
        POSITIVE.check_fields(self, "learning_rate", "matrix_learning_rate")
        LESS_THAN_1.check_fields(self, "ema_decay", "betas")
        SHARE.check_fields(self, "decay_share")
        if self.optimizer == "prodigy" and self.learning_rate < 0.1:
            raise ValueError(
                f"learning_rate is {self.learning_rate:g} with optimizer prodigy, which finds its own: "
                "give --learning_rate 1"
            )
        if self.decay not in DECAYS:
            raise ValueError(f"decay is {self.decay!r}; {closest(self.decay, DECAYS)}")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer is {self.optimizer!r}; {closest(self.optimizer, OPTIMIZERS)}")
        if self.optimizer == "muon" and self.mixed_precision == "fp16":
            raise ValueError(
                "mixed_precision is fp16 with optimizer muon: "
                "gradients would be unscaled twice; choose bf16 or no"
            )
        if self.mixed_precision not in ("auto", "no", "bf16", "fp16"):
            raise ValueError(f"mixed_precision is {self.mixed_precision!r}; choose auto, no, bf16 or fp16")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """One training run: what is learnt (`objective`) and how (`loop`)."""

    name: str
    objective: Any
    """An objective's config (`train.objectives`); its type chooses the objective."""
    loop: LoopConfig


def read_assignments(path: Path) -> dict[str, str]:
    """The fields that a YAML or JSON file sets, by name: flat, or in sections `loop` and `objective`.

    The `config.json` of a run is such a file. Raises ValueError for a file that holds no fields.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        content, plain = yaml.safe_load(text), yaml.load(text, yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"--config {path}: cannot be read ({error}); give a YAML or JSON file") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"--config {path}: holds no fields; write one per line, such as rank: 32")
    fields: dict[str, str] = {}
    for name, value in content.items():
        if name in ("loop", "objective") and isinstance(value, dict):
            fields |= {f"{name}.{each}": _as_text(v, plain[name][each]) for each, v in value.items()}
        elif name not in ("name", "needs"):  # the latter stands in files of older runs
            fields[name] = _as_text(value, plain[name])
    fields.pop("objective.type", None)
    return fields


def _as_text(value: Any, plain: Any) -> str:
    """A field as on the command line: a scalar as it is written (`no` is a word here), a list as JSON."""
    return plain if isinstance(plain, str) else json.dumps(value, default=str)


def override(config: RunConfig, assignments: dict[str, str]) -> RunConfig:
    """Replace fields by name: `steps`, or `loop.steps` where a name stands in both sections.

    Raises ValueError for an unknown or ambiguous field and for a value that does not fit its type.
    """
    sections = {"loop": config.loop, "objective": config.objective}
    changes: dict[str, dict[str, Any]] = {name: {} for name in sections}
    for key, text in assignments.items():
        section, name = _locate(key, sections)
        changes[section][name] = _parse(sections[section], name, text)
    return dataclasses.replace(
        config,
        loop=dataclasses.replace(config.loop, **changes["loop"]),
        objective=dataclasses.replace(config.objective, **changes["objective"]),
    )


def _locate(key: str, sections: dict[str, Any]) -> tuple[str, str]:
    known = {f"{section}.{f.name}" for section, value in sections.items() for f in dataclasses.fields(value)}
    matches = [name for name in known if key in (name, name.split(".", 1)[1])]
    if len(matches) == 1:
        section, name = matches[0].split(".", 1)
        return section, name
    if matches:
        raise ValueError(
            f"--{key} names several fields: {', '.join(sorted(matches))}; write one of these in full"
        )
    names = sorted(f"--{name}" for name in known | {name.split(".", 1)[1] for name in known})
    raise ValueError(f"--{key} is not a field of this recipe; {closest(f'--{key}', names)}")


def _parse(section: Any, name: str, text: str) -> Any:
    hint = typing.get_type_hints(type(section))[name]
    try:
        return _READERS[hint](text) if hint in _READERS else _list(text, typing.get_args(hint))
    except ValueError:
        raise ValueError(
            f"--{name} got {text!r}; expected {_example(name, getattr(section, name))}"
        ) from None


def _truth(text: str) -> bool:
    """Raises ValueError for another word."""
    return ("false", "true").index(text.lower()) == 1


def _whole_number(text: str) -> int:
    """Also one that is written as 1e4 or 8.0. Raises ValueError for another."""
    try:
        return int(text)  # all its digits: seeds may be longer than a float's
    except ValueError:
        if (value := float(text)).is_integer():
            return int(value)
        raise


_READERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    bool: _truth,
    int: _whole_number,
    float: float,
}


def _list(text: str, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    """A JSON list of these kinds. Raises ValueError for what is none, or has another length."""
    values = json.loads(text)
    if not isinstance(values, list):
        raise ValueError
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(values)
    read = []
    for value, kind in zip(values, kinds, strict=True):
        if (kind is str) != isinstance(value, str):
            raise ValueError
        read.append(_READERS[kind](value if kind is str else json.dumps(value)))
    return tuple(read)


def _example(name: str, value: Any) -> str:
    """What is expected instead, as it is written on the command line: the recipe's own value."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, tuple):
        return f"a list, such as --{name} '{json.dumps(value)}'"
    return f"a {'whole ' if isinstance(value, int) else ''}number, such as --{name} {value}"


def as_json(config: RunConfig) -> str:
    """The resolved config as indented JSON, with the objective's type name."""
    record = dataclasses.asdict(config)
    record["objective"] = {"type": type(config.objective).__name__, **record["objective"]}
    return json.dumps(record, indent=2)
