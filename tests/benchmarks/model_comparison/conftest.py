"""What do comparisons learn from, and where do their scenes lie?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers_data import write_family
from tests.tiny_base import save_tiny_base


@pytest.fixture(scope="package")
def base(tmp_path_factory) -> str:
    return str(save_tiny_base(tmp_path_factory.mktemp("base") / "tiny", {}))


@pytest.fixture(scope="package")
def judge(tmp_path_factory) -> str:
    """The same base, with the adapters that read maps."""
    return str(save_tiny_base(tmp_path_factory.mktemp("judge") / "tiny"))


@pytest.fixture(scope="package")
def family(tmp_path_factory) -> Path:
    return write_family(tmp_path_factory.mktemp("family"))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Rendered scenes stay out of the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
