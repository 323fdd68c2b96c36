"""Do annotators keep their promise about maps, find their weights, and say how to get them?"""

from __future__ import annotations

import json
import sys

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
)
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

from tests.conditions.test_drawings import person
from unicon.conditions.annotators import CARDS, find_card, open_annotator
from unicon.conditions.annotators.depth import predicted
from unicon.conditions.annotators.weights import fetch_command
from unicon.conditions.edges import canny
from unicon.conditions.palettes import depth_to_map
from unicon.conditions.pose_files import joints_as_json, read_joints
from unicon.conditions.pose_reading import read_pose
from unicon.data.scenes import SceneConfig, render
from unicon.mini import mini_folder


def photo() -> PIL.Image.Image:
    """The real photograph that ships with the package."""
    with PIL.Image.open(mini_folder().parent / "photo.jpg") as image:
        return image.convert("RGB")


def lively(model):
    """Weights large enough for the output to depend on the picture."""
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=1.5 / weight[0].numel() ** 0.5)
    last = [weight for name, weight in model.named_parameters() if name.endswith("bias")][-1]
    torch.nn.init.constant_(last, 10)  # before a ReLU
    return model


@pytest.fixture(scope="module")
def depth_anything(tmp_path_factory):
    """A Depth Anything folder of tiny random weights, as `relative` and `metric` models are saved."""
    torch.manual_seed(0)
    backbone = Dinov2Config(
        image_size=28, patch_size=14, hidden_size=12, num_hidden_layers=4, num_attention_heads=2,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=12, patch_size=14, fusion_hidden_size=8,
        neck_hidden_sizes=[4, 6, 8, 10], head_hidden_size=4,
    )  # fmt: skip
    folders = {}
    model = lively(DepthAnythingForDepthEstimation(config))
    for kind in ("relative", "metric"):
        folders[kind] = tmp_path_factory.mktemp(kind)
        model.config.depth_estimation_type = kind
        model.save_pretrained(folders[kind])
        DPTImageProcessorPil(
            size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14
        ).save_pretrained(folders[kind])
    return folders


@pytest.fixture(scope="module")
def dpt(tmp_path_factory):
    torch.manual_seed(0)
    config = DPTConfig(
        hidden_size=12, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16, image_size=32,
        patch_size=8, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[4, 6, 8, 10],
        fusion_hidden_size=8, is_hybrid=False,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("dpt")
    lively(DPTForDepthEstimation(config)).save_pretrained(folder)
    DPTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def own_prediction(folder, model_class, picture):
    """The network called as its documentation does."""
    model = model_class.from_pretrained(folder).eval()
    inputs = DPTImageProcessorPil.from_pretrained(folder)(images=picture, return_tensors="pt")
    with torch.inference_mode():
        depth = model(**inputs).predicted_depth[0].numpy()
    return cv2.resize(depth, picture.size, interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("size", [(80, 60), (30, 90)])
def test_depth_anything_draws_inverse_depth_with_near_bright(depth_anything, size):
    picture = photo().resize(size)
    drawn = open_annotator("depth", weights=depth_anything["relative"])(picture)
    assert (drawn.shape, drawn.dtype) == ((size[1], size[0], 3), np.float32)
    assert (drawn.min(), drawn.max()) == (0, 1)
    inverse = own_prediction(depth_anything["relative"], DepthAnythingForDepthEstimation, picture)
    low, high = np.quantile(inverse, [0.02, 0.98])
    np.testing.assert_allclose(drawn[..., 0], np.clip((inverse - low) / (high - low), 0, 1), atol=1e-5)


def test_metric_depth_is_drawn_the_other_way_round(depth_anything):
    drawn = open_annotator("depth", weights=depth_anything["metric"])(photo())
    depth = own_prediction(depth_anything["metric"], DepthAnythingForDepthEstimation, photo())
    np.testing.assert_allclose(drawn, depth_to_map(depth), atol=1e-5)
    assert drawn.std() > 0.1


def test_dpt_draws_inverse_depth(dpt):
    annotator = open_annotator("depth", "dpt", weights=dpt)
    inverse = own_prediction(dpt, DPTForDepthEstimation, photo())
    assert depth_to_map(inverse).std() > 0.1
    np.testing.assert_allclose(annotator(photo()), depth_to_map(-inverse), atol=1e-5)
    assert annotator.facts()["weights"] == str(dpt)
    assert annotator.facts()["licence"] is None


def test_a_border_that_a_processor_adds_is_taken_off_again():
    from types import SimpleNamespace

    from transformers.models.zoedepth.image_processing_pil_zoedepth import ZoeDepthImageProcessorPil

    class Brightness:
        device = "cpu"

        def __call__(self, pixel_values):
            return SimpleNamespace(predicted_depth=pixel_values.mean(1))

    picture = np.zeros((240, 320, 3), np.uint8)
    picture[100:110] = picture[:, 40:60] = 255
    found = predicted(Brightness(), ZoeDepthImageProcessorPil(), PIL.Image.fromarray(picture))
    assert found.shape == (240, 320)
    bright = found > (found.min() + found.max()) / 2
    assert np.flatnonzero(bright[:, 200])[[0, -1]].tolist() == [100, 109]
    assert np.flatnonzero(bright[50])[[0, -1]].tolist() == [40, 59]


def test_a_depth_network_of_unknown_direction_is_refused(dpt, tmp_path):
    config = json.loads((dpt / "config.json").read_text())
    from unicon.conditions.annotators.depth import gives_distance

    config = DPTConfig(**{k: v for k, v in config.items() if k != "model_type"})
    config.model_type = "new_kind"
    with pytest.raises(ValueError, match="kind 'new_kind': whether its output is depth or inverse depth"):
        gives_distance(config)


def test_a_depth_network_that_breaks_is_named(dpt, tmp_path):
    model = DPTForDepthEstimation.from_pretrained(dpt)
    with torch.no_grad():
        model.head.head[-2].bias.fill_(float("nan"))
    model.save_pretrained(tmp_path)
    DPTImageProcessorPil.from_pretrained(dpt).save_pretrained(tmp_path)
    annotator = open_annotator("depth", "dpt", weights=tmp_path)
    with pytest.raises(ValueError, match="gave NaN or infinite values"):
        annotator(photo())


def test_canny_finds_the_outlines_of_a_rendered_scene_and_of_a_photograph():
    annotator = open_annotator("edge")
    scene = render(3, SceneConfig(size=128))
    found = annotator(PIL.Image.fromarray(scene.image))[..., 0] > 0
    near_outline = cv2.dilate(scene.edges.astype(np.uint8), np.ones((5, 5))) > 0
    assert near_outline[found].mean() > 2 * near_outline.mean()
    drawn = annotator(photo())
    assert np.array_equal(drawn[..., 0] > 0, canny(np.asarray(photo())))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert annotator.facts() == {
        "annotator": "canny", "palette": "1 on an edge of one pixel, 0 elsewhere", "weights": None,
        "revision": None, "licence": "Apache-2.0, this project", "settings": {"low": 80.0, "high": 180.0},
    }  # fmt: skip


@pytest.mark.parametrize("turned", [False, True])
def test_keypoints_beside_a_picture_are_drawn_at_its_size(tmp_path, turned):
    picture, exif = PIL.Image.new("RGB", (128, 128)), PIL.Image.Exif()
    picture = picture.resize((128, 160) if turned else (160, 128))
    if turned:
        exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "a.json").write_text(
        json.dumps({"people": [{"pose_keypoints_2d": person().ravel().tolist()}]})
    )
    # The joints are those of the upright 160 x 128 picture; the picture is looked at at twice its size.
    drawn = open_annotator("pose", "keypoints")(PIL.Image.new("RGB", (320, 256)), tmp_path / "a.jpg")
    assert drawn.shape == (256, 320, 3)
    (found,) = read_pose(drawn)
    seen = found[:, 2] > 0
    assert seen.sum() >= 14
    expected = (person()[:, :2] + 0.5) * 2 - 0.5
    assert np.hypot(*(found[seen, :2] - expected[seen]).T).max() < 3


def test_joints_survive_their_file(tmp_path):
    people = [person(), person(shift=10, hidden=(3, 4))]
    (tmp_path / "a.json").write_text(json.dumps(joints_as_json(people, (128, 100))))
    read = read_joints(tmp_path / "a.json", (128, 100), canvas=(1, 1))
    np.testing.assert_allclose(read, people, atol=0.01)


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "a.json: no such file; expected the joints"),
        ("{", "a.json: holds no joints"),
        ("[]", "a.json: holds no joints"),
        ('{"people": [{"pose_keypoints_2d": [1, 2]}]}', "a.json: holds no joints"),
        ('{"people": [], "canvas_width": 0}', "a.json: holds no joints"),
    ],
)
def test_files_without_joints_are_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_joints(tmp_path / "a.json", (8, 8), canvas=(8, 8))


def test_keypoints_need_a_file():
    with pytest.raises(ValueError, match="reads STEM.json beside a picture"):
        open_annotator("pose", "keypoints")(photo())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("smell",), "condition 'smell': no annotator makes it; choose one of depth, edge, pose, normal"),
        (("edge", "midas"), "annotator 'midas': makes no edge; choose one of canny, hed"),
    ],
)
def test_unknown_annotators_list_the_known_ones(arguments, message):
    with pytest.raises(ValueError, match=message):
        open_annotator(*arguments)


def test_weights_that_cannot_be_had_come_with_the_command_that_fetches_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    command = (
        "run: hf download depth-anything/Depth-Anything-V2-Small-hf "
        "--revision 870a35c76c2bc1d82fbde922d95015496cb7dd6c;"
    )
    with pytest.raises(ValueError, match=command):
        open_annotator("depth")


def test_folders_of_weights_are_checked(tmp_path):
    with pytest.raises(ValueError, match="no such folder; name one that holds config.json and model.safe"):
        open_annotator("depth", weights=tmp_path / "none")
    with pytest.raises(ValueError, match="annotator canny needs no weights; leave out 'x'"):
        open_annotator("edge", weights="x")


def test_a_missing_extra_is_named_with_the_command_that_installs_it(monkeypatch):
    from unicon.extras import MissingExtra

    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(
        MissingExtra, match="torchvision is not installed; install it with: pip install -e .*anno"
    ):
        open_annotator("edge", "hed")


def test_a_torchvision_of_another_torch_is_named(monkeypatch):
    import unicon.conditions.annotators.detectors as detectors

    def broken(module, *, extra):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(detectors, "need", broken)
    with pytest.raises(ValueError, match="torchvision::nms does not exist.; run: unicon doctor"):
        open_annotator("edge", "hed")


def test_every_card_says_what_it_needs():
    assert len({(card.condition, card.name) for card in CARDS}) == len(CARDS)
    for card in CARDS:
        assert card.palette
        assert card.licence
        assert (card.hub is None) == (card.name in ("canny", "keypoints"))
        if card.hub is not None:
            assert fetch_command(card).startswith(f"hf download {card.hub} {' '.join(card.files)}".strip())
            assert len(str(card.revision)) == 40
    assert [find_card(c).name for c in ("depth", "edge", "pose", "normal")] == [
        "depth-anything-v2", "canny", "openpose", "normalbae",
    ]  # fmt: skip
