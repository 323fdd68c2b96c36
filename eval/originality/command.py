"""How is `unicon eval originality` asked for, and what does it write?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from adapters.files import write_whole
from eval.clip import Clip
from eval.command import command
from eval.features import (
    FILES,
    MINI,
    Extractor,
    FeatureSet,
    add_resizing,
    check_one_model,
    open_source,
    resizing,
)
from eval.kept import kept_features
from eval.manifold.features import checked
from eval.originality.assessment import assess
from eval.originality.page import as_html
from eval.originality.references import open_references
from eval.originality.report import Report, as_csv, as_lines, as_record
from eval.originality.selection import check_number, rarest_true
from eval.originality.sight import Sight
from eval.originality.truncation import how_many_matched, matched, read_truncation
from eval.originality.truth import Truth, true_to_map, true_to_prompt
from eval.pictures import Pictures
from eval.protocols.fidelity import KINDS, check_comparable
from eval.protocols.generated import Outputs, captions_of, maps_in, of_stems, open_outputs
from eval.protocols.map_readers import add_map_reader_arguments, map_readers, palette_of
from unicon.devices import pick_device
from unicon.typed import check_idle, positive

RAREST = "rarest.txt"
"""The names of the kept pictures, rarest first."""


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval originality",
        description="Judge generated pictures beside a training set: rarity, realism, near-copies, likeness "
        "to other outputs of the same prompt and to what was given.",
        epilog="example: unicon eval originality --generated out/samples --training data/photos "
        "--out out/originality --keep 8",
    )
    top.add_argument("--generated", required=True, metavar="DIR", help="folder of pictures, or pairs")
    top.add_argument(
        "--training", required=True, metavar="SOURCE",
        help=f"folder of pictures, pairs, or features of the same model ({', '.join(FILES)}), which are "
        "compared by meaning alone",
    )  # fmt: skip
    top.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    top.add_argument("--features", default=MINI, metavar="MODEL", help="mini, or a transformers vision model")
    add_resizing(top)
    top.add_argument(
        "--neighbours", type=positive, default=3, metavar="K", help="of the manifold (default 3)"
    )
    top.add_argument(
        "--level", type=float, default=0.01, help="share of false alarms of near-copies (default 0.01)"
    )
    top.add_argument("--truncation", metavar="FILE", help="CSV with columns name and truncation, if known")
    top.add_argument(
        "--references", metavar="DIR", help="pictures that were given: STEM of STEM.png, STEM_0.png, ..."
    )
    top.add_argument(
        "--cache",
        metavar="DIR",
        help="where features and looks are kept for the next run (default OUT/cache)",
    )
    top.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default auto)")
    prompts = top.add_argument_group("true to the prompt")
    prompts.add_argument(
        "--captions", metavar="FILE",
        help="CSV or JSON lines with name and caption (default: STEM.txt, metadata.jsonl, or the PNG's own)",
    )  # fmt: skip
    prompts.add_argument("--clip", default=MINI, metavar="MODEL", help="mini, or a folder of a CLIP")
    prompts.add_argument(
        "--clip-limit", type=float, metavar="COSINE", help="least cosine that counts as true"
    )
    maps = top.add_argument_group("true to the map")
    maps.add_argument("--maps", metavar="DIR", help="that pictures were made from: STEM or STEM_CONDITION")
    maps.add_argument("--condition", metavar="NAME", help=f"of the maps; known: {', '.join(KINDS)}")
    maps.add_argument("--control-limit", type=float, metavar="N", help="worst number that counts as true")
    add_map_reader_arguments(maps)
    top.add_argument(
        "--keep", type=int, metavar="N",
        help="also name the N rarest that are in the manifold, no near-copies, and true to prompt and map",
    )  # fmt: skip
    return top


def judge(arguments: argparse.Namespace) -> str:
    """Write the report; what it says in short. Raises ValueError for what cannot be judged."""
    # All that can be refused is looked at before anything is embedded, which may take hours.
    check_idle(arguments, ("condition", "control_limit", "annotator", "judge", "read"), "maps")
    outputs = open_outputs(arguments.generated, arguments.captions)
    if arguments.clip_limit is not None and outputs.captions is None:
        raise ValueError("--clip-limit has no effect without captions: give --captions, or leave it out")
    training = open_source(arguments.training)
    if arguments.keep is not None:
        check_number(arguments.keep)
    references = open_references(arguments.references, outputs) if arguments.references else None
    psis, told = {}, outputs.notice
    if arguments.truncation:
        given = read_truncation(Path(arguments.truncation))
        psis = matched(given, outputs.pictures.names, arguments.truncation)
        told += how_many_matched(given, psis, outputs.pictures.names, arguments.truncation)
    device = str(pick_device(arguments.device))
    extractor = Extractor(arguments.features, device=device, **resizing(arguments))
    if isinstance(training, FeatureSet):
        checked(training.values, "--training")
        check_one_model({"--training": training, "--generated": extractor})
    out = Path(arguments.out)
    cache = Path(arguments.cache) if arguments.cache else out / "cache"
    out.mkdir(parents=True, exist_ok=True)
    judge_of_maps = _judge_of_maps(arguments, outputs, cache) if arguments.maps else None
    clip = None
    if outputs.captions is not None:
        clip = Clip(arguments.clip, resize=arguments.resize, device=device)
    found = assess(
        outputs.pictures, training, partial(kept_features, extractor, folder=cache), k=arguments.neighbours,
        level=arguments.level, truncation=psis, prompts=outputs.prompts, references=references,
        sight=Sight(cache),
    )  # fmt: skip
    truths: dict[str, Truth] = {}
    if outputs.captions is not None and clip is not None:
        truths["clip_score"] = true_to_prompt(
            outputs.pictures, outputs.captions, clip, limit=arguments.clip_limit, true=_true_pairs(training),
            folder=cache,
        )  # fmt: skip
    if judge_of_maps is not None:
        truths["control"] = judge_of_maps()
    selection = None
    if arguments.keep is not None:
        selection = rarest_true(found, arguments.keep, truths.values())
        told += "" if truths else "no captions and no maps are known: nothing says what is true to them\n"
    report = Report(found=found, grouped_by=outputs.grouped_by, truths=truths, selection=selection)
    title = f"{Path(arguments.generated).name} beside {Path(arguments.training).name}"
    texts = {
        "originality.csv": as_csv(report),
        "originality.html": as_html(
            report, title, generated=outputs.pictures,
            training=None if isinstance(training, FeatureSet) else training,
            references=None if references is None else references.pictures,
        ),
        "report.json": as_record(
            report, {"generated": str(arguments.generated), "training": str(arguments.training)}
        ),
    }  # fmt: skip
    if selection is not None:
        texts[RAREST] = "".join(f"{found.rows[place].name}\n" for place in selection.places)
    else:  # of an earlier run, which chose
        (out / RAREST).unlink(missing_ok=True)
    for name, text in texts.items():
        write_whole(out / name, partial(_write, text=text))
    return "\n".join([*as_lines(report), f"{told}{', '.join(texts)} in {out}"])


def _true_pairs(training: Pictures | FeatureSet) -> tuple[Pictures, Sequence[str]] | None:
    """Training pictures with their captions, where all have one."""
    if isinstance(training, FeatureSet):
        return None
    captions = captions_of(training)
    return None if captions is None else (training, captions)


def _judge_of_maps(arguments: argparse.Namespace, outputs: Outputs, cache: Path) -> partial[Truth]:
    """What reads all maps back, made ready. Raises ValueError for what cannot be read or compared."""
    if arguments.condition not in KINDS:
        raise ValueError(f"--condition is {arguments.condition!r}; known: {', '.join(KINDS)}")
    maps = maps_in(arguments.maps, arguments.condition)
    files = list(maps.values())
    places = of_stems(outputs.pictures, {stem: place for place, stem in enumerate(maps)}, "--maps")
    num = sum(map(bool, (arguments.annotator, arguments.judge, *arguments.read)))
    if num > 1:
        raise ValueError(f"{num} read the maps back; give one of --annotator, --judge and --read")
    kind, palette = KINDS[arguments.condition], palette_of(arguments)
    paths, given = outputs.pictures.paths, [files[place] for place in places]
    assert paths is not None, "of_stems goes by them"
    each = dict(zip(map(str, paths), zip(paths, given, strict=True), strict=True))
    check_comparable(
        kind, {n: m for n, (_, m) in each.items()}, {n: [p] for n, (p, _) in each.items()}, palette=palette
    )
    (((name, role), reader),) = map_readers(arguments, cache / "maps", 1, paths).items()
    return partial(
        true_to_map, paths, given, arguments.condition, kind, reader, by=f"{name}, {role}", palette=palette,
        limit=arguments.control_limit,
    )  # fmt: skip


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


main = command(parser, judge)
