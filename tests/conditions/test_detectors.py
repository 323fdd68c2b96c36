"""Do the detectors of controlnet-aux load from the files they are published in, and give maps as promised?

The networks are theirs, with random weights; those of a hundred million weights are handed over in memory.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from importlib.util import find_spec

import cv2
import numpy as np
import PIL.Image
import pytest
import torch

from tests.conditions.test_annotators import photo
from tests.conditions.test_drawings import STANDING
from unicon.conditions.annotators import detectors, find_card
from unicon.conditions.annotators.detectors import BUILDERS, READERS
from unicon.conditions.annotators.opening import Annotator
from unicon.conditions.pose_reading import read_pose

pytestmark = [
    pytest.mark.skipif(find_spec("controlnet_aux") is None, reason="the extra annotators is not installed"),
    # What controlnet-aux, timm and their friends say to themselves is not ours to mend.
    pytest.mark.filterwarnings("ignore"),
]

SIDE_PX = 64
"""Of what the networks see, instead of 512."""


@pytest.fixture(scope="module")
def aux():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return detectors.import_aux()


def network(name):
    """The published class with random weights that let the picture through."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "hed":
            from controlnet_aux.hed import ControlNetHED_Apache2 as Network
        elif name == "pidinet":
            from controlnet_aux.pidi.model import pidinet as Network
        elif name == "teed":
            from controlnet_aux.teed.ted import TED as Network
        elif name == "lineart":
            from controlnet_aux.lineart import Generator

            return Generator(3, 1, 3)
        elif name == "midas":
            from controlnet_aux.midas.midas.dpt_depth import DPTDepthModel

            return DPTDepthModel(path=None, backbone="vitb_rn50_384", non_negative=True)
        elif name == "leres":
            from controlnet_aux.leres.leres.multi_depth_model_woauxi import RelDepthModel

            return RelDepthModel(backbone="resnext101")
        elif name == "zoe":
            from controlnet_aux.zoe.zoedepth.models.zoedepth.zoedepth_v1 import ZoeDepth
            from controlnet_aux.zoe.zoedepth.utils.config import get_config

            return ZoeDepth.build_from_config(get_config("zoedepth", "infer"))
        elif name == "openpose":
            from controlnet_aux.open_pose.model import bodypose_model as Network
        else:
            from types import SimpleNamespace

            from controlnet_aux.normalbae.nets.NNET import NNET

            asked = {"mode": "client", "architecture": "BN", "sampling_ratio": 0.4, "importance_ratio": 0.7}
            return NNET(SimpleNamespace(pretrained="scannet", **asked))
        return Network()


def published(name, model):
    """The content of the file a network is published in."""
    tensors = model.state_dict()
    if name == "pidinet":
        return {"state_dict": {f"module.{key}": value for key, value in tensors.items()}, "epoch": 19}
    if name == "leres":
        return {"depth_model": {f"module.{key}": value for key, value in tensors.items()}}
    if name == "zoe":
        return {"model": {**tensors, "core.blocks.0.attn.relative_position_index": torch.zeros(2)}}
    if name == "normalbae":
        return {"model": {f"module.{key}": value for key, value in tensors.items()}}
    if name == "openpose":  # without the names of its two halves
        return {key.partition(".")[2]: value for key, value in tensors.items()}
    if name == "hed":
        return {key: value.half() for key, value in tensors.items()}
    return tensors


CONDITION = {"openpose": "pose", "normalbae": "normal", "midas": "depth", "zoe": "depth", "leres": "depth"}


def small_card(name):
    return replace(find_card(CONDITION.get(name, "edge"), name), work_px=SIDE_PX)


def opened(name, folder, model) -> Annotator:
    """The annotator as its card opens it from a folder."""
    card = small_card(name)
    torch.save(published(name, model), folder / card.files[0])
    draw, provenance = detectors.open_detector(card, folder, "cpu")
    return Annotator(card=card, provenance=provenance, draw=draw)


@pytest.mark.parametrize("name", ["hed", "pidinet", "teed", "lineart"])
def test_edge_detectors_agree_with_their_own_loaders(aux, tmp_path, name):
    picture = photo().resize((96, 72))
    annotator = opened(name, tmp_path, network(name))
    drawn = annotator(picture)
    assert (drawn.shape, drawn.dtype) == ((72, 96, 3), np.float32)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    file = annotator.card.files[0]
    reference = {
        "hed": lambda: aux.HEDdetector.from_pretrained(str(tmp_path), filename=file),
        "pidinet": lambda: aux.PidiNetDetector.from_pretrained(str(tmp_path), filename=file),
        "teed": lambda: aux.TEEDdetector.from_pretrained(str(tmp_path), filename=file),
        "lineart": lambda: aux.LineartDetector.from_pretrained(
            str(tmp_path), filename=file, coarse_filename=file
        ),
    }[name]()
    own = reference(np.asarray(picture), detect_resolution=SIDE_PX, output_type="np")
    own = cv2.resize(np.asarray(own), picture.size, interpolation=cv2.INTER_LINEAR) / 255
    np.testing.assert_allclose(drawn, own, atol=1.5 / 255)
    assert annotator.facts()["weights"] == str(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["midas", "leres", "zoe", "normalbae", "openpose"])
def test_large_detectors_take_their_published_layout_and_give_maps(aux, name):
    card = small_card(name)
    detector = BUILDERS[name](aux, published(name, network(name)))
    if name == "zoe":  # its network sees 512 x 384 pixels, twice, whatever it is asked for
        prepare = detector.model.core.prep
        prepare.resizer = type(prepare.resizer)(
            128, 96, keep_aspect_ratio=True, ensure_multiple_of=32, resize_method="minimal"
        )
    draw = READERS.get(name, detectors._drawn)(detector, card)
    annotator = Annotator(card=card, provenance={"weights": None, "revision": None}, draw=draw)
    drawn = annotator(photo().resize((96, 72)))
    assert (drawn.shape, drawn.dtype) == ((72, 96, 3), np.float32)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    if name != "openpose":  # random weights see nobody
        assert drawn.std() > 0


def test_joints_that_openpose_finds_are_drawn_where_they_are(aux):
    """Its own grouping of joints is left out: the network's answer is given, for a picture of 128 pixels."""
    from controlnet_aux.open_pose.body import Body, BodyResult, Keypoint

    class Known(Body):
        def __init__(self):
            pass

        def __call__(self, seen):
            self.scale = seen.shape[0] / 128
            return None, None

        def format_body_result(self, candidate, subset):
            joints = [Keypoint(x=x * self.scale, y=y * self.scale) for x, y in STANDING]
            joints[4] = None
            return [BodyResult(keypoints=joints, total_score=1.0, total_parts=17)]

    draw = READERS["openpose"](detectors._Body(aux.OpenposeDetector(Known())), small_card("openpose"))
    drawn = draw(PIL.Image.new("RGB", (128, 128)), None)
    (found,) = read_pose(drawn)
    assert found[4, 2] == 0
    seen = found[:, 2] > 0
    assert seen.sum() >= 13
    assert np.hypot(*(found[seen, :2] - STANDING[seen]).T).max() < 2.5


@pytest.mark.parametrize(
    "content, message",
    [
        (b"no file of tensors", "ControlNetHED.pth: is no file of weights"),
        ([1, 2], "ControlNetHED.pth: holds a list; expected named tensors"),
        ({"norm": torch.zeros(1, 3, 1, 1)}, "weights of hed do not fit its network: .*Missing key"),
    ],
)
def test_files_that_are_no_weights_are_named(aux, tmp_path, content, message):
    path = tmp_path / "ControlNetHED.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        detectors.open_detector(find_card("edge", "hed"), tmp_path, "cpu")


def test_a_file_of_another_layout_or_a_missing_one_is_named(aux, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "table5_pidinet.pth")
    with pytest.raises(ValueError, match="weights of pidinet hold no 'state_dict', only a"):
        detectors.open_detector(find_card("edge", "pidinet"), tmp_path, "cpu")
    with pytest.raises(
        ValueError, match=r"run: hf download fal-ai/teed 5_model.pth --revision \w+ --local-dir"
    ):
        detectors.open_detector(find_card("edge", "teed"), tmp_path, "cpu")
