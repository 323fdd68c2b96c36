"""How are scenes written as a folder that anyone can read?

The layout is that of ``datasets``' image folders: ``image/ depth/ edge/ pose/ appearance/`` and
``metadata.jsonl``. Depth is in millimetres in 16-bit PNG. Every file is written under another name and
renamed, so a run that was stopped is resumed by the same command. Leaves out how pictures become maps
(``unicon.conditions``).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from adapters.files import write_whole

from .config import SceneConfig
from .render import Scene, render

MILLIMETRES = 1000.0
_RECORDS = ".records"


def write_scenes(
    out_dir: str | Path, seeds: Iterable[int], config: SceneConfig | None = None, num_workers: int = 1
) -> Path:
    """Write the scenes of `seeds` below `out_dir`; scenes already there are kept. Returns `out_dir`.

    Raises ValueError when the folder holds scenes of another configuration.
    """
    if num_workers < 1:
        raise ValueError(f"num_workers is {num_workers}; expected at least 1: use 1 to stay in this process")
    config, folder = config or SceneConfig(), Path(out_dir)
    (folder / _RECORDS).mkdir(parents=True, exist_ok=True)
    _check_same(folder / _RECORDS / "config.json", config)
    missing = [seed for seed in dict.fromkeys(seeds) if not _record(folder, seed).exists()]
    _write_all(partial(_write_scene, folder, config), missing, min(num_workers, len(missing)))
    records = [record.read_text() for record in sorted((folder / _RECORDS).glob("scene_*.json"))]
    _write(folder / "metadata.jsonl", "".join(records).encode())
    return folder


def _write_all(write_one: partial, seeds: list[int], num_workers: int) -> None:
    if num_workers < 2:
        for seed in seeds:
            write_one(seed)
        return
    # Started anew, not forked: a fork copies the locks of threads that torch or OpenCV may have running.
    start = get_context("spawn")
    with ProcessPoolExecutor(num_workers, start, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        list(pool.map(write_one, seeds, chunksize=4))


def read_depth(path: str | Path) -> np.ndarray:
    """Depth float32 (H, W) in metres from a file of the folder `depth`."""
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if Path(path).is_file() else None
    if values is None or values.dtype != np.uint16:
        raise ValueError(
            f"{path}: is not a 16-bit PNG; expected a file from the depth folder of `unicon scenes`"
        )
    return values.astype(np.float32) / np.float32(MILLIMETRES)


def _record(folder: Path, seed: int) -> Path:
    return folder / _RECORDS / f"scene_{seed:08d}.json"


def _check_same(path: Path, config: SceneConfig) -> None:
    text = json.dumps(dataclasses.asdict(config), sort_keys=True)
    if not path.exists():
        _write(path, text.encode())
    elif path.read_text() != text:
        raise ValueError(
            f"{path.parent.parent}: holds scenes of another configuration ({path.read_text()}); "
            f"expected {text}: "
            "choose another folder or remove this one"
        )


def _write_scene(folder: Path, config: SceneConfig, seed: int) -> None:
    scene = render(seed, config)
    names = {}
    for kind, pixels in _pictures(scene).items():
        names[kind] = f"{kind}/{seed:08d}.png"
        (folder / kind).mkdir(exist_ok=True)
        done, data = cv2.imencode(".png", pixels)
        assert done
        _write(folder / names[kind], data.tobytes())
    _write(_record(folder, seed), (json.dumps(_metadata(scene, names)) + "\n").encode())


def _pictures(scene: Scene) -> dict[str, np.ndarray]:
    """What goes into each folder, in OpenCV's channel order."""
    pictures = {
        "image": scene.image[..., ::-1],
        "depth": np.round(scene.depth * MILLIMETRES).astype(np.uint16),
        "edge": scene.edges.astype(np.uint8) * 255,
        "pose": scene.pose[..., ::-1],
    }
    if scene.second_image is not None:
        pictures["appearance"] = scene.second_image[..., ::-1]
    return pictures


def _metadata(scene: Scene, names: dict[str, str]) -> dict:
    files = {"file_name": names["image"]} | {f"{k}_file_name": n for k, n in names.items() if k != "image"}
    return files | {
        "seed": scene.seed,
        "caption": scene.caption,
        "second_caption": scene.second_caption,
        "joints": [np.round(j, 2).tolist() for j in scene.joints],
        "attributes": scene.attributes,
    }


def _write(path: Path, data: bytes) -> None:
    write_whole(path, lambda target: target.write_bytes(data))
