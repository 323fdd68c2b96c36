"""How is a network in an ONNX file read and run, with nothing but OpenCV?

OpenCV is a core dependency and its networks run on the processor, so what is published as ONNX needs neither
onnxruntime nor the package it was trained with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

Shapes = tuple[tuple[int, ...], ...]

_HUGE = 1e30
"""OpenCV's layers make the largest number there is of NaN and infinity; no answer is meant to be so large."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxNetwork:
    """One network that answers every input of one shape with outputs of known, distinct shapes."""

    file: Path
    outputs: Shapes
    """What it has to answer, in the order it is returned; its own order and names do not matter."""
    net: Any

    def __call__(self, planes: np.ndarray) -> list[np.ndarray]:
        """Input float32 (1, channels, height, width) -> its outputs, float32, of the shapes in `outputs`.

        Raises ValueError naming the file for a network that does not run, answers in other shapes, or NaN.
        """
        found = {answer.shape: answer for answer in self._answers(planes)}
        for shape in self.outputs:
            if shape not in found:
                shapes = " and ".join(str(each) for each in found) or "nothing"
                raise ValueError(
                    f"{self.file}: its network answers {shapes}; expected {shape}: is it the published file?"
                )
            if not (np.abs(found[shape]) < _HUGE).all():
                raise ValueError(f"{self.file}: its network answered NaN or infinity; download it again")
        return [found[shape] for shape in self.outputs]

    def _answers(self, planes: np.ndarray) -> list[np.ndarray]:
        with _named(self.file, f"does not run on an input of shape {planes.shape}"):
            self.net.setInput(np.ascontiguousarray(planes, np.float32))
            answers = self.net.forward(self.net.getUnconnectedOutLayersNames())
            return [np.asarray(answer, np.float32) for answer in answers]


def open_onnx(file: Path, outputs: Shapes) -> OnnxNetwork:
    """The network of a file. Raises ValueError naming a file that holds none that OpenCV can read."""
    with _named(file, "is no network that OpenCV can read"):
        net = cv2.dnn.readNetFromONNX(str(file))
    if net.empty():
        raise ValueError(f"{file}: is no network that OpenCV can read (it is empty); download it again")
    return OnnxNetwork(file=file, outputs=outputs, net=net)


@contextmanager
def _named(file: Path, what: str) -> Iterator[None]:
    """What OpenCV raises, as a ValueError that names the file."""
    try:
        yield
    except cv2.error as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{file}: {what} ({reason}); download it again") from error
