"""Does DWPose find people and joints that are known, in pictures of any shape, and name what is amiss?

Its published weights are not at hand: the networks are small ones with the same inputs and answers.
"""

from __future__ import annotations

import numpy as np
import onnx
import PIL.Image
import pytest

from tests.conditions.onnx_networks import (
    AWAY_PX,
    SIDES_PX,
    joint_colours,
    save_joints_network,
    save_people_network,
)
from tests.conditions.test_drawings import STANDING
from unicon.conditions.annotators import dwpose, find_card, open_annotator, yolox
from unicon.conditions.annotators.onnx_file import open_onnx
from unicon.conditions.pose import COCO_FROM_OPENPOSE, draw_pose
from unicon.conditions.pose_reading import read_pose

CARD = find_card("pose", "dwpose")
SQUARES = {8: (0, 0, 255), 16: (0, 255, 0), 32: (255, 0, 0)}
"""Red, green, blue of what tells a person of each grid."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Both networks as the hub has them."""
    place = tmp_path_factory.mktemp("dwpose")
    save_people_network(place / CARD.files[0])
    save_joints_network(place / CARD.files[1])
    return place


def planted(picture, stride, column, row, *, hidden=(), also=(0, 0, 0)):
    """Paint one person into a picture (H, W, 3): the square in that cell, and the joints; return them.

    `hidden` are not painted, `also` is added to the square's colour. All of it is in the network's pixels,
    640 along the longer side.
    """
    scale = max(picture.shape[:2]) / yolox.SIDE_PX
    left, top = (round(stride * number * scale) for number in (column, row))
    size = round(stride * scale)
    picture[top : top + size, left : left + size] = np.array(SQUARES[stride]) + also
    middle = np.array([(column + 0.5) * stride + AWAY_PX, (row + 0.5) * stride])
    places = (middle + (STANDING - (64, 67)) * SIDES_PX[stride][1] / 100) * scale
    joints = np.concatenate([places, np.ones((18, 1))], axis=1)
    joints[1, :2] = joints[[2, 5], :2].mean(axis=0)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    for number, colour in zip(COCO_FROM_OPENPOSE, joint_colours(), strict=True):
        if number not in hidden:
            away = (x - joints[number, 0]) ** 2 + (y - joints[number, 1]) ** 2
            spot = (255 * np.exp(-away / 2 / (2.5 * scale) ** 2)[..., None] * colour).round()
            brighter = spot.max(axis=-1) > picture.max(axis=-1)  # two hues are never mixed to a third
            picture[brighter] = spot[brighter]
    joints[list(hidden)] = 0
    return joints


def found_in(folder, picture):
    people = open_onnx(folder / CARD.files[0], yolox.ANSWERS)
    joints = open_onnx(folder / CARD.files[1], dwpose.ANSWERS)
    return dwpose.find_joints(people, joints, picture, settings=CARD.settings)


def matched(found, expected):
    """Each expected person's own among those found, by where they are."""
    assert len(found) == len(expected)
    centres = np.array([person[person[:, 2] > 0, :2].mean(axis=0) for person in found])
    return [
        found[np.hypot(*(centres - person[person[:, 2] > 0, :2].mean(axis=0)).T).argmin()]
        for person in expected
    ]


def black(height, width):
    return np.zeros((height, width, 3), np.uint8)


@pytest.mark.parametrize("stride, column, row", [(8, 4, 40), (16, 5, 20), (32, 1, 9)])
def test_a_planted_person_comes_back_to_a_pixel(folder, stride, column, row):
    picture = black(640, 640)
    expected = planted(picture, stride, column, row)
    (person,) = found_in(folder, picture)
    assert person[:, 2].all()
    assert np.hypot(*(person - expected)[:, :2].T).max() < 1


@pytest.mark.parametrize("height, width", [(400, 640), (800, 1280), (1280, 960), (320, 320)])
def test_pictures_of_any_shape_are_seen_in_the_networks_own_size(folder, height, width):
    picture = black(height, width)
    expected = planted(picture, 16, 2, 12)
    (person,) = found_in(folder, picture)
    # A pixel of what the network sees of the picture.
    assert np.hypot(*(person - expected)[:, :2].T).max() < max(height, width) / 640


def test_several_people_come_back_apart(folder):
    picture = black(640, 640)
    expected = [planted(picture, 8, 2, 18), planted(picture, 16, 14, 30)]
    for person, own in zip(expected, matched(found_in(folder, picture), expected), strict=True):
        assert np.hypot(*(own - person)[:, :2].T).max() < 1


def test_a_person_found_twice_is_one(folder):
    picture = black(640, 640)
    expected = planted(picture, 8, 4, 40)
    picture[320:328, 40:48] = SQUARES[8]  # the next cell, for a box 8 pixels further right
    (person,) = found_in(folder, picture)
    assert np.hypot(*(person - expected)[:, :2].T).max() < 1


@pytest.mark.parametrize("green, num", [(100, 1), (200, 0)])
def test_what_is_surely_no_person_is_left_out(folder, green, num):
    picture = black(640, 640)
    planted(picture, 8, 4, 40, also=(0, green, 0))
    assert len(found_in(folder, picture)) == num


def test_joints_that_are_not_seen_are_not_there_and_no_neck_without_both_shoulders(folder):
    picture = black(640, 640)
    expected = planted(picture, 16, 5, 20, hidden=(2, 4, 17))
    (person,) = found_in(folder, picture)
    assert np.flatnonzero(person[:, 2] == 0).tolist() == [1, 2, 4, 17]
    assert not person[[1, 2, 4, 17]].any()
    seen = person[:, 2] > 0
    assert np.hypot(*(person - expected)[seen, :2].T).max() < 1


def test_a_box_without_joints_is_nobody(folder):
    picture = black(640, 640)
    planted(picture, 16, 5, 20, hidden=range(18))
    assert found_in(folder, picture) == []


def test_the_annotator_draws_the_joints_at_the_pictures_size(folder):
    picture = black(640, 480)
    expected = planted(picture, 8, 1, 40)
    annotator = open_annotator("pose", "dwpose", weights=folder)
    drawn = annotator(PIL.Image.fromarray(picture))
    assert (drawn.shape, drawn.dtype) == ((640, 480, 3), np.float32)
    np.testing.assert_allclose(drawn, draw_pose(found_in(folder, picture), (640, 480)) / 255, atol=1e-6)
    (person,) = read_pose(drawn)
    seen = person[:, 2] > 0
    assert seen.sum() >= 16
    assert np.median(np.hypot(*(person - expected)[seen, :2].T)) < 1
    assert not annotator(PIL.Image.new("RGB", (90, 70))).any()
    facts = annotator.facts()
    assert (facts["weights"], facts["licence"]) == (str(folder), None)
    assert facts["settings"] == {"person": 0.3, "overlap": 0.45, "joint": 0.3}


def test_the_square_is_in_the_order_of_colours_and_grey_of_training():
    square, scale = yolox.letterbox(np.full((10, 20, 3), (1, 2, 3), np.uint8))
    assert (square.shape, square.dtype, scale) == ((1, 3, 640, 640), np.float32, 32)
    assert np.unique(square[0, :, :320].reshape(3, -1), axis=1).T.tolist() == [[3, 2, 1]]
    assert np.unique(square[0, :, 320:]) == [114]


def test_boxes_are_decoded_in_the_grids_order():
    """One box per grid, at known cells, against the formula written out."""
    answer = np.zeros(yolox.ANSWERS[0][1:], np.float32)
    for first, side, stride in ((0, 80, 8), (6400, 40, 16), (8000, 20, 32)):
        answer[first + 3 * side + 5] = [0.25, 0.5, np.log(2), np.log(4), 0.8, 0.5, *[1.0] * 79]
        boxes, scores = yolox.decoded(answer)
        expected = [5.25 * stride, 3.5 * stride, 2 * stride, 4 * stride]
        np.testing.assert_allclose(boxes[first + 3 * side + 5], expected, rtol=1e-6)
        assert scores[first + 3 * side + 5] == pytest.approx(0.4)
    assert np.isfinite(yolox.decoded(np.full_like(answer, 1000))[0]).all()


def test_a_cut_out_keeps_the_persons_ratio_with_a_margin_of_a_quarter():
    wide, tall = (
        dwpose.CutOut.around(np.array([10, 20, 298, 116])),
        dwpose.CutOut.around(np.array([0, 0, 10, 384])),
    )
    assert (wide.px, tall.px) == (1.25, 1.25)
    corners = wide.to_picture(np.array([[0, 0], [288, 384]]))
    np.testing.assert_allclose(corners, [[154 - 180, 68 - 240], [154 + 180, 68 + 240]])
    ramp = np.repeat(np.arange(400, dtype=np.uint8)[None, :, None] // 2, 3, axis=2).repeat(400, axis=0)
    cut = dwpose.CutOut(centre=np.array([200.0, 200.0]), px=1.0).of(ramp)
    assert np.array_equal(cut[:, :, 0], ramp[8:392, 56:344, 0])


def test_the_less_sure_coordinate_is_how_sure_a_place_is():
    x, y = np.zeros(dwpose.ANSWERS[0], np.float32), np.zeros(dwpose.ANSWERS[1], np.float32)
    x[0, 3, 201], y[0, 3, 400] = 0.9, 0.2
    places, scores = dwpose.located(x, y)
    assert places[3].tolist() == [100.5, 200]
    assert scores[3] == np.float32(0.2)


def copied(folder, to, **files):
    """A copy of the folder with other content in some files, named by their first letters."""
    for name in CARD.files:
        content = next((new for start, new in files.items() if name.startswith(start)), None)
        (to / name).write_bytes((folder / name).read_bytes() if content is None else content)
    return to


@pytest.mark.parametrize("start, name", [("yolox", "yolox_l.onnx"), ("dw", "dw-ll_ucoco_384.onnx")])
@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"half"])
def test_a_file_that_is_no_network_is_named(folder, tmp_path, start, name, content):
    if content == b"half":
        content = (folder / name).read_bytes()[:-200]
    copied(folder, tmp_path, **{start: content})
    with pytest.raises(ValueError, match=f"{name}: is no network that OpenCV can read .*; download it again"):
        open_annotator("pose", "dwpose", weights=tmp_path)


def test_a_network_of_another_kind_is_named(folder, tmp_path):
    copied(folder, tmp_path, yolox=(folder / CARD.files[1]).read_bytes())
    annotator = open_annotator("pose", "dwpose", weights=tmp_path)
    with pytest.raises(ValueError, match=r"yolox_l.onnx: .*\(1, 3, 640, 640\)|answers .*expected \(1, 8400"):
        annotator(PIL.Image.new("RGB", (64, 64)))


def test_a_network_that_answers_something_else_is_named(folder):
    network = open_onnx(folder / CARD.files[0], ((1, 8400, 7),))
    with pytest.raises(ValueError, match=r"answers \(1, 8400, 85\); expected \(1, 8400, 7\): is it the pub"):
        network(np.zeros((1, 3, 640, 640)))


def test_a_network_that_answers_nan_is_named(folder, tmp_path):
    model = onnx.load(folder / CARD.files[0])
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "bias0")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(85, np.nan, np.float32), "bias0"))
    onnx.save(model, tmp_path / "broken.onnx")
    network = open_onnx(tmp_path / "broken.onnx", yolox.ANSWERS)
    with pytest.raises(ValueError, match=r"broken.onnx: its network answered NaN or infinity"):
        network(np.zeros((1, 3, 640, 640)))


def test_weights_that_are_missing_come_with_the_command_that_fetches_them(folder, tmp_path, monkeypatch):
    command = f"hf download yzd-v/DWPose yolox_l.onnx dw-ll_ucoco_384.onnx --revision {CARD.revision}"
    (tmp_path / CARD.files[0]).write_bytes((folder / CARD.files[0]).read_bytes())
    with pytest.raises(ValueError, match=f"dw-ll_ucoco_384.onnx does not exist: .*{command} --local-dir"):
        open_annotator("pose", "dwpose", weights=tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ValueError, match=f"annotator dwpose: its weights are not on this machine.*{command}"):
        open_annotator("pose", "dwpose")
