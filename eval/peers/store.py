"""How does a trained specialist lie in a folder?

Its network as its own library writes it, and beside it `peer.json`: which kind it is, for which condition.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from adapters.files import existing, write_whole
from eval.peers.controlnet import ControlNet
from eval.peers.jointnet import JointNet
from eval.peers.marigold import Marigold
from eval.peers.peer import Specialist
from eval.peers.t2i_adapter import T2I

PEER = "peer.json"
SPECIALISTS: dict[str, type[Specialist]] = {cls.KIND: cls for cls in (ControlNet, T2I, Marigold, JointNet)}
"""By kind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerCard:
    """What a stored specialist is."""

    kind: str
    condition: str
    trigger: str
    """Words before the caption of a map."""


def specialist(kind: str) -> type[Specialist]:
    """The class of a kind; ValueError with the known kinds otherwise."""
    if kind not in SPECIALISTS:
        raise ValueError(f"no peer of kind {kind!r}; known: {', '.join(SPECIALISTS)}")
    return SPECIALISTS[kind]


def save_peer(peer: Specialist, card: PeerCard, folder: Path) -> None:
    """Write network and card into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    peer.save(folder)
    write_whole(folder / PEER, lambda path: path.write_text(json.dumps(asdict(card), indent=2) + "\n"))


def load_peer(folder: Path, unet: nn.Module) -> tuple[Specialist, PeerCard]:
    """A stored specialist on its base's UNet, in that one's number format; ValueError where there is none."""
    text = existing(folder / PEER, "give the `export` folder of a peer's training").read_text()
    try:
        card = PeerCard(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder / PEER} describes no peer ({error}); export it again") from error
    peer = specialist(card.kind).load(folder, unet)
    like = next(unet.parameters())
    return peer.to(like.device, like.dtype).eval().requires_grad_(False), card
