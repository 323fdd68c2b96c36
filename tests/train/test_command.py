"""Does the trainer's command line refuse what it cannot do?"""

from __future__ import annotations

import pytest

from train.command import main


@pytest.mark.parametrize(
    "argv, message",
    [
        (["nothing"], "no recipe named 'nothing'; known: mini-fast, mini"),
        (["mini-fast/nothing"], "no stage 'nothing'; known: scenes, vae"),
        (["mini-fast", "--steps", "3"], "overrides, --as and --dry-run need one stage"),
        (["mini-fast/vae", "--steps"], "--steps needs a value"),
        (["mini-fast/vae", "steps=3"], "unexpected argument 'steps=3'"),
        (["mini-fast/scenes", "--steps", "3"], "and has no fields to override: steps"),
        (["mini/photos"], "give --photos FILE_OR_FOLDER"),
        (
            ["mini-fast/vae"],
            "scenes; make them first, scenes for example with unicon train mini-fast/scenes --out",
        ),
    ],
)
def test_bad_calls_exit_2_with_the_remedy(argv, message, tmp_path, capsys):
    assert main([*argv, "--out", str(tmp_path / "family")]) == 2
    assert message in capsys.readouterr().err
