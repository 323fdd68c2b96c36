"""Do maps in other units become ones that use the range they are read in?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unicon.cli import main as cli
from unicon.conditions.palettes import depth_to_map

METRES = np.linspace(0.5, 9, 16 * 20).reshape(16, 20)
PIXELS = METRES.astype(np.uint8)


@pytest.fixture
def maps(tmp_path) -> Path:
    """One depth in every form."""
    folder = tmp_path / "maps"
    (folder / "more").mkdir(parents=True)
    Image.fromarray((METRES * 1000).astype(np.uint16)).save(folder / "a.png")
    Image.fromarray((METRES * 1000).astype(np.float32)).save(folder / "more" / "b.tiff")
    np.save(folder / "c.npy", (METRES * 1000)[..., None])
    return folder


def test_one_value_is_white_in_every_map(maps, tmp_path, capsys):
    assert cli.main(["rescale", str(maps), "--white", "8000", "--out", str(tmp_path / "out")]) == 0
    files = sorted((tmp_path / "out").rglob("*.png"))
    assert [path.relative_to(tmp_path / "out").as_posix() for path in files] == [
        "a.png",
        "c.png",
        "more/b.png",
    ]
    for path in files:
        drawn = np.asarray(Image.open(path))
        assert drawn.dtype == np.uint16
        np.testing.assert_allclose(drawn, np.minimum(METRES / 8, 1) * 65535, atol=10)
    beyond = (METRES > 8).mean()
    assert (
        f"3 maps in {tmp_path / 'out'}; {beyond:.2%} of all values lay beyond --white"
        in capsys.readouterr().out
    )


def test_depth_as_mini_draws_it(maps, tmp_path):
    assert cli.main(["rescale", str(maps / "a.png"), "--near-bright", "--out", str(tmp_path / "out")]) == 0
    drawn = np.asarray(Image.open(tmp_path / "out" / "a.png")) / 65535
    np.testing.assert_allclose(drawn, depth_to_map(METRES)[..., 0], atol=1e-3)


def test_missing_depth_is_black_and_counts_for_nothing(tmp_path, capsys):
    holes = METRES.copy()
    holes[:8] = 0
    np.save(tmp_path / "a.npy", holes)
    assert (
        cli.main(["rescale", str(tmp_path / "a.npy"), "--near-bright", "--out", str(tmp_path / "out")]) == 0
    )
    drawn = np.asarray(Image.open(tmp_path / "out" / "a.png")) / 65535
    assert not drawn[:8].any()
    np.testing.assert_allclose(drawn[8:], depth_to_map(METRES[8:])[..., 0], atol=1e-3)
    assert "160 values of 0 are missing depth" in capsys.readouterr().out


def test_a_map_is_upright_as_its_photo_is(tmp_path):
    picture, out = Image.fromarray(PIXELS), tmp_path / "out"
    picture.getexif()[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=picture.getexif())
    assert cli.main(["rescale", str(tmp_path / "a.png"), "--white", "10", "--out", str(out)]) == 0
    with Image.open(out / "a.png") as drawn:
        assert drawn.size == PIXELS.shape  # (height, width) of the file


def test_what_was_written_is_not_read_again(maps, tmp_path, capsys):
    assert cli.main(["rescale", str(maps), "--white", "10", "--out", str(maps / "out")]) == 2
    assert "choose a folder outside of it" in capsys.readouterr().err
    Image.fromarray(PIXELS).convert("P").save(tmp_path / "p.png")
    assert (
        cli.main(["rescale", str(tmp_path / "p.png"), "--white", "10", "--out", str(tmp_path / "out")]) == 2
    )
    assert "a palette's numbers are no values" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "more", "message"),
    [
        ("a.tiff", np.full((9, 9), -1, np.float32), [], "a.tiff: holds negative or non-finite values"),
        ("a.tiff", np.full((9, 9), np.nan, np.float32), [], "a.tiff: holds negative or non-finite values"),
        ("a.png", PIXELS[..., None] * np.uint8([1, 2, 3]), [], "expected one number per pixel"),
        ("a.png", None, [], "a.png: cannot be read"),
        ("a.txt", None, [], "holds no map; expected pictures or .npy files"),
        ("a.png", PIXELS, ["--white", "0"], "--white must be a number above 0, got 0"),
        ("a.png", PIXELS, ["--out", "{}"], "is where the maps lie; choose a folder outside of it"),
    ],
)  # fmt: skip
def test_what_cannot_be_rescaled(name, content, more, message, tmp_path, capsys):
    (folder := tmp_path / "maps").mkdir()
    if content is None:
        (folder / name).write_bytes(b"nothing")
    else:
        Image.fromarray(content).save(folder / name)
    before = (folder / name).read_bytes()
    more = [each.format(folder) for each in more]
    assert cli.main(["rescale", str(folder), "--white", "10", "--out", str(tmp_path / "out"), *more]) == 2
    assert message in capsys.readouterr().err
    assert (folder / name).read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_two_maps_of_one_stem(maps, tmp_path, capsys):
    np.save(maps / "a.npy", METRES)
    assert cli.main(["rescale", str(maps), "--white", "10", "--out", str(tmp_path / "out")]) == 2
    assert "a.png: a.npy has the same stem; keep one of them" in capsys.readouterr().err
