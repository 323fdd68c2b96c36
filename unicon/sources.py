"""Where do bases and adapters come from: the package, a folder, a file, or the hub?

A place on the hub is OWNER/NAME, with @REVISION (a commit, a branch or a tag) where it matters which.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from unicon.typed import named_place

ADAPTERS_FOLDER, STYLES_FOLDER, DECODER_FOLDER = "adapters", "styles", "decoder"
PRIOR_FOLDERS = ("prior", "prior_ar")
"""Where a saved pipeline keeps its adapters, one folder each, its styles, one file each, by name, its decoder
adapter and its priors."""
OURS = (ADAPTERS_FOLDER, STYLES_FOLDER, DECODER_FOLDER, *PRIOR_FOLDERS)
STYLE_WEIGHTS = "weights.json"

LORA_FILE = "pytorch_lora_weights.safetensors"
"""What diffusers and peft call a LoRA's file where a repository is a LoRA."""

MINI = "mini"

ASK_S = 10
"""How long the hub has to answer whether it is there."""

_PATTERN = re.compile(r"(?!\S+://)\S*[*?\[{]\S*")
"""Of files on this machine: no sentence, and no address."""

NEEDED = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
"""Parts of a base without which nothing runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HubPlace:
    """Something on the hub: OWNER/NAME[@REVISION][/INSIDE]."""

    repository: str
    revision: str | None = None
    inside: str = ""
    """A folder or a file of the repository; empty: all of it."""

    @classmethod
    def read(cls, text: str) -> HubPlace:
        """The place that a text names. Raises ValueError for one that names none."""
        owner, _, rest = text.partition("/")
        name, _, inside = rest.partition("/")
        name, at, revision = name.partition("@")
        repository = f"{owner}/{name}"
        if not is_hub_id(repository) or bool(at) != bool(revision):
            raise ValueError(f"{text!r} is no place on the hub; expected OWNER/NAME[@REVISION][/FOLDER]")
        return cls(repository=repository, revision=revision or None, inside=inside)

    @property
    def command(self) -> str:
        """The command that downloads it."""
        words = ["hf download", self.repository]
        if self.inside:
            is_file = self.inside.endswith(".safetensors")
            words.append(self.inside if is_file else f"--include '{self.inside}/*'")
        if self.revision:
            words.append(f"--revision {self.revision}")
        return " ".join(words)


CONFIG = ",config="


def split_config(base: str) -> tuple[str, str | None]:
    """A base, and where the configuration of a checkpoint's file lies: FILE,config=PLACE; None: not said."""
    file, _, config = base.partition(CONFIG)
    return file, config or None


def find_base(source: str | Path) -> str:
    """A folder, a checkpoint's file (as `split_config` reads it), or a place on the hub: "mini" is the base
    that ships with the package.

    Raises ValueError for what looks like a path but is none.
    """
    file, config = split_config(str(source))
    if config is not None:
        if not Path(file).is_file() or not (Path(config).is_dir() or is_hub_id(config)):
            raise ValueError(
                f"base {str(source)!r}: expected FILE{CONFIG}FOLDER, a checkpoint's file and the folder (or "
                "OWNER/NAME on the hub) of a base whose configuration it shares"
            )
        return str(source)
    if str(source) == MINI:
        from unicon.mini import mini_folder

        return str(mini_folder())
    if not Path(source).exists() and (isinstance(source, Path) or not is_hub_id(source)):
        raise ValueError(
            f"base {str(source)!r}: no such folder or file; give 'mini', a diffusers folder, a checkpoint's "
            "file, or OWNER/NAME on the hub"
        )
    _check_parts(Path(source))
    return str(source)


def named(place: str) -> str:
    """What others may be told of a place: of one on this machine its last name alone, where that lies is
    nobody else's business; any other text as it is."""
    file, config = split_config(place)
    if config is not None:
        return f"{named(file)}{CONFIG}{named(config)}"
    path = Path(place)
    try:
        there = path.exists()
    except OSError:  # a text too long for a name
        return place
    if not path.is_absolute() and not there:
        return path.name if _PATTERN.fullmatch(place) else place
    return MINI if _is_mini(path) else path.resolve().name


def _is_mini(folder: Path) -> bool:
    try:
        return folder.resolve() == Path(find_base(MINI)).resolve()
    except FileNotFoundError:  # it is not in this installation
        return False


def located(base: str, revision: str | None = None) -> tuple[str, str | None]:
    """What `find_base` found as diffusers takes it: a folder or OWNER/NAME, and the revision.

    `revision` is one that was given beside it. Raises ValueError for two that differ.
    """
    if Path(base).exists():
        return base, revision
    place = HubPlace.read(base)
    if None not in (revision, place.revision) and revision != place.revision:
        raise ValueError(f"base {base!r}: revision {revision!r} is given as well; give one of the two")
    return place.repository, place.revision or revision


@contextmanager
def explained(source: str, revision: str | None = None) -> Iterator[None]:
    """What libraries say about a place they cannot get, or weights they cannot read there, as a ValueError
    with the remedy."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if damaged := _damaged(source, revision):
            raise ValueError(damaged) from error
        is_here = Path(source).exists() or isinstance(error, SafetensorError)
        if is_here or (isinstance(error, FileNotFoundError) and not _of_the_hub(error)):
            raise
        place = HubPlace.read(source)
        place = replace(place, revision=place.revision or revision)
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
            said = getattr(error, "server_message", None) or first
            raise ValueError(
                f"{source}: the hub does not give it to you ({said}). Check the name; if it is private or "
                "gated, ask for access on its page, and log in with `hf auth login` or set HF_TOKEN"
            ) from error
        raise ValueError(
            f"{source} is not in this machine's cache and the hub does not give it ({first}). Check the name "
            f"and the network; without one, run `{place.command}` where there is one, and copy the folder it "
            "prints"
        ) from error


def _damaged(source: str, revision: str | None) -> str | None:
    """What is wrong with the first file of weights that cannot be opened, of a place on this machine."""
    folder, place = Path(source), None
    if not folder.exists():
        from huggingface_hub import snapshot_download

        place = HubPlace.read(source)
        place = replace(place, revision=place.revision or revision)
        try:
            found = snapshot_download(place.repository, revision=place.revision, local_files_only=True)
        except OSError:
            return None
        folder = Path(found)
    for file in sorted(folder.rglob("*.safetensors")):
        if error := _unreadable(file):
            again = "copy it again"
            if place is not None:
                within = replace(place, inside=file.relative_to(folder).as_posix())
                again = f"run `{within.command} --force-download`"
            return f"{file} is damaged or cut short ({error}): {again}"
    return None


def _unreadable(file: Path) -> str | None:
    """Why a file of weights is damaged; None where it is not, or may not be read at all."""
    try:
        with safe_open(file, "np"):
            return None
    except PermissionError:
        return None
    except (OSError, SafetensorError) as error:
        return str(error)


def without_network(source: str) -> bool:
    """Whether a folder or hub id is to be had of this machine alone, because the hub does not answer.

    It is asked once and briefly. The hub's own downloads, and transformers', ask six times for every file
    that a repository might have, and take minutes to say that there is no network.
    """
    if Path(source).exists():
        return False
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(HubPlace.read(source).repository, timeout=ASK_S)
    except HfHubHTTPError:
        return False  # it answered, if only that there is no such place
    except Exception:  # of the network's many libraries
        return True
    return False


@contextmanager
def configured(file: Path, config: str | None = None) -> Iterator[None]:
    """What the hub's library says when it cannot get the configuration that a checkpoint's file lacks, as a
    ValueError with the command. `config` is where the user says it is."""
    try:
        yield
    except OSError as error:
        if not _of_the_hub(error):
            raise
        from diffusers.loaders import single_file_utils as of_files

        kind = (
            config
            or of_files.fetch_diffusers_config(of_files.load_single_file_checkpoint(str(file)))[
                "pretrained_model_name_or_path"
            ]
        )
        raise ValueError(
            f"{file} holds weights alone, and their configuration ({kind}) is not in this machine's cache, "
            f"nor does the hub give it. Run `hf download {kind} --include '*.json' --include '*.txt'` where "
            "there is a network, and copy its cache here; or say where it lies: "
            f"--base {file}{CONFIG}FOLDER, in Python config=FOLDER"
        ) from error


def _of_the_hub(error: Exception) -> bool:
    """Whether a file was not found by the hub's library, rather than on this disk."""
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    return isinstance(error, (EntryNotFoundError, LocalEntryNotFoundError))


def is_xl(checkpoint: Path) -> bool:
    """Whether a single-file checkpoint is SDXL's: it has a second text encoder.

    Raises ValueError for a damaged file.
    """
    if checkpoint.suffix != ".safetensors":
        return False  # a pickle would have to be loaded to see; SDXL came out after them
    if error := _unreadable(checkpoint):
        raise ValueError(f"{checkpoint} is damaged or cut short ({error}): copy or download it again")
    with safe_open(checkpoint, "pt") as file:
        return any(name.startswith("conditioner.embedders.1.") for name in file.keys())  # noqa: SIM118


def hub_commit(path: str | Path) -> str | None:
    """The commit in the path of a file of the hub's cache, .../snapshots/COMMIT/...; None elsewhere."""
    found = re.search(r"[\\/]snapshots[\\/]([0-9a-f]{40})([\\/]|$)", str(path))
    return found[1] if found else None


def _json(path: Path) -> dict[str, Any]:
    """ValueError for a file that holds none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path}: is no JSON ({error}); copy it again") from error


def _check_parts(folder: Path) -> None:
    """ValueError for a base on this disk without a part that it names itself and that is needed."""
    index = folder / "model_index.json"
    if not index.is_file():
        return
    for name, kind in _json(index).items():
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

    def chosen(self, names: str | Sequence[str] | None) -> dict[str, Path]:
        """The adapters of these names, or all (None). Raises ValueError for one that is not there."""
        if names is None:
            return self.adapters
        wanted = [names] if isinstance(names, str) else names
        if unknown := [repr(name) for name in wanted if name not in self.adapters]:
            raise ValueError(
                f"adapters: the base brings no {' and no '.join(unknown)}, only "
                f"{', '.join(self.adapters) or 'none'}; load one from elsewhere with load_adapter"
            )
        return {name: self.adapters[name] for name in wanted}


def saved_with(
    base: str,
    adapters: str | Sequence[str] | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | None = None,
    local_files_only: bool = False,
) -> Saved:
    """Adapters and styles saved with a base, nothing with a file; from the hub, they are downloaded, of the
    adapters only those named in `adapters` (None: all)."""
    folder = Path(base)
    if not folder.exists():
        from huggingface_hub import snapshot_download

        folder = Path(
            snapshot_download(
                base,
                allow_patterns=_patterns(adapters),
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
        weights=_json(weights) if weights.is_file() else {},
        decoder=decoder if (decoder / "config.json").is_file() else None,
        priors={name: folder / name for name in PRIOR_FOLDERS if (folder / name / "config.json").is_file()},
    )


def _patterns(adapters: str | Sequence[str] | None) -> list[str]:
    """Files of a base on the hub that are ours; of adapters that are not asked for, their configs."""
    others = [f"{name}/*" for name in OURS if name != ADAPTERS_FOLDER]
    if adapters is None:
        return [f"{ADAPTERS_FOLDER}/*", *others]
    names = [adapters] if isinstance(adapters, str) else adapters
    asked = [f"{ADAPTERS_FOLDER}/{name}/*" for name in names]
    return [f"{ADAPTERS_FOLDER}/*/config.json", *asked, *others]


def saved_adapters(base: str | Path, names: Sequence[str] | None = None) -> dict[str, Path]:
    """Folders of the adapters saved with a base, by name; from the hub, `names` of them (None: all) are
    downloaded."""
    file, _ = split_config(find_base(base))
    place, revision = located(file)
    with explained(place, revision):
        return saved_with(place, names, revision=revision).adapters


def find_adapter(source: str | Path, what: str = "an adapter") -> Path:
    """The folder of one adapter: itself, or OWNER/NAME[@REVISION][/FOLDER] on the hub.

    Raises ValueError for what is neither; `what` is what is looked for, in its words.
    """
    if Path(source).is_dir():
        return Path(source)
    _, _, name = what.partition(" ")
    place = _on_hub(source, name, f"folder; give {what}'s folder, or OWNER/NAME/FOLDER")
    from huggingface_hub import snapshot_download

    with explained(str(source)):
        found = snapshot_download(
            place.repository,
            revision=place.revision,
            allow_patterns=f"{place.inside}/*" if place.inside else None,
        )
    if not (folder := Path(found) / place.inside).is_dir():
        raise ValueError(
            f"{name} {str(source)!r}: there is no folder {place.inside!r} in what can be had of "
            f"{place.repository} now: check its name, or run `{place.command}` where there is a network"
        )
    return folder


def adapter_name(text: str) -> str:
    """What a pipeline calls the adapter of a command line's `--adapter [NAME=]FOLDER`.

    Raises ValueError for a folder that holds no adapter.
    """
    from adapters import is_published
    from adapters.store import read_config

    name, source = named_place(text)
    place = find_adapter(source)
    own = place.name if is_published(place) else read_config(place).condition
    return name or own


def find_decoder(source: str | Path) -> Path:
    """The folder of a decoder adapter, found as `find_adapter` does; ValueError for one that holds none."""
    from adapters.decoder_store import read_decoder_config

    place = find_adapter(source, "a decoder adapter")
    read_decoder_config(place)
    return place


def find_style(source: str | Path) -> Path:
    """The file of one style: itself, or OWNER/NAME[@REVISION]/FILE.safetensors on the hub.

    Raises ValueError for what is neither.
    """
    if Path(source).exists():
        return Path(source)
    place = _on_hub(source, "style", "file; give a .safetensors file, or OWNER/NAME/FILE.safetensors")
    file = place.inside or LORA_FILE
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    def fetched(path: str) -> Path:
        found = hf_hub_download(
            place.repository,
            path,
            revision=place.revision,
            local_files_only=without_network(place.repository),
        )
        return Path(found)

    with explained(str(source) if place.inside else f"{source}/{file}"):
        weights = fetched(file)
    with contextlib.suppress(EntryNotFoundError):  # peft says beside it how strong it is
        fetched(Path(file).with_name("adapter_config.json").as_posix())
    return weights


def style_name(source: str | Path) -> str:
    """What a style found by `find_style` is called: after its file, or the repository where that is not
    named."""
    if Path(source).exists():
        return Path(source).stem
    place = _on_hub(source, "style", "file")
    return Path(place.inside).stem if place.inside else place.repository.partition("/")[2]


def _on_hub(source: str | Path, what: str, expected: str) -> HubPlace:
    """The place on the hub that is meant. A ValueError of `what` was `expected` if none is."""
    try:
        if isinstance(source, Path):
            raise ValueError
        return HubPlace.read(source)
    except ValueError:
        raise ValueError(f"{what} {str(source)!r}: no such {expected} on the hub") from None


def is_hub_id(text: str) -> bool:
    """Whether a text has the form OWNER/NAME."""
    if CONFIG in text:
        return False
    owner, slash, name = text.partition("/")
    return bool(slash and owner and name) and "/" not in name and not text.startswith((".", "~"))
