"""What does a map score that never looks at the picture?

`unicon eval baselines nyu --data FOLDER` scores, on the held-out tenth of NYU Depth v2 and over all ten
folds, two predictions that every depth estimator must beat: the mean depth map of the other nine tenths, and
a constant. Each is fitted to the truth by scale and shift per picture like any prediction, so the constant
becomes the picture's own mean depth. Leaves out anything that is learnt.

What makes the numbers: least squares of scale and shift in *depth* per picture (scale may be negative), over
all pixels, at the stored 280 x 213, then AbsRel and delta1 per picture, then the mean over pictures. Over
splits of this size the mean map scores 0.240 +- 0.010, delta1 0.632 +- 0.018, the constant 0.349 +- 0.018;
with scale alone the mean map scores 0.272. A centre crop to a square makes the set easier (0.210 and 0.329
over all pictures).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from eval.command import command
from eval.data import NUM_FOLDS, DepthPhoto, fold, nyu_depth
from eval.metrics.depth import Alignment, DepthErrors, batch_depth_errors, mean_errors
from eval.metrics.summary import markdown_table, over_seeds

NYU_LOW = 1e-3
"""Lower clip of an aligned prediction, in shares of the picture's largest depth (metric clips of 1e-3 and 10
m cannot be applied: this copy of the data has lost its metric scale)."""


def mean_map_errors(
    depths: np.ndarray, folds: np.ndarray, test_fold: int, alignment: Alignment
) -> DepthErrors:
    """Errors on `test_fold` of the mean map of the other folds; depths (N, H, W), 0 where not measured, folds
    (N,)."""
    test, others = depths[folds == test_fold], depths[folds != test_fold]
    mean_map = others.sum(0) / np.maximum((others > 0).sum(0), 1)
    return mean_errors(batch_depth_errors([mean_map] * len(test), test, alignment=alignment, low=NYU_LOW))


def constant_errors(depths: np.ndarray, alignment: Alignment) -> DepthErrors:
    """Errors of a constant map on (N, H, W) depths; with scale and shift it is each picture's mean depth."""
    constant = np.ones(depths.shape[1:])
    return mean_errors(batch_depth_errors([constant] * len(depths), depths, alignment=alignment, low=NYU_LOW))


def nyu_baselines(photos: Sequence[DepthPhoto], names: Sequence[str], alignment: Alignment) -> list[dict]:
    """Table rows: each baseline on the held-out tenth, and its mean and deviation over ten folds."""
    depths = np.stack([photo.depth for photo in photos])
    folds = np.array([fold(name) for name in names])
    mean_map = [mean_map_errors(depths, folds, f, alignment) for f in range(NUM_FOLDS)]
    constant = [constant_errors(depths[folds == f], alignment) for f in range(NUM_FOLDS)]
    rows = []
    for name, errors in (("mean map of the other tenths", mean_map), ("constant", constant)):
        rows.append(
            {
                "prediction": name,
                "on": "held-out tenth",
                "N": errors[0].num_pictures,
                "AbsRel": f"{errors[0].abs_rel:.3f}",
                "delta1": f"{errors[0].delta1:.3f}",
            }
        )
        rows.append(
            {
                "prediction": name,
                "on": "each tenth in turn",
                "N": len(depths),
                "AbsRel": str(over_seeds([e.abs_rel for e in errors])),
                "delta1": str(over_seeds([e.delta1 for e in errors])),
            }
        )
    return rows


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval baselines",
        description="Score predictions that never look at the picture.",
        epilog="example: unicon eval baselines nyu --data path/to/nyu_depth_v2",
    )
    top.add_argument("dataset", choices=["nyu"], help="nyu: NYU Depth v2, depth by mean map and constant")
    top.add_argument("--data", required=True, metavar="DIR", help="folder that holds metadata.jsonl")
    top.add_argument(
        "--alignment",
        choices=["scale_shift", "scale"],
        default="scale_shift",
        help="what is fitted per picture (default: scale_shift)",
    )
    return top


def _run(arguments: argparse.Namespace) -> str:
    photos = nyu_depth(arguments.data, "all")
    return markdown_table(nyu_baselines(photos, photos.names, arguments.alignment))


main = command(parser, _run)
