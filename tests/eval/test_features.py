"""Are features those of the named model, on the pictures as they lie there?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTForImageClassification,
)

from eval.features import Extractor, FeatureSet, read_features, square
from eval.pictures import find_pictures


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

    found = Extractor()(find_pictures(folder))
    assert found.values.shape == (3, 128)
    assert found.names == ("0.png", "1.png", "2.png")
    assert found.source == "mini, 128 px, centred square, bicubic"
    model = CLIPVisionModelWithProjection.from_pretrained(mini_folder() / "image_encoder").eval().float()
    pixels = torch.from_numpy(square(Image.open(folder / "1.png"), 128)) * 2 - 1
    with torch.no_grad():
        expected = model(pixels[None]).image_embeds.numpy()
    np.testing.assert_allclose(found.values[1:2], expected, rtol=1e-5, atol=1e-5)


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


SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
def test_a_model_of_pictures_and_texts_gives_the_pictures_embedding(kind, folder, tmp_path):
    torch.manual_seed(0)
    texts = {**SMALL, "vocab_size": 50, "max_position_embeddings": 8}
    pictures = {**SMALL, "image_size": 16, "patch_size": 8}
    more = {"projection_dim": 6} if kind == "CLIP" else {}
    config = getattr(transformers, f"{kind}Config")(text_config=texts, vision_config=pictures, **more)
    model = getattr(transformers, f"{kind}Model")(config).eval()
    model.save_pretrained(tmp_path)
    extractor = Extractor(str(tmp_path))
    assert extractor.side_px == 16
    found = extractor(find_pictures(folder)).values
    assert found.shape == (3, 6 if kind == "CLIP" else 8)
    pixels = (torch.from_numpy(square(Image.open(folder / "2.png"), 16))[None] - 0.5) / 0.5
    with torch.no_grad():
        expected = model.get_image_features(pixel_values=pixels)
    expected = getattr(expected, "pooler_output", expected)
    np.testing.assert_allclose(found[2:], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("told", "side"),
    [
        ('{"size": {"shortest_edge": 20}, "crop_size": {"height": 24, "width": 24}}', 24),
        ('{"size": {"shortest_edge": 20}, "crop_size": 24, "do_center_crop": false}', 20),
        ('{"size": {"height": 32, "width": 32}}', 32),
        ("{}", 48),
    ],
)
def test_pictures_have_the_size_of_the_preprocessing_not_of_the_pretraining(told, side, folder, tmp_path):
    config = Dinov2Config(**SMALL, image_size=48, patch_size=4)  # DINOv2's say 518, and 224 are used
    Dinov2Model(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(told)
    extractor = Extractor(str(tmp_path))
    assert f", {side} px, centred square" in extractor(find_pictures(folder)).source


def test_another_size_may_be_asked_for(folder):
    with_it = Extractor(size_px=64)(find_pictures(folder))
    assert with_it.source == "mini, 64 px, centred square, bicubic"
    assert with_it.values.shape == (3, 128)
    assert not np.allclose(with_it.values, Extractor()(find_pictures(folder)).values, atol=1e-2)


def test_a_stretched_picture_is_seen_to_its_edges(folder):
    wide = Image.new("RGB", (60, 20), (0, 0, 255))
    wide.paste((255, 0, 0), (0, 0, 20, 20))  # left of the centred square
    assert square(wide, 8)[0].max() == pytest.approx(0, abs=0.1)
    assert square(wide, 8, fit="stretch")[0, :, 0].min() > 0.9
    assert Extractor(fit="stretch").source == "mini, 128 px, stretched to a square, bicubic"
    with pytest.raises(ValueError, match="fit is 'pad'; known: crop, stretch"):
        Extractor(fit="pad")


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("resize", ["bicubic", "bilinear"])
def test_tensors_have_the_features_of_their_files(fit, resize, folder):
    extractor = Extractor(resize=resize, fit=fit)
    for place in sorted(folder.iterdir()):
        pixels = torch.from_numpy(np.asarray(Image.open(place)).copy()).permute(2, 0, 1)[None].float() / 255
        expected = extractor.of_array(np.asarray(Image.open(place)))
        np.testing.assert_allclose(extractor.of_tensor(pixels)[0], expected, rtol=2e-3, atol=2e-3)


def test_gradients_reach_the_pixels(folder):
    extractor = Extractor()
    pixels = torch.rand(1, 3, 40, 52, generator=torch.Generator().manual_seed(0)).requires_grad_()
    extractor.of_tensor(pixels).square().sum().backward()
    assert pixels.grad is not None
    assert (pixels.grad[..., 6:46] != 0).all()
    assert (pixels.grad[..., :6] == 0).all()  # cut off
    for wrong, text in (
        (torch.ones(3, 8, 8), "expected .N, 3, height, width"),
        (torch.ones(1, 1, 8, 8), "shape"),
    ):
        with pytest.raises(ValueError, match=text):
            extractor.of_tensor(wrong)
    with pytest.raises(ValueError, match="resize is 'box'; gradients know bicubic, bilinear"):
        Extractor(resize="box").of_tensor(pixels)


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
    again = read_features(tmp_path / "deep" / "own.npz")
    np.testing.assert_array_equal(again.values, values)
    np.testing.assert_array_equal(again.logits, values[:, :2])
    assert (again.names, again.source) == (tuple("abcd"), "mine")
    np.save(tmp_path / "own.npy", values)
    assert isinstance((mapped := read_features(tmp_path / "own.npy")).values, np.memmap)
    assert (mapped.names, mapped.source) == (("0", "1", "2", "3"), "own.npy")
    save_file({"anything": torch.from_numpy(values)}, tmp_path / "own.safetensors")
    plain = read_features(tmp_path / "own.safetensors")
    assert (plain.names, plain.source) == (("0", "1", "2", "3"), "own.safetensors")


def test_bad_files_and_models_are_refused(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    np.savez(tmp_path / "flat.npz", features=np.ones(4))
    np.savez(tmp_path / "names.npz", features=np.ones((2, 2)), names=np.array(["one"]))
    np.savez(tmp_path / "logits.npz", features=np.ones((2, 2)), logits=np.ones((3, 5)))
    (tmp_path / "text.npz").write_text("no")
    (tmp_path / "cut.safetensors").write_bytes(b"\x40")
    for name, text in (
        ("two.npz", "holds a, b; expected an array named features"),
        ("flat.npz", r"features are float64 of shape \(4,\)"),
        ("names.npz", "2 features, but 1 names"),
        ("logits.npz", "2 features, but 3 logits"),
        ("text.npz", "is no file of arrays"),
        ("cut.safetensors", "is no file of arrays"),
        ("missing.npz", "no such file"),
    ):
        with pytest.raises(ValueError, match=text):
            read_features(tmp_path / name)
    with pytest.raises(ValueError, match="no such folder with config.json"):
        Extractor("nowhere")
    with pytest.raises(ValueError, match="resize is 'nearest'; known: bicubic"):
        Extractor(resize="nearest")


def test_a_model_without_a_last_layer_is_read_at_its_first_token_and_others_must_be_whole(tmp_path):
    from safetensors.torch import load_file, save_file
    from transformers import ViTConfig, ViTModel

    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = ViTConfig(**shape, image_size=16, patch_size=8)
    ViTModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    picture = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
    first, again = (Extractor(str(tmp_path)).of_array(picture) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    tensors.pop(next(name for name in tensors if "layernorm" in name and name.endswith("weight")))
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="holds a ViTModel without .*layernorm"):
        Extractor(str(tmp_path))
