"""Is a run that is killed again and again, at random moments, bitwise the run that never was?

    python benchmarks/kills.py [--base mini] [--kills 20] [--seed 0]

Trains a small adapter on rendered scenes twice, in processes of their own. The first run is left alone and
keeps every checkpoint. The second is killed (SIGKILL) at random moments between its start and a few steps on,
in the middle of writing a checkpoint too, and started again by the same command. After every kill its newest
checkpoint is compared with the first run's of that step, and at the end both exports.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from train.checkpoint import whole_checkpoints
from unicon.data.scenes import SceneConfig, write_scenes

ROOT = Path(__file__).resolve().parents[1]
EVERY = ["--checkpoint_every", "1", "--log_every", "1", "--validate_every", "0", "--mixed_precision", "no"]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--base", default="mini")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        same, kept = killed_runs(Path(folder), args.base, args.kills, args.seed)
    print(f"{same} of {kept} comparisons bitwise equal, {args.kills} kills")
    return int(same != kept)


def killed_runs(
    folder: Path, base: str, kills: int, seed: int, size_px: int = 64, launcher: type[Launcher] | None = None
) -> tuple[int, int]:
    """How many comparisons were bitwise equal, of how many; `launcher` starts the runs in its own way."""
    write_scenes(folder / "scenes", range(6), SceneConfig(size=size_px))
    steps = 6 * kills + 6
    start = (launcher or Launcher)(folder, base, steps)
    assert start("straight", "--keep_checkpoints", str(steps)).wait() == 0, "the straight run failed"
    written = [p.stat().st_mtime for _, p in whole_checkpoints(folder / "straight/adapter/checkpoints")]
    per_step = (written[-1] - written[0]) / (len(written) - 1)
    moments, killed, same, kept = random.Random(seed), 0, 0, 0
    while killed < kills:
        before = newest(folder / "killed")
        process = start("killed")
        # Mostly in the midst of steps; one time in five anywhere, while it starts too.
        if moments.random() > 0.2:
            while newest(folder / "killed") == before and process.poll() is None:
                time.sleep(0.01)
        time.sleep(moments.random() * 2 * per_step)
        if process.poll() is not None:
            raise RuntimeError(f"the run ended after {killed} kills: give it more steps")
        process.kill()
        process.wait()
        killed += 1
        if path := newest(folder / "killed"):
            kept, same = kept + 1, same + equal(path, folder / "straight/adapter/checkpoints" / path.name)
    assert start("killed").wait() == 0, "the killed run failed to continue"
    exports = [folder / name / "adapter/export" for name in ("killed", "straight")]
    return same + equal(*exports), kept + 1


class Launcher:
    """Starts runs of one recipe in processes of their own."""

    def __init__(self, folder: Path, base: str, steps: int):
        self.folder = folder
        self.command = [
            sys.executable, "-m", "train", "adapter", "--data", str(folder / "scenes"),
            "--condition", "depth",
            "--base", base, "--rank", "2", "--batch_size", "2", "--steps", str(steps), *EVERY,
        ]  # fmt: skip

    def __call__(self, name: str, *more: str) -> Any:
        """A process that can be asked (`poll`), killed and waited for, as a `subprocess.Popen`."""
        out = ["--out", str(self.folder / name), *more]
        with (self.folder / f"{name}.log").open("a") as log:
            return subprocess.Popen([*self.command, *out], cwd=ROOT, stdout=log, stderr=log)


def newest(run: Path) -> Path | None:
    """The newest whole checkpoint of a run."""
    found = whole_checkpoints(run / "adapter" / "checkpoints")
    return found[-1][1] if found else None


def equal(one: Path, other: Path) -> bool:
    """Whether two folders hold the same tensors, bit for bit, those of optimizers too."""
    files = sorted(path.name for path in other.glob("*.safetensors"))
    if not files or any((one / name).read_bytes() != (other / name).read_bytes() for name in files):
        return False
    states = [folder / "optimizers.pt" for folder in (one, other)]
    return not states[1].exists() or same_values(*(torch.load(s, weights_only=True) for s in states))


def same_values(one: Any, other: Any) -> bool:
    """Whether two nested states are equal."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_values(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same_values, one, other))
    return one == other


if __name__ == "__main__":
    raise SystemExit(main())
