"""Who reads maps back from generated pictures, as a command's options say?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from eval.digests import digest_of, digest_of_base, digest_of_folder, digests_of_adapters
from eval.protocols.fidelity import (
    KINDS,
    MapReader,
    annotator_reader,
    folder_reader,
    judge_reader,
    remembering,
)
from eval.protocols.readers import (
    BASE,
    Reader,
    digest_of_reader,
    load_judge,
    load_without_base,
    reader_in_words,
)
from eval.protocols.setup import load_pipeline
from unicon.conditions.annotators import open_annotator
from unicon.data.photos import list_photos
from unicon.devices import pick_device
from unicon.typed import positive

CONDITIONING, SECOND = "made the condition", "second reader"
"""What a reader is to the maps. Whether the second is held out is for its user to know: where neither the
maps nor the training of what is judged came from it."""


def add_map_reader_arguments(top: argparse._ActionsContainer) -> None:
    """--annotator, --weights, --judge, --base, --steps, --read, --palette."""
    top.add_argument("--annotator", metavar="NAME", help="the one that made the maps (docs/annotators.md)")
    top.add_argument("--weights", metavar="DIR", help="the annotator's, if not from the hub")
    top.add_argument(
        "--judge",
        metavar="READER",
        help="a second, held-out reader: mini (the small network that ships, for pictures like its scenes), "
        "base (--base itself), or a folder of a judge, a regressor or another base",
    )
    top.add_argument("--base", default="mini", help="base whose VAE a regressor uses (default mini)")
    top.add_argument("--steps", type=positive, default=20, metavar="N", help="of a judge that is a base")
    top.add_argument(
        "--read", action="append", default=[], metavar="NAME=DIR",
        help="maps that another model has read already, by the pictures' stems; may be repeated",
    )  # fmt: skip
    top.add_argument("--palette", metavar="FILE", help=".npy (classes, 3) uint8, of segmentation")


def map_readers(
    arguments: argparse.Namespace, keep: Path | None, batch_size: int, pictures: Sequence[Path]
) -> dict[tuple[str, str], MapReader]:
    """By name and role, each made ready for `pictures`; maps that `keep` holds are not read again.

    Raises ValueError where nobody reads, for a reader that does not know the condition, and for a picture
    that `--read` holds no map of.
    """
    given = {}
    for text in arguments.read:
        name, sign, folder = text.partition("=")
        if not sign:
            raise ValueError(f"--read is {text!r}; expected NAME=DIR")
        given[name, "given maps"] = folder_reader({p.stem: p for p in list_photos(folder)}, pictures)
    if not (given or arguments.annotator or arguments.judge):
        raise ValueError("nobody reads the maps back: give --annotator, --judge or --read NAME=DIR")
    found: dict[tuple[str, str], MapReader] = {}
    family = family_of(arguments.condition)
    if arguments.annotator:
        device = str(pick_device(arguments.device))
        annotator = open_annotator(family, arguments.annotator, weights=arguments.weights, device=device)
        weights = digest_of_folder(arguments.weights) if arguments.weights else None
        facts = annotator.facts() | {"weights digest": weights}
        found[annotator.card.name, CONDITIONING] = remembering(annotator_reader(annotator), keep, facts)
    if arguments.judge:
        judge, facts = _judge(arguments, family, batch_size)
        facts |= {"steps": arguments.steps, "condition": family}
        name = reader_in_words(arguments.judge)
        name += f" ({arguments.base})" if arguments.judge == BASE else ""
        found[name, SECOND] = remembering(judge_reader(judge, family), keep, facts)
    return found | given


def _judge(arguments: argparse.Namespace, family: str, batch_size: int) -> tuple[Reader, dict[str, object]]:
    """The second reader, and what makes its readings; a base is loaded only where one is needed."""
    steps = arguments.steps
    known = [family] if arguments.judge != BASE else []  # a base itself says which adapter it lacks
    device = pick_device(arguments.device)
    apart = load_without_base(arguments.judge, device, torch.float32, steps, batch_size, known)
    if apart is not None:
        return apart, {"judge": digest_of_reader(arguments.judge)}
    pipe = load_pipeline(
        arguments.base, arguments.device, "float32", [family] if arguments.judge == BASE else []
    )
    judge = load_judge(arguments.judge, pipe, steps, batch_size, known)
    if arguments.judge == BASE:
        return judge, {"judge": f"{digest_of_base(pipe)} {sorted(digests_of_adapters(pipe).items())}"}
    # A regressor sees through this base's VAE.
    return judge, {"judge": digest_of_reader(arguments.judge), "vae": digest_of(pipe.vae)}


def family_of(condition: str) -> str:
    """The annotators' name of a condition."""
    kind = KINDS[condition]
    return "edge" if kind == "lines" else kind


def palette_of(arguments: argparse.Namespace) -> np.ndarray | None:
    """Colours (classes, 3) uint8 of `--palette`; ValueError for a file that holds none."""
    if not arguments.palette:
        return None
    try:
        found = np.load(arguments.palette, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{arguments.palette}: is no .npy file ({error})") from error
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{arguments.palette}: holds several arrays; expected one, in a .npy file")
    if found.dtype != np.uint8 or found.ndim != 2 or found.shape[1] != 3 or not len(found):
        raise ValueError(
            f"{arguments.palette}: holds {found.dtype} of shape {found.shape}; expected uint8 (classes, 3)"
        )
    return found
