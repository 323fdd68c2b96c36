"""How many scenes does one core render in a second, and what takes the time?

    python benchmarks/scenes.py [--num 60] [--size 128]

One thread, after a warm-up. Processor time stands beside wall-clock time, because it does not depend on
what else the machine does.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import cv2
import numpy as np

from unicon.data.scenes import SceneConfig, render


@dataclass(frozen=True, slots=True)
class Rate:
    """Milliseconds per scene over `num` scenes: median wall-clock, its 90% quantile, mean processor time."""

    name: str
    num: int
    wall_ms: float
    slow_ms: float
    processor_ms: float


def measure(name: str, config: SceneConfig, num: int, first_seed: int = 10_000) -> Rate:
    """Render `num` scenes one after the other."""
    for seed in range(3):
        render(seed, config)
    walls, start = [], time.process_time()
    for seed in range(first_seed, first_seed + num):
        begun = time.perf_counter()
        render(seed, config)
        walls.append(1e3 * (time.perf_counter() - begun))
    processor = 1e3 * (time.process_time() - start) / num
    return Rate(name, num, float(np.median(walls)), float(np.quantile(walls, 0.9)), processor)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num", type=int, default=60, help="scenes per row (default 60)")
    parser.add_argument("--size", type=int, default=128, help="side in pixels (default 128)")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rows = [
        measure("all maps", SceneConfig(size=args.size, second_view=False), args.num),
        measure("and a second view", SceneConfig(size=args.size), args.num),
    ]
    print(f"{args.size} px, {args.num} scenes, numpy {np.__version__}, opencv {cv2.__version__}")
    print(f"{'':20}{'median ms':>10}{'90% ms':>10}{'cpu ms':>10}{'per s and core':>16}")
    for row in rows:
        rate = 1e3 / row.processor_ms
        print(f"{row.name:20}{row.wall_ms:10.1f}{row.slow_ms:10.1f}{row.processor_ms:10.1f}{rate:16.1f}")


if __name__ == "__main__":
    main()
