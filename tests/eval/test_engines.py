"""Do FID and KID come from the packages that papers name, with weights from a file, and is a lack of either
said clearly?"""

from __future__ import annotations

import sys
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from eval import __main__ as front
from eval import engines
from eval.engines import CLEAN_FILE, open_engine
from eval.features import FeatureSet
from eval.metrics.distributions import cubic, frechet_distance, mmd
from eval.pictures import find_pictures
from eval.records import read
from tests import commands
from unicon.extras import MissingExtra

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[str, str]:
    """12 real and 14 generated pictures of two sizes."""
    found = []
    for name, num in (("real", 12), ("generated", 14)):
        folder = tmp_path_factory.mktemp(name)
        for n in range(num):
            side = 24 if n % 5 else 32
            values = RNG.integers(0, 256, (side, side, 3)).astype(np.uint8) // (1 + (name == "generated"))
            Image.fromarray(values).save(folder / f"{n:02d}.png")
        found.append(str(folder))
    return found[0], found[1]


class MeanColours:
    """An engine whose network is a mean over pixels."""

    def __init__(self, weights, device):
        self.source = f"mean colours, {weights.name}"

    def __call__(self, source: str) -> FeatureSet:
        pictures = find_pictures(source)
        values = [np.asarray(pictures.load(n), np.float32).mean((0, 1)) for n in range(len(pictures))]
        return FeatureSet(values=np.stack(values), names=pictures.names, source=self.source)

    def numbers(self, real: FeatureSet, generated: FeatureSet, seed: int) -> dict[str, float]:
        return {"fid": 0.5, "kid": float(seed)}


def refusal(capsys, *arguments: object) -> str:
    return commands.refusal(capsys, "distributions", *arguments, "--device", "cpu")


def test_an_engine_has_a_record_of_its_own_beside_ours(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(engines.ENGINES, "clean-fid", MeanColours)
    weights, out = tmp_path / "weights.pt", tmp_path / "out.jsonl"
    weights.write_bytes(b"made up")
    both = ["--real", folders[0], "--generated", folders[1]]
    asked = [*both, "--engine", "clean-fid", "--engine-weights", str(weights)]
    more = ["--split", "val", "--seed", "7", "--device", "cpu", "--out", str(out)]
    assert front.main(["distributions", *asked, *more]) == 0
    assert "### distributions/clean-fid" in capsys.readouterr().out
    ours, theirs = read(out)
    assert theirs.numbers == {"fid": 0.5, "kid": 7.0}
    assert theirs.settings["features"] == ours.settings["features"] == "mean colours, weights.pt"
    assert theirs.settings["split"] == "val"
    made = MeanColours(weights, "cpu")
    expected = frechet_distance(made(folders[0]).values, made(folders[1]).values).distance
    assert ours.numbers["frechet"] == pytest.approx(expected)
    assert "leave out --resize, --size" in refusal(capsys, *asked, "--resize", "box", "--size", "64")
    assert "--engine clean-fid needs --engine-weights" in refusal(capsys, *asked[:-2])
    assert "say which: --engine clean-fid or torch-fidelity" in refusal(
        capsys, *both, "--engine-weights", "x.pt"
    )
    assert "x.pt: no such file" in refusal(capsys, *asked[:-1], "x.pt")


@pytest.mark.parametrize("name, module", [("clean-fid", "cleanfid"), ("torch-fidelity", "torch_fidelity")])
def test_a_package_that_is_not_there_is_named_with_its_command(name, module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    for known in [known for known in sys.modules if known.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, known)
    weights = tmp_path / CLEAN_FILE
    weights.write_bytes(b"made up")
    with pytest.raises(MissingExtra, match=rf"{module}.* is not installed; .*pip install .*\[metrics\]"):
        open_engine(name, weights, "cpu")


class Random(torch.nn.Module):
    """As much of Inception's TorchScript as clean-fid calls: (N, 3, 299, 299) to (N, 2048)."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.AvgPool2d(23), torch.nn.Flatten(), torch.nn.Linear(507, 2048)
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.layers(pictures)


def few_features(num: int, moved: float) -> FeatureSet:
    rows, logits = RNG.normal(size=(num, 6)) + moved, RNG.normal(size=(num, 4)) * 3
    return FeatureSet(
        values=rows.astype(np.float32), names=tuple(map(str, range(num))), source="made up",
        logits=logits.astype(np.float32),
    )  # fmt: skip


def check_numbers(engine) -> dict[str, float]:
    """FID is ours, KID is near ours and drawn by the seed."""
    real, generated = few_features(40, 0.0), few_features(30, 1.0)
    found = engine.numbers(real, generated, 0)
    assert found["fid"] == pytest.approx(frechet_distance(real.values, generated.values).distance, rel=1e-5)
    assert found["kid"] == pytest.approx(mmd(real.values, generated.values, cubic), rel=0.2)
    assert found == engine.numbers(real, generated, 0)
    assert found["kid"] != engine.numbers(real, generated, 1)["kid"]
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the package
def test_clean_fid_sees_and_says_what_it_does_alone(folders, tmp_path):
    fid = pytest.importorskip("cleanfid.fid")
    torch.manual_seed(0)
    torch.jit.script(Random()).save(str(tmp_path / CLEAN_FILE))
    engine = open_engine("clean-fid", tmp_path / CLEAN_FILE, "cpu")
    seen = engine(folders[1])
    alone = fid.get_folder_features(
        folders[1], engine.model, num_workers=0, device=torch.device("cpu"), mode="clean"
    )
    np.testing.assert_array_equal(seen.values, alone)
    assert seen.source.startswith(f"clean-fid 0.1.35 clean, {CLEAN_FILE} ")
    assert (seen.names[0], len(seen)) == ("00.png", 14)
    drawn = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert "inception_score" not in check_numbers(engine)
    assert np.random.get_state()[1].tolist() == drawn  # noqa: NPY002
    (tmp_path / "other.pt").write_bytes(b"made up")
    with pytest.raises(ValueError, match=f"call them {CLEAN_FILE}"):
        open_engine("clean-fid", tmp_path / "other.pt", "cpu")
    (tmp_path / CLEAN_FILE).write_bytes(b"made up")
    with pytest.raises(ValueError, match="cannot be read .*; expected the TorchScript"):
        open_engine("clean-fid", tmp_path / CLEAN_FILE, "cpu")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the package
def test_torch_fidelity_sees_and_says_what_it_does_alone(folders, tmp_path):
    utils = pytest.importorskip("torch_fidelity.utils")
    weights = tmp_path / "weights.pth"
    torch.save(random_inception(), weights)
    engine = open_engine("torch-fidelity", weights, "cpu")
    seen = engine(folders[1])
    assert seen.source.startswith("torch-fidelity 0.4.0 inception-v3-compat, weights.pth ")
    files = [f"{folders[1]}/{name}" for name in seen.names]
    for place in (0, 1):  # of two sizes, which it does not take together
        single = utils.ImagesPathDataset(files[place : place + 1])
        alone = utils.get_featuresdict_from_dataset(single, engine.extractor, 1, False, True, False)
        np.testing.assert_allclose(seen.values[place], alone["2048"][0], rtol=1e-4)
        np.testing.assert_allclose(seen.logits[place], alone["logits_unbiased"][0], rtol=1e-4)
    assert check_numbers(engine)["inception_score"] > 1.5
    assert "inception_score" not in engine.numbers(few_features(9, 0.0), few_features(9, 1.0), 0)
    (tmp_path / "bad.pth").write_bytes(b"made up")
    with pytest.raises(ValueError, match="cannot be read .*; expected a state dictionary"):
        open_engine("torch-fidelity", tmp_path / "bad.pth", "cpu")


def random_inception() -> dict[str, torch.Tensor]:
    """A state of torch-fidelity's Inception without its weights."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Inception

    class Untrained(Inception):
        def load_state_dict(self, state):
            return None

    content = BytesIO()
    torch.save({}, content)
    content.seek(0)
    torch.manual_seed(0)
    return Untrained("untrained", ["2048"], feature_extractor_weights_path=content).state_dict()
