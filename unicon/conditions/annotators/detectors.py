"""How are the detectors of controlnet-aux run?

MiDaS, ZoeDepth, LeReS; HED, PiDiNet, TEED, line art; OpenPose; NormalBae.

They are built here from their own classes and the files of the card, not by their `from_pretrained`: that
knows no revision, reads files that are not used (hands, faces, a second LeReS network whose options come from
`sys.argv`), and PiDiNet's does not load on a machine without the accelerator it was saved on. DWPose is
left out: controlnet-aux runs it through mmpose, mmdet and mmcv, `dwpose` here without any of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn

from unicon.conditions.annotators.cards import Card
from unicon.conditions.annotators.weights import provenance, weight_files
from unicon.conditions.pose import draw_pose
from unicon.extras import need


def open_detector(card: Card, weights: str | Path | None, device: str):
    """(draw, provenance) of a detector of controlnet-aux. Raises MissingExtra without the extra."""
    aux = import_aux()
    files = weight_files(card, weights)
    with _quiet():
        detector = BUILDERS[card.name](aux, *(_tensors(path) for path in files))
    detector.to(device)
    return READERS.get(card.name, _drawn)(detector, card), provenance(card, files[0])


def import_aux() -> Any:
    """The package, without its advice about packages of detectors that are not used here."""
    for module in ("torchvision", "timm", "controlnet_aux"):
        try:
            with _quiet():
                aux = need(module, extra="annotators")
        except RuntimeError as error:  # a torchvision built for another torch
            raise ValueError(
                f"{module} does not import ({str(error).splitlines()[0]}); run: unicon doctor"
            ) from error
    return aux


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _tensors(path: Path) -> dict[str, Any]:
    """What a .pth file holds; only tensors and plain containers, never code."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle's, zip's or torch's own, all meaning the same to a user
        raise ValueError(
            f"{path}: is no file of weights ({str(error).splitlines()[0][:200]}); download it again"
        ) from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: holds a {type(found).__name__}; expected named tensors")
    return found


def _loaded(network: nn.Module, tensors: dict[str, Tensor], name: str) -> nn.Module:
    """Every tensor in its place, none left over; data-parallel prefixes dropped."""
    try:
        network.load_state_dict({key.removeprefix("module."): value for key, value in tensors.items()})
    except RuntimeError as error:
        lines = " ".join(str(error).split())[:300]
        raise ValueError(f"weights of {name} do not fit its network: {lines}") from error
    return network.float().eval()


def _inside(tensors: dict[str, Any], key: str, name: str) -> dict[str, Tensor]:
    if not isinstance(tensors.get(key), dict):
        raise ValueError(f"weights of {name} hold no {key!r}, only {', '.join(list(tensors)[:3])}")
    return tensors[key]


def _midas(aux: Any, tensors: dict[str, Any]) -> Any:
    from controlnet_aux.midas.midas.dpt_depth import DPTDepthModel

    network = DPTDepthModel(path=None, backbone="vitb_rn50_384", non_negative=True)
    # Some published files carry the optimiser beside the model.
    return aux.MidasDetector(_loaded(network, tensors.get("model", tensors), "midas"))


def _zoe(aux: Any, tensors: dict[str, Any]) -> Any:
    from controlnet_aux.zoe.zoedepth.models.zoedepth.zoedepth_v1 import ZoeDepth
    from controlnet_aux.zoe.zoedepth.utils.config import get_config

    network = ZoeDepth.build_from_config(get_config("zoedepth", "infer"))
    # timm computes the index buffers that the file also holds, and which newer versions do not keep.
    wanted = network.state_dict()
    given = _inside(tensors, "model", "zoe")
    kept = {
        key: value for key, value in given.items() if key in wanted or "relative_position_index" not in key
    }
    return aux.ZoeDetector(_loaded(network, kept, "zoe"))


def _leres(aux: Any, tensors: dict[str, Any]) -> Any:
    from controlnet_aux.leres.leres.multi_depth_model_woauxi import RelDepthModel

    network = RelDepthModel(backbone="resnext101")
    return aux.LeresDetector(_loaded(network, _inside(tensors, "depth_model", "leres"), "leres"), None)


def _hed(aux: Any, tensors: dict[str, Any]) -> Any:
    from controlnet_aux.hed import ControlNetHED_Apache2

    return aux.HEDdetector(_loaded(ControlNetHED_Apache2(), tensors, "hed"))


def _pidinet(aux: Any, tensors: dict[str, Any]) -> Any:
    from controlnet_aux.pidi.model import pidinet

    return aux.PidiNetDetector(_loaded(pidinet(), _inside(tensors, "state_dict", "pidinet"), "pidinet"))


def _teed(aux: Any, tensors: dict[str, Any]) -> Any:
    from controlnet_aux.teed.ted import TED

    return aux.TEEDdetector(_loaded(TED(), tensors, "teed"))


def _lineart(aux: Any, tensors: dict[str, Any]) -> Any:
    from controlnet_aux.lineart import Generator

    fine = _loaded(Generator(3, 1, 3), tensors, "lineart")
    return aux.LineartDetector(fine, fine)  # the coarse network is not asked for


def _openpose(aux: Any, tensors: dict[str, Any]) -> Any:
    from controlnet_aux.open_pose import util
    from controlnet_aux.open_pose.body import Body
    from controlnet_aux.open_pose.model import bodypose_model

    body = Body.__new__(Body)  # its own __init__ loads a file by path
    network = bodypose_model()
    body.model = _loaded(network, util.transfer(network, tensors), "openpose")
    return _Body(aux.OpenposeDetector(body))


def _normalbae(aux: Any, tensors: dict[str, Any]) -> Any:
    from types import SimpleNamespace

    from controlnet_aux.normalbae.nets.NNET import NNET

    asked = SimpleNamespace(
        mode="client", architecture="BN", pretrained="scannet", sampling_ratio=0.4, importance_ratio=0.7
    )
    network = _loaded(NNET(asked), _inside(tensors, "model", "normalbae"), "normalbae")
    return aux.NormalBaeDetector(network)


class _Body:
    """OpenPose's body network alone."""

    def __init__(self, detector: Any):
        self.detector = detector

    def to(self, device: str) -> None:
        self.detector.body_estimation.to(device)


BUILDERS: dict[str, Callable[..., Any]] = {
    "midas": _midas, "zoe": _zoe, "leres": _leres, "hed": _hed, "pidinet": _pidinet, "teed": _teed,
    "lineart": _lineart, "openpose": _openpose, "normalbae": _normalbae,
}  # fmt: skip
"""controlnet_aux and the content of the card's files -> a detector."""


def _drawn(detector: Any, card: Card):
    """The detector's own picture."""

    def draw(picture: PIL.Image.Image, file: Path | None) -> np.ndarray:
        return np.asarray(detector(picture, detect_resolution=card.work_px, output_type="np"))

    return draw


def _people(body: _Body, card: Card):
    """The detector's joints in our drawing, which can be read back."""

    def draw(picture: PIL.Image.Image, file: Path | None) -> np.ndarray:
        from controlnet_aux.util import resize_image

        poses = body.detector.detect_poses(resize_image(np.asarray(picture), card.work_px))
        people = [_joints(pose.body.keypoints, picture.size) for pose in poses]
        return draw_pose(people, (picture.height, picture.width))

    return draw


def _joints(keypoints: list[Any], size: tuple[int, int]) -> np.ndarray:
    """Keypoints as fractions of a picture, None where there is none -> (18, 3) in pixels of `size`."""
    width, height = size
    return np.array([[k.x * width, k.y * height, 1.0] if k else [0.0, 0.0, 0.0] for k in keypoints])


READERS = {"openpose": _people}
