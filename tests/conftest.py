"""What holds for every test: no network, slow tests only where they were asked for, all cores at work."""

from __future__ import annotations

import os

import pytest

# Before any library reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

MOST_WORKERS = 4
"""Each holds up to 2 GB."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """A plain `pytest` is shared by the cores, one thread each (small tensors leave a second thread idle);
    named tests, `-n`, `-s` and `--pdb` stay what they are."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return  # a worker is asked the same, and would start workers of its own, and they theirs
    plain = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.collectonly
    alone = config.option.usepdb or config.option.capture == "no"
    # xdist may be missing or off (`-p no:xdist`): then there is no such option.
    if plain and not alone and getattr(config.option, "numprocesses", 0) is None:
        config.option.numprocesses = min(os.cpu_count() or 1, MOST_WORKERS)
        config.option.dist = "worksteal"
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without CI, and without a `-m` of the user's own, `slow` tests are left out."""
    if os.environ.get("CI") or config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]
