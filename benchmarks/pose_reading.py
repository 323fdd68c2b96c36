"""How much of a pose drawing is read back, sharp, blurred, and through an autoencoder?

    python benchmarks/pose_reading.py [--base FOLDER] [--num 200]

Drawings of rendered scenes that show people, at 128 px. Joints found: PCK@0.1 of the longer side of a
figure's box, over visible joints. Right: of the joints that were reported, the share within a tenth of the
side of some true figure's joint of that name. This is the ceiling of every pose score in `docs/mini.md`.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np
import torch

from eval.metrics.pose import pose_counts, reference_length
from eval.metrics.summary import markdown_table
from eval.protocols.vae import RoundTrip, load_vae
from unicon.conditions.pose_reading import read_pose
from unicon.data.scenes import Scene, SceneConfig, render


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--base", help='a base ("mini" too), or a folder with a VAE alone')
    parser.add_argument("--num", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=900_000, help="of the scenes")
    args = parser.parse_args()
    scenes = people(args.num, args.first_seed)
    drawings = {
        "sharp": [s.pose / 255 for s in scenes],
        "blurred by 0.7 px, noise 0.03": [blurred(s.pose, 0.7, i) for i, s in enumerate(scenes)],
        "blurred by 1.0 px, noise 0.03": [blurred(s.pose, 1.0, i) for i, s in enumerate(scenes)],
    }
    if args.base:
        trip = RoundTrip(vae=load_vae(args.base, torch.device("cpu")))
        drawings["through the base's compressor"] = list(trip(np.stack([s.pose for s in scenes]), "poses"))
    print(markdown_table([row(name, pictures, scenes) for name, pictures in drawings.items()]))


def people(num: int, first_seed: int) -> list[Scene]:
    """The first `num` scenes that show a figure."""
    config, found, seed = SceneConfig(second_view=False), [], first_seed
    while len(found) < num:
        scene = render(seed, config)
        found += [scene] * bool(scene.joints)
        seed += 1
    return found


def blurred(picture: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.03, picture.shape)
    return np.clip(cv2.GaussianBlur(picture.astype(np.float32) / 255, (0, 0), sigma) + noise, 0, 1)


def row(name: str, pictures: list[np.ndarray], scenes: list[Scene]) -> dict:
    started = time.perf_counter()
    read = [read_pose(picture) for picture in pictures]
    seconds = time.perf_counter() - started
    counts = [pose_counts(found, scene.joints) for found, scene in zip(read, scenes, strict=True)]
    reported = [rightness(found, scene.joints) for found, scene in zip(read, scenes, strict=True)]
    total = sum(counts[1:], counts[0])
    return {
        "drawing": name,
        "N": len(scenes),
        "found": f"{total.pck:.3f}",
        "right": f"{np.concatenate(reported).mean():.3f}",
        "figures found / true": f"{total.num_predicted} / {total.num_true}",
        "ms each": f"{1000 * seconds / len(pictures):.0f}",
    }


def rightness(found: list[np.ndarray], true: list[np.ndarray]) -> np.ndarray:
    """Whether each reported joint is one that is there, bool (joints,)."""
    right = [np.zeros(0, bool)]
    for joints in found:
        near = np.zeros(18, bool)
        for figure in true:
            away = np.hypot(*(joints - figure)[:, :2].T)
            near |= (figure[:, 2] > 0) & (away <= 0.1 * reference_length(figure))
        right.append(near[joints[:, 2] > 0])
    return np.concatenate(right)


if __name__ == "__main__":
    main()
