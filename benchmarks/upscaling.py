"""What does enlarging add over bicubic resizing, does it keep to the small picture, and do windows show?

    python benchmarks/upscaling.py --adapter runs/mini/lowres/export

Scenes that nothing was trained on are rendered at twice the base's size and made smaller; what is drawn of
them is compared with them:

- error: mean absolute difference from the true picture, in shares of the range;
- detail: mean gradient in shares of the true picture's (1 is as much, bicubic has less);
- change: mean absolute difference of the picture made small again from the small one;
- seams: mean gradient across the lines where windows end, in shares of that one cell beside them (1: they do
  not show).

Mean and deviation over seeds. One row more is of pictures that were blurred, made noisy and compressed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch

from adapters.files import write_whole
from eval.metrics.summary import markdown_table
from unicon import UniConPipeline
from unicon.bases import base_size
from unicon.call.tiles import windows
from unicon.conditions.lowres import Degradation, degraded, enlarged
from unicon.data.scenes import SceneConfig, render
from unicon.latents import downscale
from unicon.sheets import contact_sheet, picture
from unicon.upscaling import Upscaling, upscale

FIRST_SEED = 650_000
SCALE = 2
POOR = Degradation(blur=0.5, scale=1, noise=0.02, quality=50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="mini")
    parser.add_argument("--adapter", help="folder of an adapter for lowres, where the base has none")
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--noise", type=float, nargs="*", default=[0.0, 0.1, 0.3])
    parser.add_argument("--out", type=Path, default=Path("runs/upscaling"))
    args = parser.parse_args()
    pipe = UniConPipeline.from_pretrained(args.base)
    if args.adapter:
        pipe.load_adapter(args.adapter, replace=True)
    pipe.set_progress_bar_config(disable=True)
    measure(pipe, args)


def measure(pipe: UniConPipeline, args: argparse.Namespace) -> list[dict]:
    """Rows of the table, also as `table.md`, `table.json` and a sheet in `--out`."""
    size = base_size(pipe.unet, pipe.vae).own_px
    truths = [
        render(FIRST_SEED + i, SceneConfig(size=SCALE * size, second_view=False, degrade=False)).image
        for i in range(args.scenes)
    ]
    smalls = [cv2.resize(each, (size, size), interpolation=cv2.INTER_AREA) for each in truths]
    lines = window_ends(pipe, SCALE * size)
    rows, shown = [], {"true": truths[:6]}
    poor = [degraded(each, POOR, np.random.default_rng(i)) for i, each in enumerate(smalls)]
    for name, given in (("", smalls), ("poor, ", poor)):
        bicubic = [enlarged(each, SCALE * size, SCALE * size) for each in given]
        rows.append({"picture": f"{name}bicubic", **summary([scores(bicubic, truths, smalls, lines)])})
        shown[f"{name}bicubic"] = bicubic[:6]
        for noise in args.noise:
            settings = Upscaling(scale=SCALE, noise=noise, num_inference_steps=args.steps)
            found = []
            for seed in range(args.seeds):
                drawn = [draw(pipe, each, settings, seed) for each in given]
                found.append(scores(drawn, truths, smalls, lines))
                shown.setdefault(f"{name}noise {noise:g}", drawn[:6])
            rows.append({"picture": f"{name}noise {noise:g}", **summary(found)})
            print(rows[-1], flush=True)
    write(args, rows, shown)
    return rows


def draw(pipe: UniConPipeline, small: np.ndarray, settings: Upscaling, seed: int) -> np.ndarray:
    (made,) = upscale(pipe, small, settings, generator=torch.Generator().manual_seed(seed))
    return np.asarray(made)


def window_ends(pipe: UniConPipeline, side_px: int) -> list[int]:
    """Columns of pixels at which a window of the tiled run begins or ends, inside the picture."""
    factor, own = downscale(pipe.vae), base_size(pipe.unet, pipe.vae).own_px
    parts = windows(side_px // factor, side_px // factor, own // factor)
    ends = {p.left for p in parts} | {p.left + p.width for p in parts}
    return sorted(factor * end for end in ends if 0 < factor * end < side_px)


def scores(drawn: list, truths: list, smalls: list, lines: list[int]) -> dict[str, float]:
    made, true, small = (np.stack(each).astype(np.float64) / 255 for each in (drawn, truths, smalls))
    again = made.reshape(len(made), small.shape[1], SCALE, small.shape[2], SCALE, 3).mean((2, 4))
    across = np.abs(np.diff(made, axis=2)).mean((0, 1, 3))  # [i]: between columns i and i + 1
    beside = [across[line - 1 + step] for line in lines for step in (-4, 4)]
    return {
        "error": float(np.abs(made - true).mean()),
        "detail": float(across.mean() / np.abs(np.diff(true, axis=2)).mean()),
        "change": float(np.abs(again - small).mean()),
        "seams": float(np.mean([across[line - 1] for line in lines]) / np.mean(beside)),
    }


def summary(found: list[dict[str, float]]) -> dict[str, str]:
    """Mean and deviation over seeds."""
    values = {name: np.array([each[name] for each in found]) for name in found[0]}
    return {
        name: f"{v.mean():.4f}" + (f" ± {v.std(ddof=1):.4f}" if len(v) > 1 else "")
        for name, v in values.items()
    }


def write(args: argparse.Namespace, rows: list[dict], shown: dict[str, list[np.ndarray]]) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    table = markdown_table(rows) + f"\n\n{args.scenes} scenes, {args.seeds} seeds, {args.steps} steps\n"
    write_whole(args.out / "table.md", lambda path: path.write_text(table, encoding="utf-8"))
    write_whole(args.out / "table.json", lambda path: path.write_text(json.dumps(rows, indent=2)))
    cells = [[picture(each) for each in row] for row in shown.values()]
    labels = [str(FIRST_SEED + i) for i in range(len(cells[0]))]
    sheet = contact_sheet(cells, row_labels=list(shown), column_labels=labels, cell_px=256)
    sheet.save(args.out / "sheet.png")
    print(table)


if __name__ == "__main__":
    main()
