"""Does every kind of photograph come out as upright RGB, and every kind of rubbish as a clear error?"""

from __future__ import annotations

import io
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest

from unicon.data import photos
from unicon.data.photos import at_longer_side, list_photos, load_photo

RED = np.zeros((12, 20, 3), np.uint8)
RED[..., 0] = 200
RED[:6, :, 1] = 100


def as_mode(mode: str) -> PIL.Image.Image:
    return PIL.Image.fromarray(RED).convert(mode)


def test_16_bits_in_either_order_are_16_bits(tmp_path):
    values = np.full((9, 10), 199, np.uint16)
    for mode, order in (("I;16", "<u2"), ("I;16B", ">u2")):
        picture = PIL.Image.frombytes(mode, (10, 9), values.astype(order).tobytes())
        picture.save(tmp_path / "grey.tif")
        assert np.asarray(load_photo(tmp_path / "grey.tif")).max() == 1


@pytest.mark.parametrize("mode", ["RGB", "P", "CMYK", "YCbCr", "HSV", "RGBA", "PA", "RGBa"])
def test_colour_modes_keep_their_colours(mode):
    image = as_mode("RGBA").convert(mode) if mode in ("PA", "RGBa") else as_mode(mode)
    loaded = load_photo(image)
    assert loaded.mode == "RGB"
    assert loaded.size == (20, 12)
    tolerance = 60 if mode in ("P", "PA") else 12
    assert np.abs(np.asarray(loaded).astype(int) - RED).mean() < tolerance


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "I", "F"])
def test_grey_modes_become_rgb_of_the_same_brightness(mode):
    grey = np.tile(np.linspace(0, 255, 20).astype(np.uint8), (12, 1))
    image = PIL.Image.fromarray(grey)
    if mode == "I;16":
        image = PIL.Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode != "L":
        image = image.convert(mode)
    loaded = np.asarray(load_photo(image)).astype(int)
    assert loaded.shape == (12, 20, 3)
    if mode == "1":  # black and white dots, as many white ones as it is bright
        assert (
            np.abs(loaded[..., 0].reshape(12, 5, 4).mean((0, 2)) - grey[0].reshape(5, 4).mean(1)).max() < 25
        )
    else:
        assert np.abs(loaded[..., 0] - grey).mean() < 2


def test_transparency_is_laid_over_white():
    image = as_mode("RGBA")
    image.putalpha(0)
    assert np.asarray(load_photo(image)).min() == 255


def test_exif_rotation_is_applied(tmp_path):
    lying, exif = np.zeros((16, 32, 3), np.uint8), PIL.Image.Exif()
    lying[:, :8] = 255  # the left end, which is the upper one once it is turned clockwise
    exif[0x0112] = 6
    PIL.Image.fromarray(lying).save(tmp_path / "turned.jpg", exif=exif)
    upright = np.asarray(load_photo(tmp_path / "turned.jpg"))
    assert upright.shape == (32, 16, 3)
    assert upright[:6].min() > 200
    assert upright[10:].max() < 50


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".gif", ".tiff"])
def test_files_of_many_kinds(tmp_path, suffix):
    PIL.Image.fromarray(RED).save(tmp_path / f"a{suffix}")
    assert load_photo(str(tmp_path / f"a{suffix}")).size == (20, 12)


@pytest.mark.parametrize(
    "array",
    [RED, RED[..., 0], RED[..., :1], RED.astype(np.uint16) * 257, (RED / 255).astype(np.float32), RED > 150,
     np.concatenate([RED, np.full((12, 20, 1), 255, np.uint8)], axis=-1)],
    ids=["rgb", "grey", "one channel", "16 bits", "float", "bool", "alpha"],
)  # fmt: skip
def test_arrays_of_many_kinds(array):
    loaded = np.asarray(load_photo(array))
    assert loaded.shape == (12, 20, 3)
    assert abs(int(loaded[0, 0, 0]) - (255 if array.dtype == bool else 200)) <= 1


def damaged(kind: str, folder) -> object:
    path = folder / "x.png"
    if kind == "missing":
        return folder / "none.png"
    if kind == "folder":
        return folder
    if kind == "empty":
        path.write_bytes(b"")
    if kind == "text":
        path.write_text("not a picture at all")
    if kind == "truncated":
        data = io.BytesIO()
        PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(
            data, "PNG"
        )
        path.write_bytes(data.getvalue()[:4000])
    if kind == "tiny":
        PIL.Image.fromarray(RED[:2, :2]).save(path)
    return path


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("missing", "none.png: no such file; check the spelling"),
        ("folder", "is a folder; expected a picture"),
        ("empty", r"x.png: is empty \(0 bytes\)"),
        ("text", "x.png: is not a picture that Pillow can read"),
        ("truncated", "x.png: is truncated or damaged"),
        ("tiny", "x.png: has 2 x 2 pixels; at least 8"),
    ],
)
def test_bad_files_are_named_with_rule_and_remedy(tmp_path, kind, text):
    with pytest.raises(ValueError, match=text):
        load_photo(damaged(kind, tmp_path))


def test_huge_pictures_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    PIL.Image.fromarray(RED).save(tmp_path / "x.png")
    monkeypatch.setattr(photos, "MAX_MEGAPIXELS", 1e-4)
    with pytest.raises(ValueError, match="x.png: has 20 x 12 pixels; at most 0.0001 megapixels"):
        load_photo(tmp_path / "x.png")


def test_pillows_own_limit_gives_our_error(tmp_path, monkeypatch):
    PIL.Image.fromarray(RED).save(tmp_path / "x.png")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(ValueError, match="at most 120 megapixels are read"):
        load_photo(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "photo is a int; expected a path"),
        (np.zeros((2, 3, 4, 3), np.uint8), "array has shape"),
        (np.zeros((16, 16, 2), np.uint8), "array has shape"),
        (np.full((16, 16), 3.0), "expected floats in"),
        (np.full((16, 16), np.nan), "expected floats in"),
        (np.zeros((16, 16), np.int64), "values of type int64"),
        (PIL.Image.fromarray(np.full((16, 16), -1.0, np.float32)), "negative or non-finite"),
        (
            PIL.Image.fromarray(np.full((16, 16), 1e6, np.float32)),
            "values up to 1e[+]06; expected at most 65535",
        ),
    ],
)
def test_bad_values_say_what_is_wrong(value, text):
    with pytest.raises(ValueError, match=text):
        load_photo(value)


def test_only_what_is_said_while_loading_is_left_out(monkeypatch):
    """In several threads, too: a filter that one of them puts back must not be another one's."""
    loading, told, upright = threading.Barrier(2, timeout=60), threading.Event(), photos._upright_rgb

    def noisy(image, name):
        loading.wait()
        told.wait(60)
        warnings.warn("corrupt metadata", UserWarning, stacklevel=1)
        return upright(image, name)

    monkeypatch.setattr(photos, "_upright_rgb", noisy)
    buffer = io.BytesIO()
    PIL.Image.fromarray(RED).save(buffer, "PNG")
    with warnings.catch_warnings(), ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("error")
        loaded = pool.submit(load_photo, buffer.getvalue())
        loading.wait()
        with pytest.raises(UserWarning, match="ours"):
            warnings.warn("ours", UserWarning, stacklevel=1)
        told.set()
        assert np.array_equal(np.asarray(loaded.result()), RED)
        with pytest.raises(UserWarning, match="ours"):
            warnings.warn("ours", UserWarning, stacklevel=1)
    monkeypatch.undo()
    with warnings.catch_warnings():
        for number in range(4):  # however often somebody puts another filter first
            warnings.filterwarnings("ignore", message=f"{number}")
            load_photo(buffer.getvalue())
            assert sum(each[3] is photos._LOADING for each in warnings.filters) == 1
            assert warnings.filters[0][3] is photos._LOADING


def test_a_folder_lists_its_pictures_by_name(tmp_path):
    for name in ("b.PNG", "a.jpg", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert [p.name for p in list_photos(tmp_path)] == ["a.jpg", "b.PNG"]
    assert list_photos(tmp_path / "a.jpg") == [tmp_path / "a.jpg"]


def test_a_folder_without_pictures_or_no_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no picture; expected files that end in .jpg"):
        list_photos(tmp_path)
    with pytest.raises(ValueError, match="no such file or folder"):
        list_photos(tmp_path / "none")


@pytest.mark.parametrize(
    ("size", "side_px", "expected"), [((40, 20), 10, (10, 5)), ((20, 40), 60, (30, 60)), ((90, 1), 9, (9, 1))]
)
def test_the_longer_side_is_as_asked_and_the_picture_whole(size, side_px, expected):
    picture = PIL.Image.new("RGB", size, (10, 200, 30))
    made = at_longer_side(picture, side_px)
    assert made.size == expected
    assert made.getextrema() == ((10, 10), (200, 200), (30, 30))
    assert at_longer_side(picture, max(size)) is picture
