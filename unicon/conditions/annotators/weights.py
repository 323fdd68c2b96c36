"""Where do an annotator's weights lie on this machine, and which command fetches them if they do not?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unicon.conditions.annotators.cards import Card
from unicon.sources import hub_commit, without_network


def weight_files(card: Card, weights: str | Path | None) -> list[Path]:
    """The card's files, in a folder of the user's or in the hub's cache, downloaded if there is a network.

    Raises ValueError naming the file that is missing and the command that fetches it.
    """
    if weights is not None:
        folder = local_folder(card, weights)
        for name in card.files:
            if not (folder / name).is_file():
                raise ValueError(
                    f"{folder / name} does not exist: annotator {card.name} needs it; "
                    f"run: {fetch_command(card, folder)}"
                )
        return [folder / name for name in card.files]
    assert card.hub is not None
    from huggingface_hub import hf_hub_download

    with fetched(card):
        how = {"revision": card.revision, "local_files_only": without_network(card.hub)}
        return [Path(hf_hub_download(card.hub, name, **how)) for name in card.files]


def local_folder(card: Card, weights: str | Path) -> Path:
    """A folder of weights; ValueError for what is none, and for an annotator without weights."""
    if card.hub is None:
        raise ValueError(f"annotator {card.name} needs no weights; leave out {str(weights)!r}")
    folder = Path(weights)
    if not folder.is_dir():
        raise ValueError(
            f"weights {str(weights)!r}: no such folder; name one that holds "
            f"{', '.join(card.files) or 'config.json and model.safetensors'}, "
            f"or make it: {fetch_command(card, folder)}"
        )
    return folder


@contextmanager
def fetched(card: Card) -> Iterator[None]:
    """What the hub's libraries say when they cannot get a card's weights, as a ValueError with a command."""
    try:
        yield
    except OSError as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(
            f"annotator {card.name}: its weights are not on this machine and the hub does not give them "
            f"({first}). Where there is a network, run: {fetch_command(card)}; then copy the folder it "
            "prints here and name it as weights"
        ) from error


def fetch_command(card: Card, folder: Path | None = None) -> str:
    """The command that downloads a card's weights, into `folder` or the hub's cache."""
    words = ["hf download", card.hub, *card.files]
    words += [f"--revision {card.revision}"] if card.revision else []
    words += [f"--local-dir {folder}"] if folder else []
    return " ".join(str(word) for word in words)


def provenance(card: Card, place: Path) -> dict[str, str | None]:
    """Where weights came from: repository and commit, or the user's folder."""
    commit = hub_commit(str(place))
    source = card.hub if commit else str(place if place.is_dir() else place.parent)
    return {"weights": source, "revision": commit}
