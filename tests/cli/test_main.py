"""Does the command line find its subcommands, and turn errors into one line?"""

from __future__ import annotations

import argparse

import pytest

from tests.programs import run_python
from unicon.cli import main as cli
from unicon.cli import options
from unicon.extras import MissingExtra, need


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    printed = capsys.readouterr().out
    assert all(f"    {command.name} " in printed for command in cli.COMMANDS)


@pytest.mark.parametrize("command", [command for command in cli.COMMANDS if not command.passes_on])
def test_help_of_a_command_has_an_example(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([command.name, "--help"])
    assert f"example:\n  unicon {command.name} " in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["fly"], ["doctor", "--jsn"], ["doctor", "--js"], ["--seed", "1"]])
def test_unknown_arguments_end_with_usage(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert "usage: unicon" in capsys.readouterr().err


@pytest.mark.parametrize(
    "given, told", [(["--id", "a.png"], "'id' is --condition id=a.png;"), (["--id=a.png"], "id=a.png;"),
    (["--quick"], "--quick; see unicon generate --help")],
)  # fmt: skip
def test_a_condition_without_an_option_of_its_own_is_said_otherwise(given, told, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["generate", "x", *given])
    assert told in capsys.readouterr().err


def failing(monkeypatch, error):
    """Make `unicon doctor` raise `error`."""

    def run(args):
        raise error

    monkeypatch.setattr("unicon.cli.doctor.run", run)


@pytest.mark.parametrize(
    "error", [ValueError("no such map"), FileNotFoundError("no such map"), MissingExtra("no such map")]
)
def test_bad_input_is_one_line_and_code_2(monkeypatch, capsys, error):
    failing(monkeypatch, error)
    assert cli.main(["doctor"]) == 2
    assert capsys.readouterr().err == "unicon doctor: no such map\n"


def test_debug_shows_the_traceback(monkeypatch, capsys):
    failing(monkeypatch, ValueError("no such map"))
    assert cli.main(["doctor", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [AssertionError, RuntimeError])
def test_our_own_mistakes_are_not_hidden(monkeypatch, kind):
    failing(monkeypatch, kind("ours"))
    with pytest.raises(kind, match="ours"):
        cli.main(["doctor"])


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (
            RuntimeError("Failed to import diffusers.a because of the following error:\nno operator nms"),
            "no operator nms",
        ),
        (ImportError("no operator nms"), "no operator nms"),
        (ImportError(), "ImportError"),
    ],
)
def test_a_broken_installation_is_one_for_the_doctor(monkeypatch, capsys, error, cause):
    failing(monkeypatch, error)
    assert cli.main(["doctor"]) == 2
    said = capsys.readouterr().err
    assert f"a library cannot be imported ({cause}): `unicon doctor` says why" in said


@pytest.mark.parametrize("name", ["eval.runs.no_such", "unicon"])
def test_a_module_of_ours_that_is_not_there_is_no_broken_installation(monkeypatch, name):
    failing(monkeypatch, ImportError("cannot import name 'x'", name=name))
    with pytest.raises(ImportError, match="cannot import name 'x'"):
        cli.main(["doctor"])


def test_interrupt_is_quiet(monkeypatch, capsys):
    failing(monkeypatch, KeyboardInterrupt())
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "\n"


def model_options(*arguments):
    parser = argparse.ArgumentParser()
    options.add_model_options(parser, out="out/x")
    return parser.parse_args(arguments)


def test_shared_options_have_one_meaning():
    import torch

    args = model_options("--seed", "7", "--device", "cpu", "--dtype", "bfloat16")
    assert (args.seed, args.out, args.base) == (7, "out/x", "mini")
    assert options.device_and_dtype(args) == (torch.device("cpu"), torch.bfloat16)


def test_seed_is_a_whole_number_from_zero(capsys):
    with pytest.raises(SystemExit, match="2"):
        model_options("--seed", "-1")
    assert "a seed is a whole number from 0, got '-1'" in capsys.readouterr().err


def test_missing_extra_names_the_command():
    with pytest.raises(
        MissingExtra, match=r"no_such_module is not installed; install it with: pip install .*\[annotators\]"
    ):
        need("no_such_module", extra="annotators")


@pytest.mark.slow
def test_nobody_is_told_to_install_torchvision():
    done = run_python("from unicon.cli.main import main; main(['doctor']); import unicon.pipeline")
    assert (done.returncode, "requires torchvision" in done.stderr) == (0, False)


@pytest.mark.parametrize("program", ["train.command", "eval.__main__"])
def test_nor_is_anybody_who_starts_them_by_accelerate(program):
    say = "import logging; print(len(logging.getLogger('transformers.utils.import_utils').filters))"
    done = run_python(f"from {program} import main; main(['--help']); {say}")
    assert done.stdout.split()[-1] == "1", done.stderr
