"""How are all variants of all branches asked of the UNet in one call?

The seam between `unicon.sampling`, which knows levels and estimates, and `adapters`, which knows one stacked
batch (guidance, branch, sample). Here prompts become rows, variants become guidance halves, held-clean
branches become a cache, and outputs become clean estimates. Parameterisations and dtypes change nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from adapters import CleanCache, Pair, joint_forward, record_clean
from unicon.sampling.guidance import Variant
from unicon.sampling.levels import Levels, Schedule, clean_estimate


@dataclass(kw_only=True, slots=True, eq=False)
class BranchNetwork:
    """The UNet as `unicon.sampling` wants it: `evaluate(x, levels, variants)`."""

    unet: UNet2DConditionModel
    schedule: Schedule
    pairs: Sequence[Pair]
    prompts: Tensor
    """Text embeddings (2, branch, sample, tokens, width): unprompted first, then prompted."""
    cached: tuple[int, ...] = ()
    """Held-clean branches, computed at the first call and then read from a cache."""
    added: dict[str, Tensor] | None = None
    """Extra conditions of the base (SDXL's `text_embeds`, `time_ids`), rows as in a prompted batch."""
    cache: CleanCache | None = field(default=None, init=False)

    def evaluate(self, x: Tensor, levels: Levels, variants: Sequence[Variant]) -> Tensor:
        """Clean estimates [variant, branch, sample, C, H, W] of x [branch, sample, C, H, W]; cached branches
        answer with themselves."""
        if self.cached and self.cache is None:
            self.cache = self._record(x)
        running = [b for b in range(len(x)) if b not in self.cached]
        out = joint_forward(
            self.unet,
            self._stack(x[running], len(variants)),
            self._timesteps(levels[running], x.shape[1], len(variants)),
            self._texts(variants, running),
            pairs=self._pairs_of(variants, x.shape[1]),
            num_branches=len(x),
            num_guidance=len(variants),
            added_cond_kwargs=self.added,
            cache=self.cache,
        )
        out = out.unflatten(0, (len(variants), len(running), -1))
        estimates = x.expand(len(variants), *x.shape).clone() if self.cached else None
        answers = torch.stack([clean_estimate(o, x[running], levels[running], self.schedule.prediction) for o in out])
        if estimates is None:
            return answers.to(x.dtype)
        estimates[:, running] = answers.to(x.dtype)
        return estimates

    def _record(self, x: Tensor) -> CleanCache:
        branches = list(self.cached)
        return record_clean(
            self.unet,
            x[branches].flatten(0, 1).to(self.unet.dtype),
            torch.zeros(len(branches) * x.shape[1], device=x.device),
            self.prompts[1][branches].flatten(0, 1),
            pairs=self.pairs,
            branches=branches,
            added_cond_kwargs=self.added,
        )

    def _stack(self, x: Tensor, num_variants: int) -> Tensor:
        return x.flatten(0, 1).to(self.unet.dtype).repeat(num_variants, 1, 1, 1)

    def _timesteps(self, levels: Levels, num_samples: int, num_variants: int) -> Tensor:
        return levels.timestep.float().repeat_interleave(num_samples).repeat(num_variants)

    def _texts(self, variants: Sequence[Variant], running: list[int]) -> Tensor:
        return torch.cat([self.prompts[int(v.text)][running].flatten(0, 1) for v in variants])

    def _pairs_of(self, variants: Sequence[Variant], num_samples: int) -> list[Pair]:
        """The pairs with their reads switched off in the guidance halves that ask each branch on its own."""
        if all(v.joint for v in variants):
            return list(self.pairs)
        on = torch.tensor([float(v.joint) for v in variants])[:, None].expand(-1, num_samples)
        return [
            Pair(
                image=p.image,
                condition=p.condition,
                adapter=p.adapter,
                image_weight=0.0 if _is_zero(p.image_weight) else on * p.image_weight,
                condition_weight=0.0 if _is_zero(p.condition_weight) else on * p.condition_weight,
            )
            for p in self.pairs
        ]


def _is_zero(weight: float | Tensor) -> bool:
    return not isinstance(weight, Tensor) and weight == 0.0
