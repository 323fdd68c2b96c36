"""How do all processes of a run leave its loop at the same step?"""

from __future__ import annotations

import torch
from accelerate import Accelerator


class Agreement:
    """Called with what one process wants, says whether any of them does.

    It is asked for in every step, so it goes from host to host: an answer from a device would wait for all
    the work that is queued there.
    """

    def __init__(self, accelerator: Accelerator):
        self.accelerator, self.group = accelerator, None
        self.on_hosts = accelerator.num_processes > 1 and torch.distributed.is_initialized()
        if self.on_hosts and torch.distributed.get_backend() != "gloo":
            self.group = torch.distributed.new_group(backend="gloo")

    def __call__(self, mine: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return mine
        wanted = torch.tensor(float(mine), device="cpu" if self.on_hosts else self.accelerator.device)
        if self.on_hosts:
            torch.distributed.all_reduce(wanted, group=self.group)
        else:
            wanted = torch.as_tensor(self.accelerator.reduce(wanted, "sum"))
        return bool(wanted > 0)
