"""Does every module import with no extra installed, and do the packages load nothing heavy by themselves?"""

from __future__ import annotations

import pytest

from tests.programs import ROOT, python

EXTRAS = (
    "cleanfid", "controlnet_aux", "datasets", "pyEdgeEval", "pycocotools", "pytest",
    "scipy", "tensorboard", "torch_fidelity", "torchvision",
)  # fmt: skip
"""What the extras of pyproject.toml install that nothing in the core brings along."""

IMPORT_ALL = f"""
import pkgutil, sys
from importlib import import_module
for name in {EXTRAS!r}:
    sys.modules[name] = None
for package in ("adapters", "unicon", "eval", "train"):
    import_module(package)
    for module in pkgutil.walk_packages([package], package + "."):
        import_module(module.name)
        print(module.name)
"""


def test_every_module_imports_with_no_extra_installed():
    assert "unicon.cli.main" in python(IMPORT_ALL).split()


@pytest.mark.parametrize("package", ["adapters", "unicon", "eval", "train", "unicon.cli.main"])
def test_importing_a_package_loads_neither_torch_nor_diffusers(package):
    heavy = "{'torch', 'diffusers', 'transformers', 'accelerate', 'cv2', 'numpy'}"
    assert python(f"import sys, {package}; print(sorted({heavy} & set(sys.modules)))").strip() == "[]"


def test_measures_of_files_and_of_runs_start_without_the_libraries_of_models():
    """Which are most of what a command waits for."""
    names = ("attributes", "distributions", "diversity", "identity", "maps_command", "texts")
    files = [f"eval.protocols.{name}" for name in names]
    modules = ", ".join([*files, "eval.runs.compare", "eval.study.command", "eval.study.votes"])
    heavy = "{'diffusers', 'transformers', 'unicon.pipeline'}"
    assert python(f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))").strip() == "[]"


def test_lazy_names_resolve_and_unknown_ones_are_listed():
    import unicon

    for name in unicon.__all__:
        assert getattr(unicon, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'UniConn'; it has __version__"):
        _ = unicon.UniConn


def test_every_test_folder_is_a_package():
    """Else pytest puts it first on the import path, where `tests/adapters` becomes `adapters`."""
    folders = {file.parent for file in (ROOT / "tests").rglob("test_*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
