"""Which evaluation runs? `unicon eval NAME ARGUMENTS` and `python -m eval NAME ARGUMENTS` look it up here.

Each name is a module with `main(argv) -> int`, imported only when chosen. Leaves out what the evaluations do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from unicon.extras import quiet_about_torchvision

COMMANDS = {
    "mini": ("eval.suites.mini", "suite: scenes that training never saw, every direction, with a report"),
    "nyu_depth": ("eval.suites.nyu_depth", "suite: depth of real rooms, with a report"),
    "bsds": ("eval.suites.bsds", "suite: boundaries of photographs, with a report"),
    "lsp": ("eval.suites.lsp", "suite: poses of athletes, with a report"),
    "folder": ("eval.suites.folder", "suite: your own pairs, with a report"),
    "compare": ("eval.runs.compare", "two runs of a suite: differences with paired intervals"),
    "study": ("eval.study.command", "a blinded page on which people judge two runs"),
    "votes": ("eval.study.votes", "win rates from the votes of a study"),
    "baselines": ("eval.baselines", "scores of predictions that never look at the picture"),
    "scenes": (
        "eval.protocols.scenes_command",
        "estimation, generation and joint samples on held-out scenes",
    ),
    "vae": ("eval.protocols.vae", "what the compressor leaves of pictures and maps"),
    "maps": ("eval.protocols.maps_command", "a folder of saved maps against a folder of truths"),
    "control": ("eval.protocols.control", "maps read back from generated pictures, or from joint samples"),
    "text": ("eval.protocols.texts", "CLIP scores of pictures and their captions"),
    "identity": ("eval.protocols.identity", "likeness to references of a subject, with the missing rate"),
    "diversity": ("eval.protocols.diversity", "how different samples of one prompt or condition are"),
    "attributes": ("eval.protocols.attributes", "attribute shares beside the data's, errors by attribute"),
    "distributions": (
        "eval.protocols.distributions",
        "generated pictures against real ones: Fréchet, KID, CMMD, precision, recall, rarity",
    ),
    "originality": (
        "eval.originality.command",
        "generated pictures beside a training set: rarity, realism, near-copies",
    ),
    "factors": ("eval.protocols.factors", "kinds, lights and styles that a base's CLIP reads, zero-shot"),
    "unclip": ("eval.protocols.unclip_command", "decoder conditions, guidance and priors of unCLIP"),
    "table": ("eval.protocols.results", "markdown tables from result files"),
}
"""Name -> (module, one line of help)."""


def usage() -> str:
    """The list of evaluations."""
    lines = [f"  {name:<14}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: unicon eval NAME [arguments]",
            "",
            *lines,
            "",
            "example: unicon eval mini --num 100 --out runs/eval-mini",
            "unicon eval NAME --help tells more",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the evaluation named first; 2 with the known names for an unknown one."""
    quiet_about_torchvision()
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] not in COMMANDS:
        print(f"unicon eval: unknown evaluation {argv[0]!r}\n\n{usage()}", file=sys.stderr)
        return 2
    return import_module(COMMANDS[argv[0]][0]).main(argv[1:])


if __name__ == "__main__":
    raise SystemExit(main())
