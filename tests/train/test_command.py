"""Does the trainer's command line refuse what it cannot do?"""

from __future__ import annotations

from dataclasses import fields

import pytest

from train.command import RECIPES, help_text, main
from train.config import RunConfig
from train.field_help import meanings_of
from train.recipes import FAMILIES


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


def test_help_lists_every_recipe(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert set(RECIPES) == set(FAMILIES)
    assert all(f"\n  {name} " in shown for name in FAMILIES)


def test_help_of_a_recipe_says_what_each_field_means(capsys):
    assert main(["adapter", "--help"]) == 0
    shown = capsys.readouterr().out
    config = FAMILIES["adapter"]["adapter"]
    names = {field.name for part in (config.objective, config.loop) for field in fields(part)}
    assert all(f"\n  --{name} " in shown for name in names)
    words = " ".join(shown.split())
    assert "--rank N Of its low-rank updates: how much it can learn, and how large" in words
    assert "--steps N Optimizer steps of the whole run. (default 10000)" in words
    assert "--flip true|false Whether pairs are seen mirrored, too." in words


@pytest.mark.parametrize("recipe", [name for name, stages in FAMILIES.items() if len(stages) == 1])
def test_no_field_of_a_users_own_training_goes_unexplained(recipe):
    (config,) = FAMILIES[recipe].values()
    for part in (config.objective, config.loop):
        unexplained = {field.name for field in fields(part)} - set(meanings_of(type(part)))
        assert unexplained == set()


def test_help_of_a_family_lists_its_stages(capsys):
    assert main(["mini", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "scenes Render num training scenes into the folder name." in shown
    assert "unet Train for 12,000 steps; fields: unicon train mini/unet --help" in shown


def test_help_of_an_unknown_recipe_names_the_known_ones(capsys):
    assert main(["adaptr", "--help"]) == 2
    assert "no recipe named 'adaptr'; did you mean adapter?" in capsys.readouterr().err


def test_no_recipe_is_refused(capsys):
    assert main([]) == 2
    assert "name a recipe; unicon train --help lists them" in capsys.readouterr().err


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_stage_can_be_asked_for_its_fields(family):
    """No field has the name of an option."""
    for name in FAMILIES[family]:
        assert "usage: unicon train" in help_text(f"{family}/{name}")


def test_every_field_has_a_sentence():
    found = set()
    for family, stages in FAMILIES.items():
        for name, stage in stages.items():
            for part in (stage.objective, stage.loop) if isinstance(stage, RunConfig) else ():
                told = meanings_of(type(part))
                found |= {f"{family}/{name} --{f.name}" for f in fields(part) if not told.get(f.name)}
    assert not found
