"""How does a joint adapter answer as a peer?

The framework's own, through the same contract as the others. One that was trained on tied levels alone is the
always-tied model of the comparison: the same network with `holds=False`.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from adapters import Pair, graft, grafted, joint_forward, load_adapter, ungraft
from eval.peers.peer import CONDITION, DIRECTIONS, IMAGE, Peer, PeerInput


class Joint(Peer):
    """All directions by one adapter."""

    own = DIRECTIONS

    def __init__(self, unet: nn.Module, folder: Path, *, holds: bool = True):
        """Grafts the adapter stored in `folder`; joint adapters that were on the UNet are taken off."""
        super().__init__()
        if grafted(unet):
            ungraft(unet)
        self.unet = unet.requires_grad_(False)
        adapter = load_adapter(folder, unet, dtype=next(unet.parameters()).dtype).requires_grad_(False)
        self.config = adapter.config
        graft(unet, {self.config.condition: adapter})
        self.holds = holds
        if not holds:
            self.own = ("joint",)

    def forward(self, asked: PeerInput) -> Tensor:
        reads = (~asked.levels.is_clean).to(asked.x)
        pair = Pair(
            image=IMAGE,
            condition=CONDITION,
            adapter=self.config.condition,
            image_weight=reads[IMAGE],
            condition_weight=reads[CONDITION],
        )
        told = asked.levels.told(self.config.clean_timestep).to(asked.x.device).float()
        out = joint_forward(
            self.unet,
            asked.x.flatten(0, 1),
            told.flatten(),
            asked.texts.flatten(0, 1),
            pairs=[pair],
            num_branches=2,
        )
        return out.unflatten(0, (2, -1))
