"""Is what lies in a family's folder made of what this run would make it of?

`made.json` there says it of every stage that renders, reads or encodes: these stages keep what they find, so
that a folder of another source, seed or encoder would be taken for their own. Of folders that were there
before it, it says nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from adapters.files import write_whole

MADE = "made.json"


def read_made(folder: Path) -> dict[str, dict[str, str]]:
    """Stage -> name -> what it was made of. ValueError for a file that was changed into something else."""
    path = folder / MADE
    if not path.is_file():
        return {}
    try:
        return {stage: dict(of) for stage, of in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: is damaged ({error}); remove it, and nothing is checked by it") from error


def check_made(folder: Path, stage: str, of: Mapping[str, str]) -> None:
    """Keep what a stage of the family in `folder` is about to be made `of`.

    Raises ValueError where it is there already and was made of something else.
    """
    made = read_made(folder)
    if (folder / stage).exists():
        for name, was in made.get(stage, {}).items():
            if not same_place(was, of.get(name, was)):
                raise ValueError(
                    f"{folder / stage} was made of {name} {was}, this run has {of[name]}: choose another "
                    "--out, or remove that folder, and it is made anew"
                )
        return
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**made, stage: dict(of)}, indent=2) + "\n"
    write_whole(folder / MADE, lambda path: path.write_text(text, encoding="utf-8"))


def same_place(before: str, now: str) -> bool:
    """Whether two texts are one, or name one place: written in two ways, or moved since."""
    if before == now or not (before and now):
        return before == now
    old, new = Path(before), Path(now)
    moved = new.exists() and not old.exists() and old.name == new.name
    return old.resolve() == new.resolve() or moved


def weights_of(*folders: Path) -> str:
    """Changes with the weights that are stored in these folders, and not with where they lie."""
    digest = hashlib.blake2b(digest_size=8)
    for path in (path for folder in folders for path in sorted(folder.glob("*.safetensors"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()
