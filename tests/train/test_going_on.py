"""Does a training that an error stops say how it goes on?"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace

import pytest
import torch

from tests.train.line import Line, LineConfig, config
from train.command import main
from train.going_on import is_out_of_memory
from train.loop import fit

CONTINUES = "the last whole checkpoint is of step 4; the same command continues from it"


class Failing(Line):
    """Raises an error in its sixth step."""

    def __init__(self, error: Exception, steps: int = 5):
        super().__init__(LineConfig())
        self.error, self.left = error, steps

    def forward(self, items, draws):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().forward(items, draws)


@pytest.mark.parametrize("kind", [ValueError, OSError, RuntimeError, KeyError, torch.OutOfMemoryError])
def test_an_error_has_the_last_whole_checkpoint_as_a_note(kind, tmp_path):
    with pytest.raises(kind, match="too bad") as found:
        fit(Failing(kind("too bad")), config(), tmp_path)
    assert found.value.__notes__ == [CONTINUES]
    fit(Line(LineConfig()), config(), tmp_path)
    assert (tmp_path / "export").exists()


def test_an_export_that_fails_is_continued_too(tmp_path, monkeypatch):
    def fail(self, folder):
        raise OSError("no room")

    monkeypatch.setattr(Line, "export", fail)
    with pytest.raises(OSError, match="no room") as found:
        fit(Line(LineConfig()), config(), tmp_path)
    assert found.value.__notes__ == [CONTINUES.replace("step 4", "step 12")]


def test_without_a_checkpoint_nothing_is_promised(tmp_path):
    with pytest.raises(ValueError, match="too bad") as found:
        fit(Failing(ValueError("too bad"), steps=1), config(), tmp_path)
    assert not hasattr(found.value, "__notes__")


def test_a_checkpoint_that_cannot_be_continued_is_not_offered(tmp_path):
    fit(Line(LineConfig()), config(), tmp_path)
    with pytest.raises(ValueError, match="was trained with --optimizer adamw") as found:
        fit(Line(LineConfig()), config(optimizer="muon", steps=20), tmp_path)
    assert not hasattr(found.value, "__notes__")


@pytest.fixture
def failing(monkeypatch, tmp_path):
    """Makes the stage of a recipe such a training; gives its arguments."""

    def start(error: Exception) -> list[str]:
        def stage(_stage, folder, *_):
            return fit(Failing(error), config(), folder)

        monkeypatch.setattr("train.stages.run_stage", stage)
        return ["adapter", "--out", str(tmp_path / "out")]

    return start


def test_the_command_says_how_it_is_continued(failing, capsys):
    assert main(failing(OSError("no room"))) == 2
    said = capsys.readouterr().err
    assert f"unicon train: no room\n{CONTINUES}\n" in said
    assert "Traceback" not in said


def test_out_of_memory_names_the_remedies(failing, capsys):
    assert main(failing(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."))) == 2
    said = capsys.readouterr().err
    assert "unicon train: CUDA out of memory." in said
    assert "a smaller --micro_batch, down to 1, or --gradient_checkpointing true" in said
    assert CONTINUES in said
    assert "Traceback" not in said


class Looking(Line):
    """Has an error when it looks at what is not trained on."""

    def __init__(self, config, error: Exception):
        super().__init__(config)
        self.error = error

    def validate(self):
        raise self.error


@dataclass(frozen=True, kw_only=True, slots=True)
class LookingConfig(LineConfig):
    validation_pairs: int = 6
    prompts: tuple[str, ...] = ("a dog", "a cat")


NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=["accelerator", "machine"])
def test_out_of_memory_in_a_look_names_what_a_look_needs(error, tmp_path, monkeypatch, capsys):
    """And none of what helps training, which has enough."""

    def stage(_stage, folder, *_):
        run = replace(config(validate_every=5), objective=LookingConfig())
        return fit(Looking(LineConfig(), error), run, folder)

    monkeypatch.setattr("train.stages.run_stage", stage)
    assert main(["adapter", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"memory ran out in a look at what is not trained on ({error}): give fewer " in said
    for remedy in ("fewer --validation_pairs than 6", "fewer --prompts than 2", "or --validate_every 0"):
        assert remedy in said
    assert CONTINUES in said
    assert "--micro_batch" not in said
    assert "Traceback" not in said


def test_another_error_in_a_look_is_itself(tmp_path):
    with pytest.raises(KeyError, match="lost"):
        fit(Looking(LineConfig(), KeyError("lost")), config(validate_every=5), tmp_path)


def test_a_fault_of_ours_keeps_its_traceback_and_says_so_too(failing, capsys):
    with pytest.raises(KeyError) as found:
        main(failing(KeyError("lost")))
    shown = "".join(traceback.format_exception(found.value)) + capsys.readouterr().err
    assert "in forward" in shown
    assert CONTINUES in shown


def test_this_machines_memory_counts_too():
    with pytest.raises(RuntimeError) as found:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(found.value)
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert not is_out_of_memory(ValueError("DefaultCPUAllocator"))
