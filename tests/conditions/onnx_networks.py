"""How are small networks made that see what DWPose's do, and answer as they do?

They are what is published in everything but their weights: the same inputs, the same answers, in ONNX files.
The one for people knows them by a square left of them that fills a cell: blue in the grid of 8 pixels, green
in that of 16, red in that of 32. Another colour on top says that it is no person. The one for joints knows
each of COCO's 17 by a spot of its own hue, brightest in its middle.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from unicon.conditions.annotators import dwpose, yolox
from unicon.conditions.pose import COCO_FROM_OPENPOSE, COLOURS

SIDES_PX = {8: (96, 240), 16: (128, 300), 32: (200, 500)}
"""Width and height of every person of a grid, in the 640 pixels that the network sees."""
AWAY_PX = 256
"""How far right of the middle of its square a person's middle is."""
NUM_JOINTS = len(COCO_FROM_OPENPOSE)
_SPOT = 20.0
"""How fast a pixel of another hue stops to speak for a joint."""


def save_people_network(path: Path) -> None:
    """A detector with YOLOX's input and answer. Input: blue, green, red, 0 to 255."""
    grids = [_grid(number, stride) for number, stride in enumerate(yolox.STRIDES)]
    nodes = [node for grid in grids for node in grid[0]]
    nodes += [
        helper.make_node("Concat", [f"cells{n}" for n in range(len(grids))], ["all"], axis=2),
        helper.make_node("Transpose", ["all"], ["output"], perm=[0, 2, 1]),
    ]
    tensors = {name: array for grid in grids for name, array in grid[1].items()}
    side = yolox.SIDE_PX
    _save(path, nodes, tensors, ("images", (1, 3, side, side)), [("output", yolox.ANSWERS[0])])


def _grid(number: int, stride: int):
    """Mean colour of every cell -> its box, and how sure a square of this grid's colour makes."""
    width, height = (np.log(side / stride) for side in SIDES_PX[stride])
    weights, bias = np.zeros((5 + yolox.NUM_CLASSES, 3)), np.zeros(5 + yolox.NUM_CLASSES)
    bias[:4] = 0.5 + AWAY_PX / stride, 0.5, width, height
    weights[4, number], bias[4] = 10 / 255, -9.0  # sure only where the square fills the cell
    others = [channel for channel in range(3) if channel != number]
    weights[5], bias[5] = [0 if channel == number else -1 / 255 for channel in range(3)], 1.0
    weights[6, others] = 1 / 255
    n, ends = number, np.array([1, 5 + yolox.NUM_CLASSES, (yolox.SIDE_PX // stride) ** 2], np.int64)
    nodes = [
        helper.make_node(
            "AveragePool", ["images"], [f"mean{n}"], kernel_shape=[stride] * 2, strides=[stride] * 2
        ),
        helper.make_node("Conv", [f"mean{n}", f"weights{n}", f"bias{n}"], [f"raw{n}"]),
        helper.make_node("Reshape", [f"raw{n}", f"ends{n}"], [f"flat{n}"]),
        helper.make_node("Split", [f"flat{n}", f"parts{n}"], [f"box{n}", f"sure{n}"], axis=1),
        helper.make_node("Clip", [f"sure{n}", "zero", "one"], [f"clipped{n}"]),
        helper.make_node("Concat", [f"box{n}", f"clipped{n}"], [f"cells{n}"], axis=1),
    ]
    tensors = {
        f"weights{n}": weights[:, :, None, None], f"bias{n}": bias, f"ends{n}": ends,
        f"parts{n}": np.array([4, 1 + yolox.NUM_CLASSES], np.int64), "zero": np.array(0.0),
        "one": np.array(1.0),
    }  # fmt: skip
    return nodes, tensors


def save_joints_network(path: Path) -> None:
    """A SimCC network of 133 points. Input: red, green, blue, less their mean by their deviation."""
    colours = joint_colours()
    # 1 - |rgb - colour|^2 per joint, of rgb and its square.
    weights = np.concatenate([2 * _SPOT * colours, np.full((NUM_JOINTS, 3), -_SPOT)], axis=1)
    bias = 1 - _SPOT * (colours**2).sum(axis=1)
    scale, shift = dwpose._DEVIATION / 255, dwpose._MEAN / 255
    nodes = [
        helper.make_node("Mul", ["input", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["rgb"]),
        helper.make_node("Mul", ["rgb", "rgb"], ["squared"]),
        helper.make_node("Concat", ["rgb", "squared"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "weights", "bias"], ["raw"]),
        helper.make_node("Relu", ["raw"], ["spots"]),
    ]
    for name, axis in (("x", 2), ("y", 3)):
        nodes += [
            helper.make_node("ReduceMax", ["spots"], [f"best_{name}"], axes=[axis], keepdims=0),
            # A pixel's first half says what the pixel does, its second nothing.
            helper.make_node("Reshape", [f"best_{name}", f"column_{name}"], [f"pixels_{name}"]),
            helper.make_node("Pad", [f"pixels_{name}", "half"], [f"halves_{name}"]),
            helper.make_node("Reshape", [f"halves_{name}", f"row_{name}"], [f"joints_{name}"]),
            helper.make_node("Pad", [f"joints_{name}", "rest"], [f"simcc_{name}"]),
        ]
    tensors = {
        "scale": scale[None, :, None, None], "shift": shift[None, :, None, None],
        "weights": weights[:, :, None, None], "bias": bias,
        "half": np.array([0, 0, 0, 0, 0, 0, 0, 1], np.int64),
        "rest": np.array([0, 0, 0, 0, dwpose.NUM_POINTS - NUM_JOINTS, 0], np.int64),
    }  # fmt: skip
    for name, places in (("x", dwpose.WIDTH_PX), ("y", dwpose.HEIGHT_PX)):
        tensors[f"column_{name}"] = np.array([1, NUM_JOINTS, places, 1], np.int64)
        tensors[f"row_{name}"] = np.array([1, NUM_JOINTS, 2 * places], np.int64)
    seen = (1, 3, dwpose.HEIGHT_PX, dwpose.WIDTH_PX)
    answers = [("simcc_x", dwpose.ANSWERS[0]), ("simcc_y", dwpose.ANSWERS[1])]
    _save(path, nodes, tensors, ("input", seen), answers)


def joint_colours() -> np.ndarray:
    """Red, green, blue in [0, 1] of the spots of COCO's 17 joints, dark enough to be no person's square."""
    return COLOURS[:NUM_JOINTS] * 0.8 / 255


def _save(path, nodes, tensors, seen, answers) -> None:
    def info(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    kept = [
        numpy_helper.from_array(array if array.dtype == np.int64 else np.asarray(array, np.float32), name)
        for name, array in tensors.items()
    ]
    graph = helper.make_graph(nodes, "small", [info(*seen)], [info(*each) for each in answers], kept)
    # Older than what is current, as the published files are: every OpenCV from 4.9 on reads it.
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
