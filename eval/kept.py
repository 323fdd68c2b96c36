"""What is known already of these pictures, and who works out the rest?

Rows of numbers under the name of what they are of, such as a digest of a picture's content, in files that
are written while work goes on. So a run that was stopped, or has more pictures, works out what is missing
alone. Leaves out what the rows are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from tqdm import tqdm

from adapters.files import write_arrays
from eval.digests import digest, digest_of, source_digest
from eval.features import Extractor, FeatureSet
from eval.pictures import Pictures

Rows = dict[str, np.ndarray]
"""Arrays by name, a row for each picture in each."""
STEP, PART = 64, 256
"""Pictures that are worked out at a time, and that a file holds."""
NAMES = "names"


class KeptRows:
    """Rows of one kind; `key` is a digest of all that makes them what they are."""

    def __init__(self, folder: Path | None, key: str):
        """Without a `folder` nothing is kept."""
        self.folder, self.key = folder, key

    def of(
        self,
        num: int,
        make: Callable[[list[int]], Rows],
        *,
        names: Sequence[str] | None,
        title: str = "",
        step: int = STEP,
    ) -> Rows:
        """Rows of `num` pictures, those that are not known made by `make` of their places; a bar shows them.

        What was made is kept even where `make` raises. Without `names` nothing is known or kept.
        """
        told = [str(place) for place in range(num)] if names is None else list(names)
        known = {} if names is None else self._read(set(told))
        missing = [place for name, place in _first_places(told).items() if name not in known]
        waiting: list[tuple[list[str], Rows]] = []
        bar = tqdm(total=len(missing), desc=title, unit="picture", leave=False, disable=not missing)
        try:
            with bar:
                for first in range(0, len(missing), step):
                    places = missing[first : first + step]
                    made, own = make(places), [told[place] for place in places]
                    known |= {name: (made, row) for row, name in enumerate(own)}
                    waiting.append((own, made))
                    bar.update(len(places))
                    if sum(len(part) for part, _ in waiting) >= PART:
                        self._write(waiting, names)
        finally:
            self._write(waiting, names)
        found = [known[name] for name in told]
        return {kind: np.stack([rows[kind][row] for rows, row in found]) for kind in found[0][0]}

    def _read(self, asked: set[str]) -> dict[str, tuple[Rows, int]]:
        """Rows of every file that holds any that are asked for."""
        found: dict[str, tuple[Rows, int]] = {}
        for path in [] if self.folder is None else sorted(self.folder.glob(f"{self.key}.*.npz")):
            try:
                with np.load(path, allow_pickle=False) as packed:
                    names = packed[NAMES].tolist()
                    rows = {} if asked.isdisjoint(names) else {k: packed[k] for k in packed if k != NAMES}
            except (OSError, ValueError, KeyError, EOFError, BadZipFile):
                continue  # damaged: its rows are made again, and written over it
            if rows:
                found |= {name: (rows, row) for row, name in enumerate(names)}
        return found

    def _write(self, waiting: list[tuple[list[str], Rows]], names: Sequence[str] | None) -> None:
        """Into one file, and forget them."""
        if waiting and self.folder is not None and names is not None:
            own = [name for part, _ in waiting for name in part]
            rows = {kind: np.concatenate([made[kind] for _, made in waiting]) for kind in waiting[0][1]}
            write_arrays(self.folder / f"{self.key}.{digest(*own)}.npz", {NAMES: np.array(own), **rows})
        waiting.clear()


def kept_features(extractor: Extractor, pictures: Pictures, folder: Path | None = None) -> FeatureSet:
    """The extractor's features of all pictures, with those that the folder holds of the same content."""
    import eval.features as source

    told = digest(
        digest_of(extractor.model),
        *map(repr, extractor.preprocessing),
        source_digest([Path(source.__file__)]),
    )

    def make(places: list[int]) -> Rows:
        found = extractor(pictures.subset(places), batch_size=STEP)
        return {"features": found.values} | ({} if found.logits is None else {"logits": found.logits})

    title = f"embedding ({len(pictures)} pictures)"
    rows = KeptRows(folder, f"features-{told}").of(len(pictures), make, names=pictures.digests, title=title)
    return FeatureSet(
        values=rows["features"], names=pictures.names, source=extractor.source, logits=rows.get("logits")
    )


def _first_places(names: Sequence[str]) -> dict[str, int]:
    """Where each name stands first: equal pictures are looked at once."""
    found: dict[str, int] = {}
    for place, name in enumerate(names):
        found.setdefault(name, place)
    return found
