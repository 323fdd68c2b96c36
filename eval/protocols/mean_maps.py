"""What does the training set's mean map look like?

The prediction of a model that never looks at its picture, beside which every score of `eval.protocols.scenes`
stands. For poses the mean drawing shows no joint at all, so the mean figure is given too. Leaves out scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eval.protocols.scene_set import SceneSet


def mean_map(condition: str, training: SceneSet | Path) -> np.ndarray:
    """(S, S, 3) float32: pixelwise mean of the maps of rendered scenes, or of a folder of training shards.

    Shards are `shard_*/NAME.npy` as `unicon train` renders them, uint8 (n, S, S) or (n, S, S, 3). Raises
    ValueError when the folder has none.
    """
    if isinstance(training, SceneSet):
        return training.maps(condition).mean(0)
    arrays = list(_shards(training, condition))
    if not arrays:
        raise ValueError(f"{training} holds no shard_*/{condition}.npy; give the folder of rendered scenes")
    total = sum(array.sum(0, dtype=np.float64) for array in arrays)
    mean = (total / sum(map(len, arrays)) / 255).astype(np.float32)
    return mean if mean.ndim == 3 else np.repeat(mean[..., None], 3, axis=-1)


def mean_figure(training: SceneSet | Path) -> np.ndarray:
    """(1, 18, 3): the mean place of each joint over all figures in which it is visible."""
    joints = np.concatenate(training.joints if isinstance(training, SceneSet) else _shard_joints(training))
    shown = joints[..., 2:] > 0
    places = np.where(shown, joints[..., :2], 0).sum(0) / np.maximum(shown.sum(0), 1)
    return np.concatenate([places, shown.any(0)], axis=-1)[None]


def _shards(folder: Path, name: str) -> Iterator[np.ndarray]:
    return (np.load(path, mmap_mode="r") for path in sorted(Path(folder).glob(f"shard_*/{name}.npy")))


def _shard_joints(folder: Path) -> list[np.ndarray]:
    """Figures (k, 18, 3); absent ones are NaN in a shard."""
    joints = [array.reshape(-1, 18, 3) for array in _shards(folder, "joints")]
    return [array[np.isfinite(array).all(axis=(1, 2))] for array in joints]
