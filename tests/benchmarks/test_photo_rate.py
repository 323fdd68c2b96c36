"""Is the rate of photographs what the later photos took, and the ratio taken within a round?"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from eval.records import read
from tests.programs import ROOT, Forked


@pytest.fixture
def photos(monkeypatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("photos", ROOT / "benchmarks" / "photos.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "photos", module)
    spec.loader.exec_module(module)
    return module


def test_starting_is_no_part_of_the_rate(photos, monkeypatch, tmp_path, capsys):
    calls = []

    def seconds(args, files, processes, folder):
        calls.append(processes)
        slow = 1.0 if len(calls) <= 4 else 3.0  # in the second round the machine has other work
        return slow * (10.0 + len(files) / (2.0 if processes == 1 else 3.0))

    monkeypatch.setattr(photos, "seconds", seconds)
    out = tmp_path / "rates.jsonl"
    assert photos.main(["--num", "16", "--rounds", "2", "--out", str(out)]) == 0
    one, two = read(out)
    assert sorted(calls) == [1] * 4 + [2] * 4
    assert one.numbers["photos_per_second"] == pytest.approx((2 + 2 / 3) / 2)
    assert one.numbers["start_s"] == pytest.approx(20)
    assert two.numbers["ratio"] == pytest.approx(1.5)
    assert "| 2 | 2.00 | 1.50 (1.50 to 1.50) | 20.0 | 30.7 |" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_itself_is_timed_and_its_failure_is_told(photos, tmp_path, monkeypatch):
    """In a fork of a process that has imported what it imports."""

    def run(command, *, cwd: Path, **_) -> subprocess.CompletedProcess[str]:
        assert command[:3] == [sys.executable, "-m", "unicon"]
        assert cwd == ROOT
        log = tmp_path / "log"
        code = Forked("unicon", command[3:], log).wait()
        return subprocess.CompletedProcess(command, code, "", log.read_text())

    monkeypatch.setattr(photos.subprocess, "run", run)
    args = photos.parse(["--condition", "nothing", "--steps", "1"])
    photos.write_crops(tmp_path / "in", 2)
    with pytest.raises(
        ValueError, match="0 of 2 maps, exit code 2: .*condition 'nothing': mini has no adapter"
    ):
        photos.seconds(args, photos.list_photos(tmp_path / "in"), 1, tmp_path)


@pytest.mark.parametrize("arguments", [["--num", "7"], ["--rounds", "0"]])
def test_too_few_to_tell_is_refused(photos, arguments, capsys):
    with pytest.raises(SystemExit):
        photos.parse(arguments)
    assert "give at least 8 photos and one round" in capsys.readouterr().err
