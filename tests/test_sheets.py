"""Are pictures laid out where their labels say, without being distorted?"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from unicon.sheets import contact_sheet, picture, side_by_side


def test_cells_hold_their_pictures_unstretched():
    red = Image.new("RGB", (10, 10), (255, 0, 0))
    wide = Image.new("RGB", (40, 20), (0, 0, 255))
    sheet = contact_sheet(
        [[red, None], [wide, red]], row_labels=["a", "b"], column_labels=["x", "y"], cell_px=40, gap_px=2
    )
    pixels = np.asarray(sheet)
    assert (pixels == (255, 0, 0)).all(axis=-1).sum() == 2 * 40 * 40
    assert (pixels == (0, 0, 255)).all(axis=-1).sum() == 40 * 20


def test_labels_must_match():
    with pytest.raises(
        ValueError, match=r"1 rows of \[1\] pictures got 0 row labels and 1 column labels; give one"
    ):
        contact_sheet([[None]], row_labels=[], column_labels=["x"])


def test_notes_stand_below_their_cells_and_must_match():
    red = Image.new("RGB", (10, 10), (255, 0, 0))
    labels = {"row_labels": ["two\nlines"], "column_labels": ["x"], "cell_px": 60}
    plain = contact_sheet([[red]], **labels)
    noted = np.asarray(contact_sheet([[red]], notes=[["F1 0.9"]], **labels))
    assert noted.shape[0] > plain.height
    assert (noted[plain.height - 6 :] < 128).all(axis=-1).any()
    with pytest.raises(ValueError, match="1 rows of pictures got notes of another shape; give one for each"):
        contact_sheet([[red]], notes=[["a", "b"]], **labels)


def test_sheets_stand_side_by_side_within_a_margin():
    red, blue = Image.new("RGB", (10, 20), (255, 0, 0)), Image.new("RGB", (5, 9), (0, 0, 255))
    whole = np.asarray(side_by_side([red, blue], gap_px=3, margin_px=2))
    assert whole.shape == (24, 22, 3)
    assert (whole[2:22, 2:12] == (255, 0, 0)).all()
    assert (whole[2:11, 15:20] == (0, 0, 255)).all()
    with pytest.raises(ValueError, match="got no sheets; give at least one"):
        side_by_side([])


def test_picture_rounds_unit_values_and_keeps_bytes():
    assert np.asarray(picture(np.full((2, 2), 0.5))).tolist() == [[[128] * 3] * 2] * 2
    assert np.asarray(picture(np.full((1, 1, 3), 7, np.uint8))).tolist() == [[[7, 7, 7]]]
    assert np.asarray(picture(np.array([[True, False]])))[0, :, 0].tolist() == [255, 0]
