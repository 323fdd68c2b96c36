"""Where is the base that ships with the package?

`weights/` is a pipeline in diffusers' folder format with its adapters below `adapters/`. How it was made is
`train`'s business (`unicon train mini`), what it can do is measured in `docs/mini.md`.
"""

from __future__ import annotations

from pathlib import Path


def mini_folder() -> Path:
    """The packaged folder; FileNotFoundError with the remedy when this installation came without weights."""
    folder = Path(__file__).parent / "weights"
    if not (folder / "model_index.json").exists():
        raise FileNotFoundError(
            f"the mini base is not in this installation ({folder}); reinstall unicon-diffusion, or make one "
            "with `unicon train mini-fast --out runs/mini-fast` and name runs/mini-fast/pipeline as the base"
        )
    return folder
