"""The speed scripts run on tiny networks, and their records hold what they promise."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import torch

from eval.records import Record, read
from tests.programs import ROOT
from tests.tiny_base import save_tiny_base

FOLDER = ROOT / "benchmarks"


def measured(script: str, out: Path, *arguments: str) -> dict[str, Record]:
    """Records by name of a script, run in this process as from a command line."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        patch.setattr(sys, "argv", [script, "--threads", "1", "--out", str(out), *arguments])
        runpy.run_path(str(FOLDER / script), run_name="__main__")
    torch.set_num_threads(threads)
    return {record.name: record for record in read(out)}


@pytest.fixture(scope="module")
def sampling(tmp_path_factory):
    out = tmp_path_factory.mktemp("speed") / "sampling.jsonl"
    options = ["--tiny", "--latents", "8", "--dtype", "float32", "--guidance", "on", "--rounds", "2"]
    return measured("sampling.py", out, *options)


def test_every_variant_is_timed_against_the_plain_call(sampling):
    assert sampling["sampling/plain"].numbers["to_plain"] == 1
    assert all(record.numbers["seconds"] > 0 for record in sampling.values())
    assert {"sampling/shortcut", "sampling/two-way", "sampling/ControlNet"} <= sampling.keys()


def test_shortcut_and_two_way_are_compared_with_their_floors(sampling):
    compared = {name for name, record in sampling.items() if "to_floor" in record.numbers}
    assert compared == {"sampling/shortcut", "sampling/two-way"}


def test_settings_say_where_it_was_measured(sampling):
    settings = sampling["sampling/shortcut"].settings
    assert settings["threads"] == 1
    assert settings["guidance"] is True
    assert settings["processor"]
    assert sampling["sampling/shortcut"].numbers["merged_bytes"] > 0


def test_the_loop_is_timed_around_the_network(tmp_path):
    base = save_tiny_base(tmp_path / "base")
    records = measured("loop.py", tmp_path / "loop.jsonl", "--base", str(base), "--steps", "4")
    assert len(records) == 5
    assert all(record.numbers["around_ms"] > 0 for record in records.values())


def test_training_steps_are_timed_beside_plain_lora(tmp_path):
    pytest.importorskip("peft")
    options = ["--geometry", "tiny", "--latents", "8", "--dtype", "float32", "--rounds", "2"]
    records = measured("training.py", tmp_path / "training.jsonl", *options)
    assert records["training/plain LoRA"].numbers["to_lora"] == 1
    assert {"to_floor", "to_lora", "seconds"} <= records["training/joint"].numbers.keys()


@pytest.mark.slow
def test_sources_and_the_cache_are_timed(tmp_path, capsys):
    base = save_tiny_base(tmp_path / "base")
    options = [
        "--base",
        str(base),
        "--num",
        "4",
        "--size",
        "64",
        "--steps",
        "2",
        "--batch",
        "2",
        "--rank",
        "2",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        patch.setattr(sys, "argv", ["pairs.py", "--threads", "1", "--rank", "2", *options])
        runpy.run_path(str(FOLDER / "pairs.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert all(f"| {name} | " in said for name in ("metadata.jsonl", "folders", "parquet", "tar"))
    assert "Without to with: " in said
