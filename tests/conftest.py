"""What holds for every test: no network, and slow tests only where they were asked for."""

from __future__ import annotations

import os

import pytest

# Before any library reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without CI, and without a `-m` of the user's own, `slow` tests are left out."""
    if os.environ.get("CI") or config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]
