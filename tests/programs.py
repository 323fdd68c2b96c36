"""How does a test run Python in a process of its own, away from what pytest has loaded?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def python(code: str, *arguments: str, folder: Path = ROOT, path: Path = ROOT) -> str:
    """The output of `python -c code`, run in `folder` with `path` on its import path; fails if it fails."""
    done = run_python(code, *arguments, folder=folder, path=path)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_python(
    code: str, *arguments: str, folder: Path = ROOT, path: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """`python -c code` as a finished process. The current folder comes before `path`, as for a user."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
