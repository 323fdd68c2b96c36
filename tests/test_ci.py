"""Does CI pass over annotators that cannot be installed in time, and over nothing that fails?

The script is run with a Python whose environments hold stand-ins for pip and pytest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.programs import ROOT

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="CI is a script for bash")

PYTHON = """#!/usr/bin/env bash
# python -m venv FOLDER
mkdir -p "$3/bin"
echo "export PATH=$3/bin:\\$PATH" >"$3/bin/activate"
cp "$STAND_INS/pip" "$STAND_INS/pytest" "$STAND_INS/python" "$3/bin"
"""
PIP = """#!/usr/bin/env bash
echo "pip $*"
if [[ "$*" == *annotators* ]]; then
    sleep "$INSTALL_S"
    exit "$INSTALL_CODE"
fi
"""
PYTEST = """#!/usr/bin/env bash
sleep "$TESTS_S"
echo "tests of everything"
exit "$TESTS_CODE"
"""
OWN_PYTHON = """#!/usr/bin/env bash
echo "$* in $PWD"
exit "$ANNOTATORS_CODE"
"""


@pytest.fixture
def stand_ins(tmp_path: Path) -> Path:
    for name, text in {"python3": PYTHON, "pip": PIP, "pytest": PYTEST, "python": OWN_PYTHON}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def ci(stand_ins: Path, **settings: object) -> tuple[int, str, Path]:
    """(exit code, what it said, the folder of its temporary files)."""
    place = stand_ins / "temporary"
    place.mkdir()
    usual = {"INSTALL_S": 0, "INSTALL_CODE": 0, "TESTS_S": 0, "TESTS_CODE": 0, "ANNOTATORS_CODE": 0}
    outer = {name: value for name, value in os.environ.items() if name != "ANNOTATORS_LIMIT"}
    environment = {**outer, "STAND_INS": str(stand_ins), "PYTHON": str(stand_ins / "python3")}
    environment |= {"TMPDIR": str(place)} | {k: str(v) for k, v in {**usual, **settings}.items()}
    done = subprocess.run(
        [str(ROOT / ".ci" / "run")],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        timeout=600,
    )  # fmt: skip
    return done.returncode, done.stdout, place


def test_both_environments_are_tested_and_nothing_stays(stand_ins):
    code, said, place = ci(stand_ins)
    assert code == 0
    assert '+ pip install -e ".[test]"' in said
    assert said.index("tests of everything") < said.index("-m pytest tests/conditions/test_annotators.py")
    assert "LEFT OUT" not in said
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("settings", [{"TESTS_CODE": 1}, {"ANNOTATORS_CODE": 1}, {"INSTALL_CODE": 1}])
def test_what_fails_fails(stand_ins, settings):
    code, said, place = ci(stand_ins, **settings)
    assert code == 1
    assert "LEFT OUT" not in said
    assert ("could not be installed" in said) == ("INSTALL_CODE" in settings)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("settings, why", [
    ({"INSTALL_S": 60, "ANNOTATORS_LIMIT": 1}, "not installed within 1 s of the start"),
    ({"TESTS_S": 3, "ANNOTATORS_LIMIT": 1}, "The others took longer than 1 s."),
    ({"INSTALL_CODE": 1, "ANNOTATORS_LIMIT": 0}, "as ANNOTATORS_LIMIT=0 asks"),
])  # fmt: skip
def test_what_is_late_or_not_asked_for_is_said_to_be_left_out(stand_ins, settings, why):
    code, said, place = ci(stand_ins, **settings)
    assert code == 0
    assert "tests of everything" in said
    assert f"LEFT OUT: the annotators' tests{',' if why.startswith('as') else '.'}" in said
    assert why in said
    assert list(place.iterdir()) == []


def test_a_failing_test_is_no_less_so_for_a_slow_index(stand_ins):
    code, said, _ = ci(stand_ins, TESTS_CODE=1, INSTALL_S=60)
    assert code == 1
    assert "LEFT OUT" not in said
