"""What was given with each generated picture?"""

from __future__ import annotations

from pathlib import Path

from eval.originality.assessment import References
from eval.pictures import pictures_of
from eval.protocols.generated import Outputs, of_stems
from unicon.data.photos import list_photos


def open_references(folder: str | Path, outputs: Outputs) -> References:
    """The picture of a folder whose stem each output's begins with.

    Raises ValueError naming an output that begins with none.
    """
    found = list_photos(folder)
    by_stem = {path.stem: place for place, path in enumerate(found)}
    return References(pictures=pictures_of(found), places=of_stems(outputs.pictures, by_stem, "--references"))
