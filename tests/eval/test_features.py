"""Are features those of the named model, on the pictures as they lie there?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    ViTConfig,
    ViTForImageClassification,
)

from eval.features import Extractor, FeatureSet, find_pictures, open_features, read_features, square


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number, shape in enumerate([(40, 40), (64, 48), (48, 80)]):
        Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(place / f"{number}.png")
    return place


def test_mini_encoder_gives_its_own_embeddings(folder):
    from transformers import CLIPVisionModelWithProjection

    from unicon.mini import mini_folder

    found = open_features(folder)
    assert found.values.shape == (3, 128)
    assert found.names == ("0.png", "1.png", "2.png")
    assert found.source == "mini, 128 px, centred square, bicubic"
    model = CLIPVisionModelWithProjection.from_pretrained(mini_folder() / "image_encoder").eval()
    pixels = torch.from_numpy(square(Image.open(folder / "1.png"), 128)) * 2 - 1
    with torch.no_grad():
        expected = model(pixels[None].to(model.dtype)).image_embeds.float().numpy()
    np.testing.assert_allclose(found.values[1:2], expected, rtol=1e-3, atol=1e-3)


def test_a_classifier_gives_features_and_logits(folder, tmp_path):
    torch.manual_seed(0)
    config = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
                       image_size=16, patch_size=8, num_labels=5)  # fmt: skip
    ViTForImageClassification(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]}'
    )
    extractor = Extractor(str(tmp_path), resize="box")
    assert extractor.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    found = extractor(find_pictures(folder), batch_size=2)
    assert found.values.shape == (3, 8)
    assert found.logits is not None
    assert found.logits.shape == (3, 5)


def test_a_model_without_projection_gives_its_pooled_output(folder, tmp_path):
    torch.manual_seed(0)
    config = CLIPVisionConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
                              image_size=16, patch_size=8)  # fmt: skip
    model = CLIPVisionModel(config).eval()
    model.save_pretrained(tmp_path)
    extractor = Extractor(str(tmp_path))
    found = extractor(find_pictures(folder)).values
    pixels = torch.from_numpy(square(Image.open(folder / "2.png"), 16))[None]
    with torch.no_grad():
        expected = model((pixels - extractor.mean) / extractor.deviation).pooler_output.numpy()
    assert found.shape == (3, 8)
    np.testing.assert_allclose(found[2:], expected, rtol=1e-4, atol=1e-4)


def test_resizing_is_antialiased_and_not_rounded():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    for mode in ("bicubic", "bilinear", "box"):
        small = square(Image.fromarray(stripes), 16, mode)
        assert small.shape == (3, 16, 16)
        assert abs(small[:, :, 2:-2] - 0.5).max() < 0.1
    grey = square(Image.fromarray(np.full((20, 20, 3), 101, np.uint8)), 8)
    np.testing.assert_allclose(grey, 101 / 255, rtol=1e-6)


def test_files_of_features_come_back(tmp_path):
    values = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    own = FeatureSet(values=values, names=tuple("abcd"), source="mine", logits=values[:, :2])
    own.save(tmp_path / "deep" / "own.npz")
    again = open_features(tmp_path / "deep" / "own.npz")
    np.testing.assert_array_equal(again.values, values)
    np.testing.assert_array_equal(again.logits, values[:, :2])
    assert (again.names, again.source) == (tuple("abcd"), "mine")
    save_file({"anything": torch.from_numpy(values)}, tmp_path / "own.safetensors")
    plain = read_features(tmp_path / "own.safetensors")
    assert (plain.names, plain.source) == (("0", "1", "2", "3"), "own.safetensors")


def test_bad_files_and_models_are_refused(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    np.savez(tmp_path / "flat.npz", features=np.ones(4))
    np.savez(tmp_path / "names.npz", features=np.ones((2, 2)), names=np.array(["one"]))
    (tmp_path / "text.npz").write_text("no")
    for name, text in (
        ("two.npz", "holds a, b; expected an array named features"),
        ("flat.npz", r"features are float64 of shape \(4,\)"),
        ("names.npz", "2 features, but 1 names"),
        ("text.npz", "is no file of arrays"),
        ("missing.npz", "no such file"),
    ):
        with pytest.raises(ValueError, match=text):
            read_features(tmp_path / name)
    with pytest.raises(ValueError, match="no such folder with config.json"):
        Extractor("nowhere")
    with pytest.raises(ValueError, match="resize is 'nearest'; known: bicubic"):
        Extractor(resize="nearest")
