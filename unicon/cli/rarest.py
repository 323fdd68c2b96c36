"""How are the rarest of many drawn pictures kept?

What is rare, no copy, and true to prompt and map is for `unicon eval originality` to say, in its own words.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from unicon.cli.files import slug, write_bytes
from unicon.cli.given import GivenMap
from unicon.cli.run_marks import drawn_with, of_its_own
from unicon.typed import check_idle, positive

_PASSED_ON = ("training", "features", "clip", "judge")
"""Options that mean what they mean to `unicon eval originality`."""


def add_keep_options(parser: argparse.ArgumentParser) -> None:
    """`--keep`, and the options of `unicon eval originality` that say beside what and by whom."""
    group = parser.add_argument_group("rarity-aware sampling")
    group.add_argument(
        "--keep", type=positive, metavar="N",
        help="keep, of all --num pictures, the N rarest beside --training that are in its manifold, no "
        "near-copies, and true to the prompt and the map",
    )  # fmt: skip
    group.add_argument(
        "--training", metavar="SOURCE", help="folder of pictures, pairs, or features, at least 100"
    )
    group.add_argument("--features", metavar="MODEL", help="mini (default), or a transformers vision model")
    group.add_argument("--clip", metavar="MODEL", help="mini (default), or a folder of a CLIP")
    group.add_argument(
        "--judge", metavar="READER",
        help="who reads the map back: mini (default), base, or a folder of a judge or a base",
    )  # fmt: skip


def check_keep(args: argparse.Namespace) -> None:
    """ValueError for options that contradict each other, and for a training set, a model or a reader that
    cannot be used: before anything is drawn."""
    if args.keep is None:
        return check_idle(args, _PASSED_ON, "keep")
    # Not before: who keeps nothing needs no evaluation.
    from eval.features import Extractor, FeatureSet, check_one_model, model_folder, open_source, resizing
    from eval.originality.copies import check_level
    from eval.protocols.map_readers import family_of
    from eval.protocols.readers import check_reader

    if args.training is None:
        raise ValueError("--keep keeps what is rare beside other pictures; say which, with --training SOURCE")
    if args.keep > args.num:
        raise ValueError(f"--keep {args.keep} of --num {args.num}: draw more than are kept")
    asked = _originality(args, Path(args.out))
    training = open_source(asked.training)
    check_level(len(training), asked.level)
    for model in (asked.features, asked.clip):
        model_folder(model)
    if asked.maps is not None:
        family = family_of(asked.condition)
        if family == "segmentation":
            raise ValueError(
                "--keep cannot compare maps of classes, whose palette it does not know: draw without it, and "
                "give --palette to `unicon eval originality --keep`"
            )
        check_reader(asked.judge, [family])
    if isinstance(training, FeatureSet):
        extractor = Extractor(asked.features, **resizing(asked))
        check_one_model({"--training": training, "--generated": extractor})


def check_keep_size(args: argparse.Namespace, size: tuple[int, int]) -> None:
    """ValueError where pictures of this size (width, height) cannot be compared with the map."""
    if args.keep is None or (given := _judged_map(args)) is None:
        return
    from eval.protocols.fidelity import check_shape
    from unicon.data.photos import upright_size

    check_shape("what is to be drawn", size, upright_size(given.path))


def drawn_in(args: argparse.Namespace, mark: str) -> Path:
    """The folder that pictures are drawn into: of this run alone where some are kept."""
    return Path(args.out) if args.keep is None else _place(args, mark) / "drawn"


def keep_rarest(args: argparse.Namespace, mark: str) -> list[Path]:
    """Copies of the kept pictures in `--out`, rarest first; the report lies beside the drawn ones.

    Copies of such that an earlier choice from the same pictures has kept are removed.
    """
    from eval.originality.command import RAREST, judge

    place, out = _place(args, mark), Path(args.out)
    if (given := _judged_map(args)) is not None:
        shutil.rmtree(place / "maps", ignore_errors=True)  # of an earlier run with another map
        name = f"{slug(args.prompt)}_{given.name}{given.path.suffix}"
        write_bytes(place / "maps" / name, given.path.read_bytes())
    print(judge(_originality(args, place)), file=sys.stderr)
    copies = []
    for name in (place / RAREST).read_text(encoding="utf-8").split("\n")[:-1]:
        copy = Path(f"{of_its_own(out / Path(name).stem, mark)}.png")
        copies.append(write_bytes(copy, (place / "drawn" / name).read_bytes()))
    for earlier in set(drawn_with(mark, out)) - set(copies):
        earlier.unlink()
    return copies


def _place(args: argparse.Namespace, mark: str) -> Path:
    seeds = range(args.seed, args.seed + args.num)
    drawn = [f"/drawn/{slug(args.prompt)}_seed{seed}.png" for seed in seeds]
    return of_its_own(Path(args.out) / f"{slug(args.prompt)}_seed{seeds[0]}-{seeds[-1]}", mark, drawn)


def _judged_map(args: argparse.Namespace) -> GivenMap | None:
    """The first whose condition can be compared."""
    from eval.protocols.fidelity import KINDS

    return next((each for each in args.maps if each.name in KINDS), None)


def _originality(args: argparse.Namespace, place: Path) -> argparse.Namespace:
    """What is asked of `unicon eval originality`, whose pictures and report lie in `place`."""
    from eval.originality.command import parser

    asked = {"generated": place / "drawn", "out": place, "cache": Path(args.out) / "cache"}
    asked |= {"keep": args.keep, "device": args.device}
    asked |= {name: getattr(args, name) for name in _PASSED_ON if name != "judge"}
    if (given := _judged_map(args)) is not None:
        asked |= {"maps": place / "maps", "condition": given.name, "base": args.base}
        asked["judge"] = args.judge or "mini"
    told = [(f"--{name}", str(value)) for name, value in asked.items() if value is not None]
    return parser().parse_args([text for pair in told for text in pair])
