"""What do the packages that papers name print of two folders of pictures? (extra `metrics`)

clean-fid 0.1.35 for tables on generators and editing (its "clean": bicubic, antialiased, not rounded) and
torch-fidelity 0.4.0 for older ones (bilinear inside the network, as the first FID was). Both read Inception's
weights of 2015 from a file that the user has: nothing is downloaded. Pictures are opened, resized, seen and
scored by the package's own code. Leaves out our own numbers of the same features
(`eval.metrics.distributions`), which need neither.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from eval.digests import source_digest
from eval.features import FILES, FeatureSet
from eval.metrics.distributions import SPLITS
from eval.pictures import find_pictures
from unicon.extras import MissingExtra, need

BATCH = 32
KID_SUBSETS, KID_SIZE = 100, 1000
"""As published; subsets are all of the smaller set where it has fewer."""
FIDELITY_LAYERS = ("2048", "logits_unbiased")
CLEAN_FILE = "inception-2015-12-05.pt"
"""The name that clean-fid opens its weights by."""


class Engine(Protocol):
    """One package with its weights."""

    source: str
    """Package, version, mode and weights, for the record."""

    def __call__(self, source: str) -> FeatureSet:
        """Inception's features of a folder's pictures. Raises ValueError where there is none."""
        ...

    def numbers(self, real: FeatureSet, generated: FeatureSet, seed: int) -> dict[str, float]:
        """The package's own: `fid`, `kid`, and where there are logits `inception_score`."""
        ...


class CleanFid:
    """clean-fid's mode "clean"."""

    def __init__(self, weights: Path, device: str):
        self.fid, self.device = _package("cleanfid.fid"), torch.device(device)
        if weights.name != CLEAN_FILE:
            raise ValueError(f"{weights}: clean-fid opens its weights by their name; call them {CLEAN_FILE}")
        network = _package("cleanfid.inception_torchscript").InceptionV3W
        with _reading(weights, f"the TorchScript of Inception, {CLEAN_FILE}"):
            self.model = network(str(weights.parent), download=False).to(device).eval()
        self.source = _source("clean-fid", "clean", weights)

    def __call__(self, source: str) -> FeatureSet:
        files, names = _files(source)
        with _quiet():
            values = self.fid.get_files_features(
                files, self.model, num_workers=0, batch_size=BATCH,
                device=self.device, mode="clean", description=Path(source).name,
            )  # fmt: skip
        return FeatureSet(values=values, names=names, source=self.source)

    def numbers(self, real: FeatureSet, generated: FeatureSet, seed: int) -> dict[str, float]:
        # It draws from numpy's global state.
        kept = np.random.get_state()  # noqa: NPY002
        np.random.seed(seed)  # noqa: NPY002
        try:
            with _quiet():
                kid = self.fid.kernel_distance(real.values, generated.values, KID_SUBSETS, KID_SIZE)
                return {
                    "fid": float(self.fid.fid_from_feats(real.values, generated.values)),
                    "kid": float(kid),
                }
        finally:
            np.random.set_state(kept)  # noqa: NPY002


class TorchFidelity:
    """torch-fidelity's `inception-v3-compat`."""

    def __init__(self, weights: Path, device: str):
        self.device = device
        create = _package("torch_fidelity.utils").create_feature_extractor
        with _reading(weights, "a state dictionary, weights-inception-2015-12-05-6726825d.pth"):
            self.extractor = create(
                "inception-v3-compat", list(FIDELITY_LAYERS), cuda=False, verbose=False,
                feature_extractor_weights_path=str(weights),
            ).to(device)  # fmt: skip
        self.source = _source("torch-fidelity", "inception-v3-compat", weights)

    def __call__(self, source: str) -> FeatureSet:
        files, names = _files(source)
        pictures = _package("torch_fidelity.datasets").ImagesPathDataset(files)
        bar = tqdm((pictures[n] for n in range(len(files))), total=len(files), desc=Path(source).name)
        with torch.no_grad():
            found = [self.extractor(batch.to(self.device)) for batch in _of_one_size(bar)]
        values, logits = (torch.cat([each[n] for each in found]).cpu().numpy() for n in (0, 1))
        return FeatureSet(values=values, names=names, source=self.source, logits=logits)

    def numbers(self, real: FeatureSet, generated: FeatureSet, seed: int) -> dict[str, float]:
        fid, kid, isc = (_package(f"torch_fidelity.metric_{name}") for name in ("fid", "kid", "isc"))
        a, b = (torch.from_numpy(each.values) for each in (generated, real))
        statistics = [fid.fid_features_to_statistics(rows) for rows in (a, b)]
        told = {"kid_subsets": KID_SUBSETS, "kid_subset_size": min(KID_SIZE, len(a), len(b))}
        drawn = kid.kid_features_to_metric(a, b, **told, rng_seed=seed, verbose=False)
        found = {
            "fid": fid.fid_statistics_to_metric(*statistics, False)[fid.KEY_METRIC_FID],
            "kid": drawn[kid.KEY_METRIC_KID_MEAN],
        }
        if generated.logits is not None and len(generated) >= SPLITS:
            scored = isc.isc_features_to_metric(torch.from_numpy(generated.logits), SPLITS, True, seed)
            found["inception_score"] = scored[isc.KEY_METRIC_ISC_MEAN]
        return found


ENGINES: dict[str, type[CleanFid] | type[TorchFidelity]] = {
    "clean-fid": CleanFid,
    "torch-fidelity": TorchFidelity,
}


def open_engine(name: str, weights: str | Path | None, device: str) -> Engine:
    """By its package's name; ValueError for weights that are not there or are none, MissingExtra without the
    package."""
    if weights is None:
        raise ValueError(
            f"--engine {name} needs --engine-weights, Inception's of 2015: nothing is downloaded"
        )
    if not Path(weights).is_file():
        raise ValueError(f"{weights}: no such file; give --engine-weights the file of Inception's weights")
    return ENGINES[name](Path(weights), device)


def _files(source: str) -> tuple[list[str], tuple[str, ...]]:
    """Of all pictures, and their names."""
    if Path(source).suffix in FILES:
        raise ValueError(f"{source}: holds features; an engine sees pictures: give their folder")
    pictures = find_pictures(source)
    if pictures.paths is None:
        raise ValueError(f"{source}: its pictures are no files of their own; give an engine a folder of them")
    return [str(path) for path in pictures.paths], pictures.names


def _of_one_size(pictures: Iterable[Tensor]) -> Iterator[Tensor]:
    """Batches (n, 3, H, W) of neighbours that have the same size."""
    batch: list[Tensor] = []
    for picture in pictures:
        if batch and (len(batch) == BATCH or picture.shape != batch[0].shape):
            yield torch.stack(batch)
            batch = []
        batch.append(picture)
    if batch:
        yield torch.stack(batch)


def _package(module: str) -> ModuleType:
    try:
        need(module.split(".")[0], extra="metrics")
        return import_module(module)
    except (ModuleNotFoundError, RuntimeError) as error:  # of no torchvision, or one for another torch
        raise MissingExtra(
            f"{module} cannot be imported ({error}): it needs a torchvision that fits torch (unicon doctor)"
        ) from error


def _source(package: str, mode: str, weights: Path) -> str:
    return f"{package} {metadata.version(package)} {mode}, {weights.name} {source_digest([weights])}"


@contextmanager
def _reading(weights: Path, expected: str) -> Iterator[None]:
    """What goes wrong while weights are loaded, as a ValueError that names them."""
    try:
        with _quiet():
            yield
    except Exception as error:  # torch lets anything through
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{weights}: cannot be read ({reason}); expected {expected}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Deprecations of torch, scipy and Pillow in packages that are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
