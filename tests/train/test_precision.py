"""Do all processes of a run take one number format, and is it that of the run that is continued?"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tests.train.line import config, train
from train import stepping
from train.engines import DEEPSPEED, FSDP


@pytest.fixture
def probes(monkeypatch):
    """Sets what each probe finds, in order, whether this process is the first, and what that one told."""

    def arrange(found, *, is_main=True, told=None):
        asked = list(found)
        state = SimpleNamespace(is_main_process=is_main, device=torch.device("cpu"))
        monkeypatch.setattr(stepping, "processes", lambda: state)
        monkeypatch.setattr(stepping, "pick_dtype", lambda device: asked.pop(0))
        monkeypatch.setattr(
            stepping, "broadcast_object_list", lambda answer: answer if is_main else [told] * len(answer)
        )
        return asked

    return arrange


@pytest.mark.parametrize(
    "dtype, name", [(torch.bfloat16, "bf16"), (torch.float16, "fp16"), (torch.float32, "no")]
)
def test_the_first_process_asks_and_the_others_are_told(probes, dtype, name):
    loop = config(mixed_precision="auto").loop
    probes([dtype])
    assert stepping.precision(loop, None) == name
    left = probes([torch.float32], is_main=False, told=name)
    assert stepping.precision(loop, None) == name
    assert left == [torch.float32], "its own machine may answer otherwise, so it is not asked"


def test_what_is_given_is_taken_without_a_probe(probes):
    probes([])
    assert [stepping.precision(config(mixed_precision=p).loop, None) for p in ("no", "bf16")] == [
        "no",
        "bf16",
    ]


def test_a_run_goes_on_in_its_own_format_without_a_probe(probes, tmp_path):
    train(tmp_path, config(mixed_precision="bf16"), seconds=0.0)
    probes([])
    assert stepping.precision(config(mixed_precision="auto").loop, tmp_path) == "bf16"


@pytest.mark.parametrize("flag", [FSDP.flag, DEEPSPEED.flag])
def test_fp16_is_not_chosen_where_it_would_be_refused(probes, monkeypatch, flag):
    probes([torch.float16, torch.float16])
    assert stepping.precision(config(mixed_precision="auto", optimizer="muon").loop, None) == "no"
    monkeypatch.setenv(flag, "true")
    assert stepping.precision(config(mixed_precision="auto").loop, None) == "no"
