"""How is `unicon eval text` asked for, and what does it write?"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from eval.clip import Clip
from eval.command import command
from eval.features import MINI, RESIZES
from eval.metrics.summary import Interval
from eval.metrics.text import SCALES, Scale, text_score
from eval.protocols.generated import captioned
from eval.protocols.maps_command import write_rows
from eval.protocols.results import save, tables
from eval.protocols.setup import add_machine_arguments
from eval.records import Record
from unicon.devices import pick_device


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval text",
        description="How well pictures match their captions: CLIP scores with their scale named.",
        epilog="example: unicon eval text --generated out/generated --clip clip-vit-base-patch16 "
        "--scale percent",
    )
    top.add_argument("--generated", required=True, metavar="SOURCE", help="folder of pictures, or pairs")
    top.add_argument(
        "--captions", metavar="FILE",
        help="CSV or JSON lines with name and caption (default: STEM.txt, metadata.jsonl, or the PNG's own)",
    )  # fmt: skip
    top.add_argument("--clip", default=MINI, metavar="MODEL", help="mini, or a folder of a CLIP")
    scales = "; ".join(f"{name}: {text}" for name, text in SCALES.items())
    top.add_argument("--scale", choices=get_args(Scale), default="cosine", help=scales)
    top.add_argument("--resize", choices=list(RESIZES), default="bicubic", help="default bicubic")
    top.add_argument("--csv", metavar="FILE", help="write each picture's score")
    add_machine_arguments(top)
    return top


def _run(arguments: argparse.Namespace) -> str:
    pictures, texts = captioned(arguments.generated, arguments.captions)
    clip = Clip(arguments.clip, resize=arguments.resize, device=str(pick_device(arguments.device)))
    bar = partial(tqdm, desc="embedding", unit="batch", leave=False)
    seen = clip.pictures(pictures, batch_size=arguments.batch_size, progress=bar)
    read = clip.of_texts(texts)
    found = text_score(seen.values, read.values, texts, scale=arguments.scale)
    if arguments.csv:
        told = zip(pictures.names, texts, found.per_picture, strict=True)
        write_rows(
            Path(arguments.csv), [{"name": n, "caption": t, "clip_score": score} for n, t, score in told]
        )
    numbers: dict[str, float | int] = {"num": found.num}
    if isinstance(found.mean, Interval):
        numbers |= {"clip_score": found.mean.mean, "clip_score_low": found.mean.low}
        numbers |= {"clip_score_high": found.mean.high}
    else:
        numbers["clip_score"] = found.mean
    optional = {"another_caption": found.shuffled, "own_caption_first": found.own_first}
    numbers |= {name: value for name, value in optional.items() if value is not None}
    one = Record(
        name="text",
        numbers=numbers,
        settings={
            "generated": Path(arguments.generated).name, "clip": clip.source,
            "scale": SCALES[found.scale], "num_captions_cut": read.num_cut,
        },
    )  # fmt: skip
    save(arguments.out, [one])
    return tables([one])


main = command(parser, _run)
