"""Does the built wheel hold what it must, and work outside the checkout?"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.programs import ROOT, python, run_python

pytestmark = pytest.mark.slow

UNICON = "from unicon.cli.main import main; raise SystemExit(main())"
PARTS = ("adapters", "unicon", "eval", "train", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, since setuptools writes beside the sources, and without a network."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, source / part)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), str(source))
    (file,) = target.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """A folder that the wheel is installed in."""
    folder = tmp_path_factory.mktemp("site")
    pip("install", "--no-deps", "--no-index", "--target", str(folder), str(wheel))
    return folder


@pytest.fixture
def decoys(tmp_path) -> Path:
    for name in ("train", "eval", "adapters"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('decoy')")
    return tmp_path


def pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_wheel_holds_every_tracked_source_and_data_file(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    data = {".jpg", ".json", ".safetensors", ".toml", ".txt", ".yaml", ".py", ".typed"}
    for package in ("adapters", "unicon", "eval", "train"):
        files = (file for file in (ROOT / package).rglob("*") if file.suffix in data and file.is_file())
        assert [str(file) for file in files if file.relative_to(ROOT).as_posix() not in packed] == []
    assert any(name.endswith("LICENSE") for name in packed)
    assert not any(name.startswith(("tests", "benchmarks")) for name in packed)


@pytest.mark.parametrize("package", ["train", "eval"])
def test_front_doors_of_the_wheel_find_its_own_packages(site, decoys, package):
    assert f"usage: unicon {package}" in python(UNICON, package, "--help", folder=decoys, path=site)


def test_launched_program_of_the_wheel_is_its_own(site, decoys):
    done = run_python(UNICON, "eval", "--launch=--cpu", "no-such-evaluation", folder=decoys, path=site)
    assert "unknown evaluation 'no-such-evaluation'" in done.stdout + done.stderr
    assert "decoy" not in done.stdout + done.stderr


def test_console_script_answers(site, decoys):
    done = subprocess.run(
        [sys.executable, str(site / "bin" / "unicon"), "--version"],
        cwd=decoys, env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("unicon-diffusion 0.")
