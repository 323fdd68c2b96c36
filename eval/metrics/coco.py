"""What does COCO's own evaluation say of predicted figures? (extra `engines`: pycocotools)

Leaves out scoring without it (`eval.metrics.oks`, which equals it for all areas).
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.metrics.oks import Figures
from unicon.extras import need

NAMES = ("ap", "ap50", "ap75", "ap_medium", "ap_large", "ar", "ar50", "ar75", "ar_medium", "ar_large")
_FAR_PX = 1e7
"""Where a joint goes that was not predicted: COCO reads places, not visibility, of predictions."""


def coco_files(predicted: str | Path, truth: str | Path) -> dict[str, float]:
    """The ten numbers of COCO's keypoint evaluation of a results file against an annotation file, by `NAMES`.

    A number that has no truth to speak of (no medium figure, say) is left out. Raises ValueError for files
    that are no such JSON, MissingExtra without pycocotools.
    """
    records, annotations = _read(predicted), _read(truth)
    if not isinstance(records, list) or not isinstance(annotations, dict):
        raise ValueError(
            f"{predicted}, {truth}: expected a list of results and an object of COCO annotations"
        )
    return _evaluate(annotations, records, str(predicted))


def coco_stats(predicted: Sequence[Figures], truth: Sequence[Figures]) -> dict[str, float]:
    """The same for `Figures`, one per picture.

    Areas of predictions that lack joints are not known to COCO, so only the numbers over all areas are told.
    """
    if not len(predicted) == len(truth) > 0:
        raise ValueError(f"got figures of {len(predicted)} predicted and {len(truth)} true pictures")
    annotations, records = _annotations(truth), []
    for image, people in enumerate(predicted, start=1):
        for joints, score in zip(people.joints, people.scores, strict=True):
            placed = np.where(joints[:, 2:] > 0, joints, [_FAR_PX, _FAR_PX, 0])
            records.append(
                {"image_id": image, "category_id": 1, "keypoints": placed.ravel().tolist(), "score": score}
            )
    if not records:
        raise ValueError("no predicted figure: pycocotools has nothing to score; AP and AR are 0")
    found = _evaluate(annotations, records, "predictions")
    return {name: value for name, value in found.items() if "medium" not in name and "large" not in name}


def _annotations(truth: Sequence[Figures]) -> dict[str, Any]:
    rows = [
        {
            "id": 0, "image_id": image, "category_id": 1, "iscrowd": 0, "keypoints": joints.ravel().tolist(),
            "num_keypoints": int((joints[:, 2] > 0).sum()), "area": float(area), "bbox": [0, 0, 1, 1],
        }
        for image, people in enumerate(truth, start=1)
        for joints, area in zip(people.joints, people.areas, strict=True)
        if (joints[:, 2] > 0).any()
    ]  # fmt: skip
    for number, row in enumerate(rows, start=1):
        row["id"] = number
    pictures = [{"id": image} for image in range(1, len(truth) + 1)]
    return {"info": {}, "images": pictures, "annotations": rows, "categories": [{"id": 1, "name": "person"}]}


def _evaluate(annotations: dict[str, Any], records: list[Any], name: str) -> dict[str, float]:
    need("pycocotools", extra="engines")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = annotations
        try:
            truth.createIndex()
            results: Any = records  # a list does as well as the path that is declared
            evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        except (AssertionError, KeyError, IndexError, TypeError) as error:
            raise ValueError(
                f"{name}: is no COCO keypoint result of these annotations ({type(error).__name__}: {error})"
            ) from error
    return {key: float(value) for key, value in zip(NAMES, evaluation.stats, strict=True) if value >= 0}


def _read(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error})") from error
