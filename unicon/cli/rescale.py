"""How do maps in millimetres, metres or any other unit become pictures that use the whole range?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

EXAMPLE = "%(prog)s depth_in_mm --white 10000 --out my_pairs/depth"
ARRAY = ".npy"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="MAPS", help="a folder of maps, or one: pictures with one value per pixel, or .npy"
    )
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--white", type=float, metavar="N", help="0 becomes black and N white, in every map")
    how.add_argument(
        "--near-bright", action="store_true",
        help="depth as mini's adapters draw it: of each map the 2%% quantile becomes white, the 98%% black",
    )  # fmt: skip
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write: PNG files of 16 bits")


def run(args: argparse.Namespace) -> None:
    """Write every map again, below the same name."""
    import numpy as np
    from tqdm import tqdm

    from unicon.cli.files import write_deep_picture
    from unicon.conditions.palettes import depth_to_map

    source, out = Path(args.source), Path(args.out)
    if args.white is not None and not 0 < args.white < float("inf"):
        raise ValueError(f"--white must be a number above 0, got {args.white:g}")
    folder = source.parent if source.is_file() else source
    if folder.resolve() in (out.resolve(), *(() if source.is_file() else out.resolve().parents)):
        raise ValueError(f"--out {out} is where the maps lie; choose a folder outside of it")
    files = _files(source)
    num_beyond = num_values = num_missing = 0
    for stem, path in tqdm(files.items(), unit="map", desc="rescaling"):
        values = _values(path)
        if args.near_bright:
            drawn = depth_to_map(values, values > 0)[..., 0]  # sensors write 0 where they see nothing
            num_missing += int(np.count_nonzero(values == 0))
        else:
            drawn = values / args.white
            num_beyond += int(np.count_nonzero(drawn > 1))
            num_values += drawn.size
        write_deep_picture(out / f"{stem}.png", drawn)
    beyond = f"; {num_beyond / num_values:.2%} of all values lay beyond --white" if num_beyond else ""
    missing = f"; {num_missing} values of 0 are missing depth, drawn black" if num_missing else ""
    print(f"{len(files)} maps in {out}{beyond}{missing}")


def _files(source: Path) -> dict[str, Path]:
    """By their stems, in order. Raises ValueError where there is none, or two have one stem."""
    from unicon.data.photos import SUFFIXES

    if not source.exists():
        raise ValueError(f"{source}: no such file or folder; check the spelling and the current folder")
    found = [source] if source.is_file() else sorted(source.rglob("*"))
    files: dict[str, Path] = {}
    for path in found:
        if path.suffix.lower() not in (*SUFFIXES, ARRAY) or path.name.startswith("."):
            continue
        stem = path.stem if path == source else path.relative_to(source).with_suffix("").as_posix()
        if stem in files:
            raise ValueError(f"{path}: {files[stem].name} has the same stem; keep one of them")
        files[stem] = path
    if not files:
        raise ValueError(f"{source}: holds no map; expected pictures or {ARRAY} files")
    return files


def _values(path: Path) -> np.ndarray:
    """One value per pixel, float32 (H, W), not negative. Raises ValueError naming the file."""
    import numpy as np
    import PIL.Image
    import PIL.ImageOps

    try:
        if path.suffix.lower() == ARRAY:
            values = np.squeeze(np.load(path, allow_pickle=False))
        else:
            with PIL.Image.open(path) as picture:
                if picture.mode == "P":
                    raise ValueError("a palette's numbers are no values")
                values = np.asarray(PIL.ImageOps.exif_transpose(picture))
    except (OSError, EOFError, ValueError, SyntaxError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); copy it again, or save it as grey") from error
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "uif" or not values.size:
        raise ValueError(
            f"{path}: holds {values.dtype} of shape {values.shape}; expected one number per pixel: save it "
            "as grey, without transparency"
        )
    if not np.isfinite(values).all() or values.min() < 0:
        raise ValueError(f"{path}: holds negative or non-finite values; fill or mask them first")
    return values.astype(np.float32)
