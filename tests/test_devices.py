"""Is the number format chosen by timing, and are devices that are not there refused?"""

from __future__ import annotations

import pytest
import torch

from unicon import devices


def test_probe_times_bfloat16_and_leaves_the_thread_count_alone():
    threads = torch.get_num_threads()
    speedups = devices.half_speedups("cpu")
    assert list(speedups) == [torch.bfloat16]
    assert speedups[torch.bfloat16] > 0
    assert torch.get_num_threads() == threads


def test_probe_runs_once_per_process():
    assert devices.half_speedups("cpu") is devices.half_speedups("cpu")


@pytest.mark.parametrize(
    "speedups, expected",
    [
        ({torch.bfloat16: 4.0}, torch.bfloat16),
        ({torch.bfloat16: 0.01}, torch.float32),
        ({torch.bfloat16: 0.3, torch.float16: 5.0}, torch.float16),
        ({}, torch.float32),
    ],
)
def test_dtype_is_the_first_half_format_worth_using(monkeypatch, speedups, expected):
    monkeypatch.setattr(devices, "half_speedups", lambda device: speedups)
    assert devices.pick_dtype("cpu") is expected


def test_device_auto_exists():
    assert torch.empty(1, device=devices.pick_device()).device.type == devices.pick_device().type


@pytest.mark.parametrize("name", ["toaster", "meta:x", "cuda:77"])
def test_device_that_is_not_here_is_refused(name):
    with pytest.raises(ValueError, match=f"device '{name}' cannot be used here .*; use auto, cpu or"):
        devices.pick_device(name)
