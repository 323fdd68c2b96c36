"""How do sets of pictures look beside each other, where some of them were seen before?

Descriptors and distances of `eval.originality.look`, kept by the content of the pictures: they take longer
than everything else in a report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from eval.digests import digest, source_digest
from eval.kept import KeptRows, Rows
from eval.originality import look
from eval.originality.look import Looks, describe, nearest_look, paired_look
from eval.pictures import Pictures

Distances = tuple[np.ndarray, np.ndarray]
"""(N,) distances, and the places (N,) of the pictures they lead to."""
Make = Callable[[list[int]], Rows]


class Sight:
    """Looks of sets of pictures, each described once."""

    def __init__(self, folder: Path | None = None):
        """Without a `folder` nothing is kept beyond this object."""
        self.folder = folder
        self._seen: dict[Pictures, Looks] = {}
        self._source = source_digest([Path(look.__file__)])

    def nearest(self, pictures: Pictures, others: Pictures) -> Distances:
        """`nearest_look` of a set among another, or among itself where both are one object."""
        same = pictures is others
        if len(others) <= same:
            raise ValueError(f"{len(others)} pictures to compare with; expected at least {1 + same}")

        def make(places: list[int]) -> Rows:
            found = nearest_look(self._looks(pictures), self._looks(others), same=same, places=places)
            return {"distance": found[0], "place": found[1]}

        own, among = pictures.digests, others.digests
        if own is None or among is None:
            return self._distances("nearest", len(pictures), make, None)
        # Of two equal pictures in one set each is the other's nearest: there places tell them apart.
        names = list(map(str, range(len(own)))) if same else own
        return self._distances(f"nearest-{digest(str(same), *among)}", len(pictures), make, names)

    def nearest_within(self, pictures: Pictures, groups: Sequence[np.ndarray]) -> Distances:
        """The same of each among the others of its group (places, two at least); NaN and -1 for those in
        none."""
        asked = [(group, own) for group in groups for own in range(len(group))]

        def make(rows: list[int]) -> Rows:
            distances, within = [], []
            for group, own in _by_group(asked[row] for row in rows):
                looks = self._looks(pictures).subset(group)
                found = nearest_look(looks, looks, same=True, places=own)
                distances.append(found[0])
                within.append(found[1])
            return {"distance": np.concatenate(distances), "place": np.concatenate(within)}

        told, names = pictures.digests, None
        if told is not None:
            of_group = {id(group): digest(*(told[place] for place in group)) for group in groups}
            names = [digest(str(own), of_group[id(group)]) for group, own in asked]
        distances, nearest = np.full(len(pictures), np.nan), np.full(len(pictures), -1, dtype=np.int64)
        if asked:
            places = [group[own] for group, own in asked]
            # Places within the group are kept: the whole may have others next time.
            distances[places], within = self._distances("siblings", len(asked), make, names)
            nearest[places] = [group[n] for (group, _), n in zip(asked, within, strict=True)]
        return distances, nearest

    def paired(self, pictures: Pictures, others: Pictures, places: np.ndarray) -> np.ndarray:
        """(N,) distances of each picture to that of the others whose place is given."""

        def make(rows: list[int]) -> Rows:
            theirs = self._looks(others).subset(places[rows])
            return {"distance": paired_look(self._looks(pictures).subset(rows), theirs)}

        own, told = pictures.digests, others.digests
        names = None
        if own is not None and told is not None:
            names = [digest(a, told[place]) for a, place in zip(own, places, strict=True)]
        return self._rows("paired", len(pictures), make, names, "looking")["distance"]

    def _looks(self, pictures: Pictures) -> Looks:
        if pictures not in self._seen:

            def make(places: list[int]) -> Rows:
                found = describe(pictures.load(place) for place in places)
                return {"whole": found.whole, "crops": found.crops, "planes": found.planes}

            rows = self._rows("looks", len(pictures), make, pictures.digests, "describing")
            self._seen[pictures] = Looks(**rows)
        return self._seen[pictures]

    def _distances(self, kind: str, num: int, make: Make, names: Sequence[str] | None) -> Distances:
        rows = self._rows(kind, num, make, names, "looking")
        return rows["distance"], rows["place"]

    def _rows(self, kind: str, num: int, make: Make, names: Sequence[str] | None, title: str) -> Rows:
        kept = KeptRows(self.folder, f"{kind}-{self._source}")
        return kept.of(num, make, names=names, title=f"{title} ({num} pictures)")


def _by_group(rows: Iterable[tuple[np.ndarray, int]]) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Rows of one group, which follow each other, together."""
    for _, found in groupby(rows, key=lambda row: id(row[0])):
        group, *_ = together = list(found)
        yield group[0], [own for _, own in together]
