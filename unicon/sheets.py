"""How are pictures laid out for a person to compare: in labelled rows and columns?

Leaves out what the pictures are and where the sheet is saved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unicon.data.photos import at_longer_side

PAPER = (255, 255, 255)
INK = (30, 30, 30)


def contact_sheet(
    rows: Sequence[Sequence[Image.Image | None]],
    *,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    notes: Sequence[Sequence[str]] | None = None,
    cell_px: int = 160,
    gap_px: int = 6,
) -> Image.Image:
    """One RGB picture of `rows`, every cell `cell_px` wide and high, smaller pictures enlarged sharply.

    None leaves a cell empty. `notes` are lines below the single cells. Raises ValueError when labels or notes
    and rows do not match.
    """
    if len(row_labels) != len(rows) or any(len(row) != len(column_labels) for row in rows):
        raise ValueError(
            f"{len(rows)} rows of {[len(row) for row in rows]} pictures got {len(row_labels)} row labels and "
            f"{len(column_labels)} column labels; give one label for each row and each column"
        )
    if notes is not None and [len(row) for row in notes] != [len(row) for row in rows]:
        raise ValueError(f"{len(rows)} rows of pictures got notes of another shape; give one for each, or ''")
    font = ImageFont.load_default(size=max(10, cell_px // 12))
    small = ImageFont.load_default(size=max(9, cell_px // 14))
    left, top = _text_width(row_labels, font) + 2 * gap_px, _text_height(font) + 2 * gap_px
    line = 0 if notes is None else _text_height(small)
    step = cell_px + gap_px
    size = (left + step * len(column_labels), top + (step + line) * len(rows))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(column_labels):
        draw.text((left + column * step + cell_px / 2, top / 2), label, INK, font, anchor="mm")
    for number, (label, row) in enumerate(zip(row_labels, rows, strict=True)):
        above = top + number * (step + line)
        draw.text((gap_px, above + cell_px / 2), label, INK, font, anchor="lm")
        for column, picture in enumerate(row):
            beside = left + column * step
            if picture is not None:
                sheet.paste(_cell(picture, cell_px), (beside, above))
            if notes is not None:
                draw.text(
                    (beside + cell_px / 2, above + cell_px), notes[number][column], INK, small, anchor="ma"
                )
    return sheet


def side_by_side(sheets: Sequence[Image.Image], *, gap_px: int = 24, margin_px: int = 12) -> Image.Image:
    """Sheets next to each other, tops aligned, with a margin around; ValueError when there is none."""
    if not sheets:
        raise ValueError("got no sheets; give at least one")
    width = sum(sheet.width for sheet in sheets) + gap_px * (len(sheets) - 1) + 2 * margin_px
    whole = Image.new("RGB", (width, max(sheet.height for sheet in sheets) + 2 * margin_px), PAPER)
    left = margin_px
    for sheet in sheets:
        whole.paste(sheet, (left, margin_px))
        left += sheet.width + gap_px
    return whole


def picture(values: np.ndarray) -> Image.Image:
    """A map or picture with values in [0, 1] or bytes, (H, W) or (H, W, 3), as an RGB picture."""
    if values.dtype != np.uint8:
        values = np.round(np.clip(values.astype(np.float64), 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(values).convert("RGB")


def _cell(picture: Image.Image, side: int) -> Image.Image:
    resample = Image.Resampling.NEAREST if side >= 2 * max(picture.size) else Image.Resampling.LANCZOS
    shown = at_longer_side(picture.convert("RGB"), side, resample)
    cell = Image.new("RGB", (side, side), PAPER)
    cell.paste(shown, ((side - shown.width) // 2, (side - shown.height) // 2))
    return cell


def _text_width(labels: Sequence[str], font) -> int:
    return int(max((font.getlength(line) for label in labels for line in label.splitlines()), default=0))


def _text_height(font) -> int:
    return int(sum(font.getmetrics()))
