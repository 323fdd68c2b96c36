"""Whose features of pictures are compared?

The mini base's image encoder, any vision model of transformers in a folder, or a file of features of the
user's own. Everything that changes the numbers is kept beside them: model, resizing, number of pictures.
Leaves out which pictures (`eval.pictures`) and what is done with features (`eval.manifold`,
`eval.metrics.distributions`).
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from adapters.files import write_arrays
from eval.pictures import Pictures, find_pictures
from unicon.conditions.arrays import as_bytes
from unicon.typed import positive

MINI = "mini"
RESIZES = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}
"""All antialiased and without rounding to 8 bits (clean-fid's "clean" is bicubic; arXiv 2104.11222)."""
FITS = ("crop", "stretch")
"""How a picture becomes square: its centre, or all of it with other proportions."""
SMOOTH = ("bicubic", "bilinear")
"""Those that torch has a gradient for, antialiased."""
FILES = (".npy", ".npz", ".safetensors")


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSet:
    """Features of one set of pictures."""

    values: np.ndarray
    """(N, D) float32, not normalised."""
    names: tuple[str, ...]
    """N, of the pictures."""
    source: str
    """Whose features they are and how pictures were resized, for the record."""
    logits: np.ndarray | None = None
    """(N, classes) float32 where the model classifies."""
    says_source: bool = True
    """Whether `source` is said; else it is a file's name."""

    def __post_init__(self):
        if len(self.names) != len(self.values):
            raise ValueError(f"{self.source}: {len(self.values)} features, but {len(self.names)} names")
        if self.logits is not None and len(self.logits) != len(self.values):
            raise ValueError(f"{self.source}: {len(self.values)} features, but {len(self.logits)} logits")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def width(self) -> int:
        return self.values.shape[1]

    def save(self, path: Path) -> None:
        """Write a `.npz` that `read_features` reads."""
        arrays: dict[str, Any] = {"features": self.values, "names": np.array(self.names)}
        arrays |= {"source": np.array(self.source)}
        arrays |= {} if self.logits is None else {"logits": self.logits}
        write_arrays(path, arrays)


def check_one_model(models: Mapping[str, FeatureSet | Extractor]) -> None:
    """ValueError unless those of two options give features of one model, resized in one way.

    Of two files neither need say whose features they are; beside pictures, one must.
    """
    (first, one), (second, other) = models.items()
    if one.width != other.width:
        raise ValueError(
            f"features differ: of {first} they have width {one.width}, of {second} {other.width}; use one"
            " model"
        )
    files = isinstance(one, FeatureSet) and isinstance(other, FeatureSet)
    unsaid = [each for each in (one, other) if isinstance(each, FeatureSet) and not each.says_source]
    if one.source == other.source or (files and unsaid):
        return
    remedy = f" (if {unsaid[0].source} is of it, say so in an .npz, as its `source`)" if unsaid else ""
    raise ValueError(
        f"features differ: those of {first} are {one.source}, of {second} {other.source}; use one model"
        f"{remedy}"
    )


def add_resizing(top: argparse.ArgumentParser) -> None:
    """Options of how a vision model sees pictures; `resizing` reads them."""
    top.add_argument("--resize", choices=list(RESIZES), default="bicubic", help="default bicubic")
    top.add_argument("--fit", choices=FITS, default="crop", help="the centred square (default), or all of it")
    top.add_argument(
        "--size", type=positive, metavar="PX", help="default: what the model's preprocessing says"
    )


def resizing(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `add_resizing` asked for, as an `Extractor` takes it."""
    return {"resize": arguments.resize, "fit": arguments.fit, "size_px": arguments.size}


def open_source(source: str | Path) -> FeatureSet | Pictures:
    """Features of a file (one of `FILES`), or else pictures (`find_pictures`)."""
    return read_features(Path(source)) if Path(source).suffix in FILES else find_pictures(source)


def read_features(path: Path) -> FeatureSet:
    """A user's own: `features` (N, D), or the one array there is; `names` and `logits` (N, C) if present, and
    `source` (`FeatureSet`). Raises ValueError for other files.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; check the spelling and the current folder")
    arrays = _arrays(path)
    if "features" not in arrays and len(arrays) != 1:
        raise ValueError(f"{path} holds {', '.join(arrays) or 'nothing'}; expected an array named features")
    values = arrays.get("features", next(iter(arrays.values())))
    if values.ndim != 2 or values.dtype.kind != "f":
        raise ValueError(
            f"{path}: features are {values.dtype} of shape {values.shape}; expected floats (N, D)"
        )
    names = arrays.get("names")
    named = map(str, range(len(values)) if names is None else names.tolist())
    given = arrays.get("source")
    return FeatureSet(
        values=values,
        names=tuple(named),
        source=path.name if given is None else str(given),
        logits=arrays.get("logits"),
        says_source=given is not None,
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            stored = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path}: is no file of arrays ({error})") from error
        # Through torch: numpy has no bfloat16.
        return {k: v.float().numpy() if v.is_floating_point() else v.numpy() for k, v in stored.items()}
    try:
        packed = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(packed, np.ndarray):
            return {"features": packed}
        with packed:
            return dict(packed)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path}: is no file of arrays ({error})") from error


class Extractor:
    """One vision model that turns pictures into features."""

    model: Any
    """Of transformers, in evaluation."""

    def __init__(
        self,
        model: str = MINI,
        *,
        resize: str = "bicubic",
        fit: str = "crop",
        size_px: int | None = None,
        device: str = "cpu",
    ):
        """`model`: "mini", or a folder of transformers' with `config.json`; of one of pictures and texts
        (CLIP, SigLIP) the picture's embedding. It sees the centred square, or with `fit` "stretch" all of
        the picture, at `size_px`: by default what its preprocessing says, so DINOv2's standard files at 224.

        Raises ValueError for an unknown resize or fit, and for a folder that holds no vision model.
        """
        for name, value, known in (("resize", resize, RESIZES), ("fit", fit, FITS)):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; known: {', '.join(known)}")
        folder = model_folder(model)
        network, self.reads_first_token = _vision_model(folder)
        self.model, self.device = network.to(device).eval().requires_grad_(False), device
        self.side_px = size_px or _side(self.model, folder)
        self.asked = _other_size(self.model, self.side_px)
        self.mean, self.deviation = _normalisation(folder)
        self.resize, self.fit = resize, fit
        shape = "centred square" if fit == "crop" else "stretched to a square"
        self.source = f"{model}, {self.side_px} px, {shape}, {resize}"

    @cached_property
    def width(self) -> int:
        """Of its features."""
        return self.of_pixels(np.zeros((1, 3, self.side_px, self.side_px), np.float32))[0].shape[1]

    @property
    def preprocessing(self) -> tuple[Any, ...]:
        """All that makes features beside the weights."""
        ends = (*self.mean.flatten().tolist(), *self.deviation.flatten().tolist())
        return (type(self.model).__name__, self.side_px, self.resize, self.fit, *ends)

    def __call__(self, pictures: Pictures, *, batch_size: int = 64, progress: Any = iter) -> FeatureSet:
        """Features of all pictures; `progress` wraps the iteration over batches, as tqdm does."""
        found = [self.of_pixels(batch) for batch in progress(self._batches(pictures, batch_size))]
        logits = [each for _, each in found if each is not None]
        return FeatureSet(
            values=np.concatenate([values for values, _ in found]),
            names=pictures.names,
            source=self.source,
            logits=np.concatenate(logits) if logits else None,
        )

    @torch.inference_mode()
    def of_pixels(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(features (N, D), logits or None) of pictures (N, 3, side, side) in [0, 1]."""
        values, logits = self._seen(torch.from_numpy(pixels))
        return values.cpu().numpy(), None if logits is None else logits.cpu().numpy()

    def of_tensor(self, pictures: Tensor) -> Tensor:
        """Features float32 (N, D) of pictures (N, 3, H, W) in [0, 1], with gradients to them.

        The same as of files up to rounding: bicubic and bilinear resizing are antialiased here, too.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise ValueError(f"pictures have shape {tuple(pictures.shape)}; expected (N, 3, height, width)")
        if self.resize not in SMOOTH:
            raise ValueError(f"resize is {self.resize!r}; gradients know {', '.join(SMOOTH)}")
        if self.fit == "crop":
            left, top, right, bottom = centre(pictures.shape[3], pictures.shape[2])
            pictures = pictures[..., top:bottom, left:right]
        side = (self.side_px, self.side_px)
        return self._seen(F.interpolate(pictures.float(), side, mode=self.resize, antialias=True))[0]

    def _seen(self, pictures: Tensor) -> tuple[Tensor, Tensor | None]:
        """(features (N, D), logits or None) float32 of pictures (N, 3, side, side)."""
        given = (pictures - self.mean.to(pictures)) / self.deviation.to(pictures)
        given = given.to(self.device, next(self.model.parameters()).dtype)
        ask = getattr(self.model, "get_image_features", None)
        if ask is not None:  # a model of pictures and texts
            out = ask(pixel_values=given, **self.asked)
            return (out if isinstance(out, Tensor) else out.pooler_output).float(), None
        answers = []
        # A classifier answers with logits alone; its features come by on the way.
        body = getattr(self.model, "base_model", self.model)
        hook = body.register_forward_hook(lambda _, inputs, answer: answers.append(answer))
        try:
            out = self.model(given, **self.asked)
        finally:
            hook.remove()
        if (embedded := getattr(out, "image_embeds", None)) is not None:
            return embedded.float(), None
        logits = getattr(out, "logits", None)
        if logits is not None:
            out = answers[-1]
        pooled = getattr(out, "pooler_output", None)
        if self.reads_first_token:
            pooled = out.last_hidden_state[:, 0]
        if pooled is None:
            pooled = out.last_hidden_state.mean(1)
        return pooled.float().flatten(1), None if logits is None else logits.float()

    def of_array(self, picture: np.ndarray) -> np.ndarray:
        """Features (D,) of one picture (H, W, 3), uint8 or in [0, 1]."""
        given = Image.fromarray(as_bytes(picture, "picture"))
        return self.of_pixels(self._square(given)[None])[0][0]

    def _batches(self, pictures: Pictures, size: int) -> Iterator[np.ndarray]:
        with ThreadPoolExecutor(2) as pool:
            for first in range(0, len(pictures), size):
                numbers = range(first, min(first + size, len(pictures)))
                yield np.stack(list(pool.map(lambda n: self._square(pictures.load(n)), numbers)))

    def _square(self, picture: Image.Image) -> np.ndarray:
        return square(picture, self.side_px, self.resize, self.fit)


def centre(width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the largest centred square."""
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
    return left, top, left + edge, top + edge


def square(picture: Image.Image, side_px: int, resize: str = "bicubic", fit: str = "crop") -> np.ndarray:
    """The largest centred square, or all of it stretched, resized without rounding: (3, side, side) float32,
    about [0, 1]."""
    whole = picture.convert("RGB")
    crop = whole.crop(centre(*picture.size)) if fit == "crop" else whole
    planes = [
        plane.convert("F").resize((side_px, side_px), RESIZES[resize])  # 'F': nothing is rounded or cut off
        for plane in crop.split()
    ]
    return np.stack([np.asarray(plane) for plane in planes]) / np.float32(255)


def model_folder(model: str) -> Path:
    """Where a model lies; ValueError where none does."""
    if model == MINI:
        from unicon.mini import mini_folder

        return mini_folder() / "image_encoder"
    if not (Path(model) / "config.json").is_file():
        raise ValueError(
            f"model {model!r}: no such folder with config.json; give mini or a transformers model"
        )
    return Path(model)


def _vision_model(folder: Path) -> tuple[torch.nn.Module, bool]:
    """The class the folder names, so that a projection or a classifier is kept, in float32 whatever it is
    stored in; and whether it was saved without its last layer, as DINO's are: then the first token counts.

    Raises ValueError for a folder that lacks other weights: they would be random numbers.
    """
    import transformers

    named = json.loads((folder / "config.json").read_text()).get("architectures") or ["AutoModel"]
    kind = getattr(transformers, named[0], None)
    if kind is None:
        raise ValueError(f"{folder}: transformers {transformers.__version__} has no class {named[0]}")
    try:
        model, told = kind.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except OSError as error:
        raise ValueError(f"{folder}: holds no model that can be loaded ({error})") from error
    missing = sorted(told["missing_keys"])
    if others := [name for name in missing if "pooler." not in name]:
        raise ValueError(f"{folder}: holds a {named[0]} without {others[0]}; download it again")
    return model, bool(missing)


def _own_side(model: Any) -> int | None:
    """What it was made for, in px, where it says so."""
    vision = getattr(model.config, "vision_config", model.config)
    return getattr(vision, "image_size", None)


def _other_size(model: Any, side_px: int) -> dict[str, bool]:
    """What models with a grid of places are asked about pictures of another size than their own."""
    ask = getattr(model, "get_image_features", model.forward)
    can = "interpolate_pos_encoding" in inspect.signature(ask).parameters
    return {"interpolate_pos_encoding": True} if can and side_px != _own_side(model) else {}


def _side(model: Any, folder: Path) -> int:
    """What its preprocessing crops or resizes to; where that is not said, what it was made for."""
    told = _processing(folder)
    crop = told.get("crop_size") if told.get("do_center_crop", True) else None
    for size in (crop, told.get("size"), _own_side(model)):
        if isinstance(size, dict):
            size = size.get("height") or size.get("shortest_edge")
        size = size[0] if isinstance(size, (list, tuple)) else size
        if size:
            return int(size)
    raise ValueError(f"{folder}: neither config.json nor preprocessor_config.json tells the picture's size")


def _normalisation(folder: Path) -> tuple[Tensor, Tensor]:
    """(3, 1, 1) mean and deviation; without a file for it, [-1, 1], as the mini encoder was trained."""
    told = _processing(folder)
    mean, deviation = told.get("image_mean") or [0.5] * 3, told.get("image_std") or [0.5] * 3
    return torch.tensor(mean).view(3, 1, 1), torch.tensor(deviation).view(3, 1, 1)


def _processing(folder: Path) -> dict[str, Any]:
    path = folder / "preprocessor_config.json"
    return json.loads(path.read_text()) if path.is_file() else {}
