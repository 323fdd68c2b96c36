"""How are the pictures of a run made, each once?

A file that is there is kept: its name and folder say everything that determines it. Processes share the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from eval.protocols.drawing import Painter
from eval.protocols.readers import Reader
from eval.runs.costs import Costs
from eval.runs.items import Task
from eval.runs.members import write_members
from eval.runs.roll import Roll
from eval.runs.store import Store, read_picture, write_picture
from unicon.processes import Share


@dataclass(frozen=True, kw_only=True, slots=True)
class Maker:
    """What makes pictures and maps, and where they go."""

    store: Store
    painter: Painter
    readers: dict[str, Reader]
    """"adapter", "judge", and "regressor" where there is one."""
    batch_size: int
    share: Share
    costs: Costs
    with_members: frozenset[str] = frozenset()
    """Conditions whose ensembles' members are kept."""

    def items(self, roll: Roll) -> None:
        """The items' own pictures and maps, so that the folder can be looked at and compared alone."""
        for place in self.share.of(range(len(roll))):
            stem = roll.entries[place].stem
            if self.store.item(stem).is_file():
                continue
            item = roll.load(place)
            for name, values in item.maps.items():
                write_picture(self.store.item(stem, name), np.round(values * 255).astype(np.uint8))
            write_picture(self.store.item(stem), item.image)

    def estimates(self, roll: Roll, places: Sequence[int], condition: str, by: str, seed: int) -> None:
        """Maps of the items' own pictures."""
        keeps = by == "adapter" and condition in self.with_members

        def file(place: int) -> Path:
            return self.store.estimate(condition, by, seed, roll.entries[place].stem)

        def members_file(place: int) -> Path:
            return self.store.members(condition, seed, roll.entries[place].stem)

        def is_done(place: int) -> bool:
            return file(place).is_file() and (not keeps or members_file(place).is_file())

        title = f"{by} estimates {condition}"
        with self._todo(places, is_done, title, seed) as (todo, bar):
            for batch in roll.batches(todo, self.batch_size):
                images = np.stack([roll.load(place).image for place in batch])
                keys = [roll.entries[place].key for place in batch]
                found = self.readers[by].read(images, condition, keys, seed)
                for n, place in enumerate(batch):
                    if keeps:
                        assert found.members is not None
                        write_members(members_file(place), found.members[:, n])
                    write_picture(file(place), found.maps[n])
                bar.update(len(batch))

    def drawings(self, roll: Roll, places: Sequence[int], task: Task, seed: int) -> None:
        """Generated pictures, and the maps generated with them."""

        def is_done(place: int) -> bool:
            return self.store.picture(task, seed, roll.entries[place].stem).is_file()

        with self._todo(places, is_done, f"making {task.name}", seed) as (todo, bar):
            for batch in roll.batches(todo, self.batch_size):
                entries = [roll.entries[place] for place in batch]
                keys, captions = [entry.key for entry in entries], [entry.caption for entry in entries]
                if task.direction == "joint":
                    made = self.painter.from_noise(captions, entries[0].size, task.condition, keys, seed)
                else:
                    maps = np.stack([roll.load(place).maps[task.condition] for place in batch])
                    made = self.painter.from_maps(captions, maps, task.condition, keys, seed)
                for n, entry in enumerate(entries):
                    if made.maps is not None:  # before the picture, which says that both are there
                        write_picture(self.store.drawn_map(task, seed, entry.stem), made.maps[n])
                    write_picture(self.store.picture(task, seed, entry.stem), made.pictures[n])
                bar.update(len(batch))

    def readings(self, roll: Roll, places: Sequence[int], task: Task, seed: int) -> None:
        """Maps read back from generated pictures."""

        def is_done(place: int) -> bool:
            return self.store.read_back(task, seed, roll.entries[place].stem).is_file()

        with self._todo(places, is_done, f"reading {task.name}", seed) as (todo, bar):
            for batch in roll.batches(todo, self.batch_size):
                stems = [roll.entries[place].stem for place in batch]
                keys = [roll.entries[place].key for place in batch]
                pictures = np.stack([read_picture(self.store.picture(task, seed, stem)) for stem in stems])
                maps = self.readers["judge"].read(pictures, task.condition, keys, seed).maps
                for stem, values in zip(stems, maps, strict=True):
                    write_picture(self.store.read_back(task, seed, stem), values)
                bar.update(len(batch))

    @contextmanager
    def _todo(
        self, places: Sequence[int], is_done: Callable[[int], bool], part: str, seed: int
    ) -> Iterator[tuple[list[int], tqdm]]:
        """This process's part of what is not there yet, with a bar over all of its part. It is timed."""
        mine = self.share.of(places)
        todo = [place for place in mine if not is_done(place)]
        silent = not todo or not self.share.is_first
        start, title = len(mine) - len(todo), f"{part}, seed {seed}"
        with (
            self.costs.part(part) as cost,
            tqdm(total=len(mine), initial=start, desc=title, unit="picture", disable=silent) as bar,
        ):
            try:
                yield todo, bar
            finally:
                cost.num += sum(map(is_done, todo))
