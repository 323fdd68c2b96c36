"""How is a checkpoint in UniCon's published layout read (Li et al. 2025, arXiv 2410.11439)?

`xy_lora/`, `yx_lora/` and, if trained, `y_lora/` each hold `pytorch_lora_weights.safetensors` (alpha =
rank); `model.pth` is a pickle of every trained tensor: the same updates under other names, and the
projections `conv1n`.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from adapters.adapter import JointAdapter
from adapters.base import geometry
from adapters.config import AdapterConfig, BaseGeometry
from adapters.store import fill, read_tensors

_LORA = re.compile(
    r"unet\.(?P<block>.+)\.(?P<attn>attn1n|attn1|attn2)\.to_(?P<which>q|k|v|out)(\.0)?\.lora\.(?P<end>\w+)\.weight"
)
_PICKLED_LORA = re.compile(r".+\.lora_[AB]\.\w+\.weight")
_PROJECTION = ".conv1n.weight"
_PARTS = {"xy_lora": "image", "yx_lora": "condition", "y_lora": "own"}
_PICKLE = "model.pth"

TRIGGERS = {"depth": "depth_map, ", "edge": "edge_map, ", "pose": "pose_map, ", "id": "", "appearance": ""}
"""The adapters its authors released, and the words each was trained to find before a map's prompt."""


def is_published(folder: str | Path) -> bool:
    """Whether a folder holds a checkpoint in the published layout, whole or not."""
    folder = Path(folder)
    return (folder / _PICKLE).is_file() or any((folder / part).is_dir() for part in _PARTS)


def load_published(
    folder: str | Path,
    unet: nn.Module,
    condition: str,
    *,
    trigger: str | None = None,
    dtype: torch.dtype | None = None,
) -> JointAdapter:
    """A published checkpoint as an adapter for `unet`; its clean branches read, so it always runs two-way.

    `trigger` is what `TRIGGERS` says for the condition unless given; the layout does not hold it. The
    weights of `unet` may be on `meta`. Raises `ValueError` for a folder that is not in this layout, or
    tensors that do not fit the base.
    """
    folder = Path(folder)
    tensors = {name: t for part, ours in _PARTS.items() for name, t in _read_lora(folder, part, ours).items()}
    projections = _read_projections(folder / _PICKLE)
    tensors |= {f"{block}.attn1.projection.weight": weight for block, weight in projections.items()}
    base = geometry(unet)
    _check_blocks(tensors, base, folder)
    config = AdapterConfig(
        condition=condition,
        rank=next(t.shape[0] for name, t in tensors.items() if name.endswith(".down")),
        projection=_kind(projections, {path: block.width for path, block in base.blocks.items()}, folder),
        condition_lora=(folder / "y_lora").is_dir(),
        reads_when_clean=True,
        skip_blocks=tuple(path for path in base.blocks if path not in projections),
        trigger=TRIGGERS.get(condition, "") if trigger is None else trigger,
        base=base,
    )
    adapter = JointAdapter(config, device=torch.device("meta"))
    return fill(adapter, tensors, unet, source=str(folder), dtype=dtype)


def _read_lora(folder: Path, part: str, ours: str) -> dict[str, Tensor]:
    """One LoRA file, under our names. `y_lora` alone may be absent."""
    path = folder / part / "pytorch_lora_weights.safetensors"
    if part == "y_lora" and not path.parent.is_dir():
        return {}
    tensors = read_tensors(path, f"{folder} is not in the published layout")
    return {_our_name(name, ours, path): tensor for name, tensor in tensors.items()}


def _our_name(name: str, ours: str, path: Path) -> str:
    match = _LORA.fullmatch(name)
    if match is None:
        raise ValueError(
            f"{path}: unknown tensor {name!r}, expected 'unet.<block>.attn1n.to_q.lora.down.weight' etc."
        )
    attn = "attn2" if match["attn"] == "attn2" else f"attn1.{ours}"
    return f"{match['block']}.{attn}.{match['which']}.{match['end']}"


def _read_projections(path: Path) -> dict[str, Tensor]:
    """Each block's projection. The pickle may hold nothing else but the updates again."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist: it holds the projections of the published layout")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is no pickle of plain tensors ({error})") from error
    for name in content:
        if not name.endswith(_PROJECTION) and not _PICKLED_LORA.fullmatch(name):
            raise ValueError(
                f"{path}: unknown tensor {name!r}, expected '<block>{_PROJECTION}' or LoRA tensors"
            )
    return {name.removesuffix(_PROJECTION): t for name, t in content.items() if name.endswith(_PROJECTION)}


def _check_blocks(tensors: Mapping[str, Tensor], base: BaseGeometry, folder: Path) -> None:
    """ValueError unless the base has the checkpoint's blocks and no others."""
    blocks = {name.partition(".attn")[0] for name in tensors}
    own = {name.partition(".attn")[0] for name in tensors if ".own." in name}
    if extra := sorted(blocks - base.blocks.keys()):
        raise ValueError(f"{folder} was built for another base: this one has no block {extra[0]}")
    if own and (lacking := sorted(base.blocks.keys() - own)):
        raise ValueError(f"{folder} was built for another base: it has nothing for this one's {lacking[0]}")


def _kind(projections: Mapping[str, Tensor], widths: Mapping[str, int], folder: Path) -> str:
    """Which projection it is, by its size."""
    for block, weight in projections.items():
        return "fused" if weight.shape[0] == 2 * widths[block] else "shared"
    raise ValueError(f"{folder / _PICKLE} holds no projection ('<block>{_PROJECTION}')")
