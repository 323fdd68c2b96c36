"""Where do bases and adapters come from: the package, a folder, or the hub?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ADAPTERS_FOLDER, STYLES_FOLDER, DECODER_FOLDER = "adapters", "styles", "decoder"
PRIOR_FOLDERS = ("prior", "prior_ar")
"""Where a saved pipeline keeps its adapters, one folder each, its styles, one file each, by name, its decoder
adapter and its priors."""
OURS = (ADAPTERS_FOLDER, STYLES_FOLDER, DECODER_FOLDER, *PRIOR_FOLDERS)
STYLE_WEIGHTS = "weights.json"

MINI = "mini"

NEEDED = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
"""Parts of a base without which nothing runs."""


def find_base(source: str | Path) -> str:
    """A folder or hub id that diffusers can load: "mini" is the base that ships with the package.

    Raises ValueError for what looks like a path but is no folder.
    """
    if str(source) == MINI:
        from unicon.mini import mini_folder

        return str(mini_folder())
    if not Path(source).is_dir() and (isinstance(source, Path) or not is_hub_id(source)):
        raise ValueError(
            f"base {str(source)!r}: no such folder; give 'mini', a diffusers folder, or OWNER/NAME on the hub"
        )
    _check_parts(Path(source))
    return str(source)


@contextmanager
def explained(source: str) -> Iterator[None]:
    """What the hub's libraries say about a repository they cannot get, as a ValueError with a remedy."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if Path(source).exists():
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        repository = "/".join(source.split("/")[:2])
        raise ValueError(
            f"{source} is not in this machine's cache and the hub does not give it ({first}). Check the name "
            f"and the network; without one, run `hf download {repository}` where there is one, and copy the "
            "folder it prints"
        ) from error


def is_xl(checkpoint: Path) -> bool:
    """Whether a single-file checkpoint is SDXL's: it has a second text encoder."""
    if checkpoint.suffix != ".safetensors":
        return False  # a pickle would have to be loaded to see; SDXL came out after them
    from safetensors import safe_open

    with safe_open(checkpoint, "pt") as file:
        return any(name.startswith("conditioner.embedders.1.") for name in file.keys())  # noqa: SIM118


def hub_commit(path: str) -> str | None:
    """The commit in the path of a file of the hub's cache, .../snapshots/COMMIT/...; None elsewhere."""
    found = re.search(r"[\\/]snapshots[\\/]([0-9a-f]{40})([\\/]|$)", path)
    return found[1] if found else None


def _check_parts(folder: Path) -> None:
    """ValueError for a base on this disk without a part that it names itself and that is needed."""
    index = folder / "model_index.json"
    if not index.is_file():
        return
    for name, kind in json.loads(index.read_text(encoding="utf-8")).items():
        if name in NEEDED and isinstance(kind, list) and any(kind) and not (folder / name).is_dir():
            raise ValueError(
                f"base {str(folder)!r}: has no folder {name!r}, which its model_index.json names; "
                "copy it again"
            )


@dataclass(frozen=True, slots=True)
class Saved:
    """What was saved with a base, by name."""

    adapters: dict[str, Path]
    """Folders."""
    styles: dict[str, Path]
    """Files."""
    weights: dict[str, float]
    """How much of each style pictures get."""
    decoder: Path | None
    """Folder of the decoder adapter."""
    priors: dict[str, Path]
    """Folders of the priors, which diffusers loads."""


def saved_with(
    base: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | None = None,
    local_files_only: bool = False,
) -> Saved:
    """Adapters and styles saved with a base; from the hub, they are downloaded."""
    folder = Path(base)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(
            snapshot_download(
                base,
                allow_patterns=[f"{name}/*" for name in OURS],
                revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only,
            )
        )  # fmt: skip
    configs = sorted(folder.glob(f"{ADAPTERS_FOLDER}/*/config.json"))
    files = sorted(folder.glob(f"{STYLES_FOLDER}/*.safetensors"))
    weights = folder / STYLES_FOLDER / STYLE_WEIGHTS
    decoder = folder / DECODER_FOLDER
    return Saved(
        adapters={path.parent.name: path.parent for path in configs},
        styles={path.stem: path for path in files},
        weights=json.loads(weights.read_text()) if weights.is_file() else {},
        decoder=decoder if (decoder / "config.json").is_file() else None,
        priors={name: folder / name for name in PRIOR_FOLDERS if (folder / name / "config.json").is_file()},
    )


def find_adapter(source: str | Path) -> Path:
    """The folder of one adapter: itself, or OWNER/NAME[/FOLDER] on the hub.

    Raises ValueError for what is neither.
    """
    if Path(source).is_dir():
        return Path(source)
    repository, inside = "/".join(str(source).split("/")[:2]), "/".join(str(source).split("/")[2:])
    if isinstance(source, Path) or not is_hub_id(repository):
        raise ValueError(
            f"adapter {str(source)!r}: no such folder; give an adapter's folder, or OWNER/NAME/FOLDER "
            "on the hub"
        )
    from huggingface_hub import snapshot_download

    with explained(str(source)):
        found = snapshot_download(repository, allow_patterns=f"{inside}/*" if inside else None)
    if not (folder := Path(found) / inside).is_dir():
        raise ValueError(f"adapter {str(source)!r}: {repository} is on the hub, but has no folder {inside!r}")
    return folder


def is_hub_id(text: str) -> bool:
    """Whether a text has the form OWNER/NAME."""
    owner, slash, name = text.partition("/")
    return bool(slash and owner and name) and "/" not in name and not text.startswith((".", "~"))
