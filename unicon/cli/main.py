"""Which subcommands are there, and what happens to their errors?

A subcommand is one module with `EXAMPLE`, `configure(parser)` and `run(args)`, and one line in `COMMANDS`.
Only the chosen module is imported, so `unicon --help` waits for nothing.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from io import TextIOWrapper
from types import ModuleType

from unicon import __version__
from unicon.cli.ours import PACKAGES, prefer_ours
from unicon.cli.status import BAD_INPUT, INTERRUPTED
from unicon.extras import MissingExtra, quiet_about_torchvision

NOT_IMPORTED = "Failed to import"
"""How diffusers' and transformers' errors of a broken installation begin, which are RuntimeErrors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One subcommand."""

    name: str
    module: str
    """Imported when the command is chosen."""
    help: str
    """One line, shown by `unicon --help`."""
    passes_on: bool = False
    """Whether arguments it does not know go on to another program, as `args.rest`."""

    def load(self) -> ModuleType:
        return import_module(self.module)


COMMANDS = (
    Command(name="demo", module="unicon.cli.demo", help="draw and measure every direction"),
    Command(name="generate", module="unicon.cli.generate", help="draw, edit or complete a picture"),
    Command(name="vary", module="unicon.cli.vary", help="draw a picture again through its embedding"),
    Command(name="upscale", module="unicon.cli.upscale", help="draw pictures again, larger"),
    Command(name="estimate", module="unicon.cli.estimate", help="estimate maps of photographs"),
    Command(name="joint", module="unicon.cli.joint", help="draw a picture and its maps together"),
    Command(name="annotate", module="unicon.cli.annotate", help="make pairs of your photographs"),
    Command(name="pairs", module="unicon.cli.pairs", help="make pairs of your copy of a public set"),
    Command(name="check", module="unicon.cli.check", help="find what is wrong with your own pairs"),
    Command(name="rescale", module="unicon.cli.rescale", help="bring maps of any unit into the range read"),
    Command(
        name="train",
        module="unicon.cli.launch",
        help="train a base, an adapter or a recipe's part of them",
        passes_on=True,
    ),
    Command(
        name="eval",
        module="unicon.cli.launch",
        help="measure maps and pictures against ground truth",
        passes_on=True,
    ),
    Command(name="convert", module="unicon.cli.convert", help="bring an adapter into another layout"),
    Command(name="levels", module="unicon.cli.levels", help="plot which noise levels a law trains"),
    Command(name="scenes", module="unicon.cli.scenes", help="render procedural scenes with exact maps"),
    Command(name="limits", module="unicon.cli.limits", help="measure which pictures are familiar to a base"),
    Command(name="doctor", module="unicon.cli.doctor", help="check this installation and say what mends it"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `unicon ARGUMENTS` and return the exit code: 0, 1 from a command, 2 for bad input."""
    for stream in (sys.stdout, sys.stderr):  # a name that a terminal cannot show is no reason to stop
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    prefer_ours()
    quiet_about_torchvision()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    args = parse(arguments)
    try:
        return args.run(args) or 0
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, MissingExtra) as error:
        return _explain(error, args)
    except (ImportError, RuntimeError) as error:
        if not _is_of_a_library(error):
            raise
        cause = (str(error).rstrip() or type(error).__name__).splitlines()[-1]
        told = f"a library cannot be imported ({cause}): `unicon doctor` says why, and what mends it"
        return _explain(error, args, told)


def _is_of_a_library(error: ImportError | RuntimeError) -> bool:
    """Whether a library cannot be imported, rather than a module or a name of ours."""
    if isinstance(error, RuntimeError):
        return str(error).startswith(NOT_IMPORTED)
    return (error.name or "").partition(".")[0] not in PACKAGES


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The checked arguments of the chosen command; exits with its usage when they make no sense."""
    command = _chosen(arguments)
    parser = build_parser(command)
    args, args.rest = parser.parse_known_args(arguments)
    args.given = list(arguments)
    if args.rest and not (command and command.passes_on):
        hint = _as_map(args.rest) if hasattr(args, "maps") else ""
        parser.error(f"unknown arguments: {' '.join(args.rest)}; {hint}see unicon {args.command} --help")
    return args


def _as_map(rest: Sequence[str]) -> str:
    """How `--NAME FILE` is said of a condition that has no option of its own."""
    name, equals, file = rest[0].removeprefix("--").partition("=")
    if rest[0].startswith("--") and name.isidentifier() and (equals or len(rest) > 1):
        return f"the map of a condition {name!r} is --condition {name}={file if equals else rest[1]}; "
    return ""


def build_parser(command: Command | None) -> argparse.ArgumentParser:
    """The parser that lists every command and knows the options of `command` alone."""
    parser = argparse.ArgumentParser(
        prog="unicon",
        description="One frozen text-to-image model, one adapter per condition, every direction.",
        epilog="unicon COMMAND --help shows a command's options and an example.",
    )
    parser.add_argument("--version", action="version", version=f"unicon-diffusion {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for each in COMMANDS:
        below = commands.add_parser(
            each.name, help=each.help, description=each.help[0].upper() + each.help[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter, add_help=not each.passes_on,
            allow_abbrev=False,
        )  # fmt: skip
        if each == command:
            _configure(below, each.load())
    return parser


def _configure(parser: argparse.ArgumentParser, module: ModuleType) -> None:
    module.configure(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.epilog = f"example:\n  {module.EXAMPLE}"
    parser.set_defaults(run=module.run)


def _chosen(arguments: Sequence[str]) -> Command | None:
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    return next((command for command in COMMANDS if command.name == name), None)


def _explain(error: Exception, args: argparse.Namespace, told: str = "") -> int:
    """Print an error, or what is `told` of it."""
    if args.debug:
        traceback.print_exception(error)
    else:
        print(f"unicon {args.command}: {told or error}", file=sys.stderr)
    return BAD_INPUT


if __name__ == "__main__":
    raise SystemExit(main())
