"""Does what the command line says of a form hold for a run that starts from what is there?

Such a run takes the form of what it starts from. A config cannot tell a field that was left alone from one
that was given its default; the command line can, and one that it names is never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from train.objectives.base import Objective
from train.objectives.joint import JointObjective
from train.objectives.prior import PriorObjective
from train.objectives.starting import FORM


def check_given(given: Collection[str], config: Any, objective: Objective) -> None:
    """Raises ValueError for a `given` field of an objective's `config` that what `start_from` names lacks."""
    is_so = _form(objective)
    for name in (key.rpartition(".")[2] for key in given):
        asked = getattr(config, name, None)
        if name in is_so and asked not in (is_so[name], "auto"):
            raise ValueError(
                f"--{name} {asked!r}, but what --start_from names has {is_so[name]!r}, which training on "
                f"does not change: leave --{name} out, or start afresh"
            )


def _form(objective: Objective) -> Mapping[str, Any]:
    """Fields of what a run starts from, as they are; none where it starts from nothing."""
    if isinstance(objective, JointObjective) and objective.config.start_from:
        return {name: getattr(objective.adapter.config, name) for name in FORM}
    if isinstance(objective, PriorObjective) and objective.config.start_from:
        form = objective.prior.config
        width = form["num_attention_heads"] * form["attention_head_dim"]
        return {"channels": width, "layers": form["num_layers"], "heads": form["num_attention_heads"]}
    return {}
