"""Where do encoded pairs lie, so that a run never encodes one twice?

One safetensors file per pair, named by what the pair holds, below a folder named by what encoded it. Files
appear whole or not at all and are never changed, so several processes and runs may share a cache, and a
run that was stopped goes on where it was. What pairs hold is remembered beside them (`contents`). Nothing
is pruned: delete the folder when you no longer need it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from adapters.files import write_whole
from train.pairs.contents import CONTENTS, Contents
from train.pairs.encoding import EncodedPair


@dataclass(frozen=True, slots=True)
class PairCache:
    """The encoded pairs of one encoder."""

    folder: Path
    contents: Contents
    """What pairs hold, remembered for all encoders."""

    @classmethod
    def of(cls, folder: Path, fingerprint: str, process: int = 0) -> PairCache:
        return cls(folder / fingerprint[:16], Contents(folder / CONTENTS, process))

    def path(self, key: str) -> Path:
        """The file of a pair."""
        return self.folder / key[:2] / f"{key}.safetensors"

    def shape(self, key: str) -> tuple[int, ...] | None:
        """(C, h, w) of a pair's latents; None where it is not there, or its file is damaged."""
        try:
            with safe_open(self.path(key), "pt") as file:
                return tuple(file.get_slice("image").get_shape()[1:])
        except (OSError, SafetensorError):
            return None

    def read(self, key: str) -> EncodedPair | None:
        """None where it is not there, or its file is damaged."""
        try:
            return EncodedPair(**load_file(self.path(key)))
        except (OSError, SafetensorError):
            return None

    def write(self, key: str, pair: EncodedPair) -> None:
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.contiguous() for name, tensor in asdict(pair).items()}
        write_whole(path, lambda target: save_file(tensors, target))
