"""Do two views show the same subject, differ, and come out the same again?"""

from __future__ import annotations

import cv2
import numpy as np
import PIL.Image
import pytest

from unicon.data.views import crops, fitted, frames, named_alike
from unicon.mini import mini_folder


@pytest.fixture(scope="module")
def photo():
    with PIL.Image.open(mini_folder().parent / "photo.jpg") as image:
        return image.convert("RGB").resize((120, 90))


def place(crop, photo):
    """Where a crop lies in its photograph, found by matching pixels."""
    match = cv2.matchTemplate(np.asarray(photo), np.asarray(crop), cv2.TM_SQDIFF)
    assert match.min() < 100  # of rounding, where others are in the millions
    return np.array(cv2.minMaxLoc(match)[2])


def test_crops_are_parts_of_the_photo_in_its_shape_and_lie_apart(photo):
    for first, second in crops(photo, "a", num=8):
        assert first.size == second.size
        assert 0.58 < first.width / photo.width <= 0.85
        assert abs(first.width / first.height - 4 / 3) < 0.03
        room = np.array(photo.size) - first.size
        assert (np.abs(place(first, photo) - place(second, photo)) / room).max() > 0.4


def test_crops_follow_from_seed_and_name_alone(photo):
    def pixels(**how):
        return [np.asarray(view) for pair in crops(photo, **how) for view in pair]

    assert all(
        np.array_equal(a, b) for a, b in zip(pixels(name="a", num=2), pixels(name="a", num=2), strict=True)
    )
    for other in ({"name": "b"}, {"name": "a", "seed": 1}):
        assert pixels(name="a")[0].shape != pixels(**other)[0].shape


def test_the_smallest_photo_still_gives_two_different_crops():
    values = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    for first, second in crops(PIL.Image.fromarray(values), "a", num=50):
        assert not np.array_equal(np.asarray(first), np.asarray(second))
    with pytest.raises(ValueError, match="a: has 15 x 40 pixels; crops need at least 16"):
        next(crops(PIL.Image.new("RGB", (15, 40)), "a"))


@pytest.fixture
def video(tmp_path):
    """Two seconds, ten frames each, frame n of brightness 10 n."""
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(20):
        writer.write(np.full((48, 64, 3), (0, 0, 10 * number), np.uint8))
    writer.release()
    return tmp_path / "a.avi"


def test_frames_are_paired_with_the_next_one(video):
    pairs = [[np.asarray(view)[..., 0].mean() for view in pair] for pair in frames(video, every_s=0.5)]
    np.testing.assert_allclose(pairs, [(0, 50), (50, 100), (100, 150)], atol=4)  # red comes first


def test_videos_that_give_no_pair_are_named(video, tmp_path):
    with pytest.raises(ValueError, match="a.avi: has 1 frames at one every 9 s; a pair needs 2"):
        list(frames(video, every_s=9))
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match="b.mp4: is no video that OpenCV can read"):
        list(frames(tmp_path / "b.mp4"))
    with pytest.raises(ValueError, match="every_s is 0; expected seconds above 0"):
        list(frames(video, every_s=0))


def test_photos_of_a_name_or_a_folder_belong_together():
    stems = ["mug_1", "mug-2", "mug (3)", "hat", "cat/00", "cat/01", "dog/a", "dog/b"]
    found = named_alike(stems)
    assert found == {
        "mug (3)": "mug-2", "mug-2": "mug_1", "mug_1": "mug (3)", "cat/00": "cat/01", "cat/01": "cat/00",
        "dog/a": "dog/b", "dog/b": "dog/a",
    }  # fmt: skip


def test_photos_of_which_no_two_are_alike_are_refused():
    with pytest.raises(ValueError, match="2 photos: no two are named alike; expected mug_1.jpg"):
        named_alike(["mug", "hat"])


@pytest.mark.parametrize("size", [(40, 40), (200, 50), (33, 99)])
def test_fitted_covers_the_size_around_the_centre(photo, size):
    out = fitted(photo, size)
    assert out.size == size
    centre = np.asarray(fitted(photo, (1, 1)))[0, 0].astype(float)
    assert np.abs(np.asarray(fitted(out, (1, 1)))[0, 0] - centre).max() < 60
