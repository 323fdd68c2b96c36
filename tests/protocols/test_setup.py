"""Do all processes of a measurement load the base in one number format?"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from eval.protocols import setup
from unicon.pipeline import UniConPipeline


class Loaded(Exception):
    """Carries the number format that the base would be loaded in."""


@pytest.fixture
def load(monkeypatch):
    """Loads a base in `--dtype` where this process finds one format and the first process another."""

    def refuse(base, *, adapters, dtype):
        raise Loaded(dtype)

    monkeypatch.setattr(UniConPipeline, "from_pretrained", refuse)
    monkeypatch.setattr(setup, "saved_adapters", lambda base, names: {})

    def loaded(dtype: str, *, here: torch.dtype, first: torch.dtype) -> torch.dtype:
        monkeypatch.setattr(setup, "pick_dtype", lambda device: here)
        processes = SimpleNamespace(gathered=lambda mine: [first, *mine])
        monkeypatch.setattr(setup, "share", lambda: processes)
        with pytest.raises(Loaded) as found:
            setup.load_pipeline("base", "cpu", dtype, [])
        return found.value.args[0]

    return loaded


def test_auto_is_what_the_first_process_finds(load):
    assert load("auto", here=torch.float32, first=torch.bfloat16) == torch.bfloat16
    assert load("auto", here=torch.bfloat16, first=torch.float32) == torch.float32


def test_a_format_that_is_given_is_everyones(load):
    assert load("float32", here=torch.bfloat16, first=torch.bfloat16) == torch.float32
