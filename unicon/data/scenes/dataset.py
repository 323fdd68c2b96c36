"""How do scenes become a ``datasets.IterableDataset``?

Rendered while iterating, split by seed, so that any number of workers or processes see each scene once.
Leaves out files (``files``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .config import SceneConfig
from .render import Scene, render

if TYPE_CHECKING:
    import datasets


def scenes_dataset(
    seed: int, num: int, config: SceneConfig | None = None, *, num_shards: int = 16
) -> datasets.IterableDataset:
    """Scenes of the seeds `seed` to `seed + num - 1` as a stream of `num_shards` parts (at most `num`).

    Columns: image, pose, appearance uint8 (S, S, 3); depth float32 (S, S) in metres; edges uint8 (S, S) of
    0 and 1; joints (people, 18, 3); caption, second_caption; seed. Without `second_view` appearance and its
    caption are absent. Needs the extra `train`.
    """
    if num < 1 or num_shards < 1:
        raise ValueError(f"num is {num} and num_shards {num_shards}; expected at least 1 each: raise them")
    from unicon.extras import need

    library = need("datasets", extra="train")
    config = config or SceneConfig()
    parts = min(num, num_shards)
    bounds = [(seed + num * i // parts, seed + num * (i + 1) // parts) for i in range(parts)]
    return library.IterableDataset.from_generator(
        _rows, gen_kwargs={"bounds": bounds, "config": config}, features=_features(config)
    )


def _rows(bounds: list[tuple[int, int]], config: SceneConfig) -> Iterator[dict[str, Any]]:
    for first, end in bounds:
        for seed in range(first, end):
            yield scene_row(render(seed, config))


def scene_row(scene: Scene) -> dict[str, Any]:
    """The columns of one scene."""
    row = {
        "seed": scene.seed, "image": scene.image, "depth": scene.depth, "edges": scene.edges.astype("uint8"),
        "pose": scene.pose, "joints": [j.tolist() for j in scene.joints], "caption": scene.caption,
    }  # fmt: skip
    if scene.second_image is not None:
        row |= {"appearance": scene.second_image, "second_caption": scene.second_caption}
    return row


def _features(config: SceneConfig) -> datasets.Features:
    from datasets import Array2D, Array3D, Features, Sequence, Value

    side = config.size
    picture = Array3D(shape=(side, side, 3), dtype="uint8")
    columns = {
        "seed": Value("int64"), "image": picture, "depth": Array2D(shape=(side, side), dtype="float32"),
        "edges": Array2D(shape=(side, side), dtype="uint8"), "pose": picture,
        "joints": Sequence(Array2D(shape=(18, 3), dtype="float32")), "caption": Value("string"),
    }  # fmt: skip
    if config.second_view:
        columns |= {"appearance": picture, "second_caption": Value("string")}
    return Features(columns)
