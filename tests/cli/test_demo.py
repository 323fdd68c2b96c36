"""Does `unicon demo` draw every direction of every condition, label it, and report what it measured?"""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.cli.bases import command, names, opened, save_noise
from unicon.cli import main as cli

CONDITIONS = ("depth", "edge", "pose", "appearance")
KINDS = (
    "exact_map", "image_from_map", "image_from_coarse_map", "picture", "map_from_picture", "joint_image",
    "joint_map", "edited_picture", "picture_with_hole", "filled_picture", "image_from_two_maps", "photo",
    "map_from_photo",
)  # fmt: skip


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """One run of the demo, with a photograph."""
    folder = tmp_path_factory.mktemp("demo")
    photo = save_noise(folder / "photo.png", width=40, height=24)
    assert command("demo", "--scenes", 1, "--photo", photo, "--seed", 2, "--out", folder / "out") == 0
    return folder / "out"


def test_every_direction_of_every_condition_is_a_picture(shown):
    expected = [f"{condition}_{kind}.png" for condition in CONDITIONS for kind in KINDS]
    assert names(shown) == sorted([*expected, "report.json", "sheet.png"])
    assert opened(shown / "depth_map_from_photo.png").size == (40, 24)
    assert opened(shown / "pose_image_from_map.png").size == (32, 32)


def test_the_sheet_has_a_cell_for_each_and_text_beside_them(shown):
    sheet = opened(shown / "sheet.png")
    assert sheet.width > 2 * len(CONDITIONS) * 160
    assert sheet.height > (len(KINDS) + 1) / 2 * 160
    labels = np.asarray(sheet.convert("L"))[:, 12:70]
    assert (labels < 128).any(axis=1).sum() > 4 * len(KINDS)


def test_the_report_holds_this_runs_errors_and_circumstances(shown):
    report = json.loads((shown / "report.json").read_text())
    assert set(report["errors"]) == {"generation", "estimation", "joint"}
    assert report["best_possible"]["depth"]["delta1"] > report["errors"]["estimation"]["depth"]["delta1"]
    assert set(report["errors"]["estimation"]) == {"depth", "edge", "pose"}
    assert set(report["errors"]["generation"]["depth"]) == {"abs_rel", "delta1"}
    assert set(report["errors"]["joint"]["depth"]) == {"correlation", "mean_difference"}
    assert "generation" in report["seconds"]
    assert report["seconds"]["total"] == pytest.approx(
        sum(v for k, v in report["seconds"].items() if k != "total"), abs=0.1
    )
    assert (report["device"], report["dtype"], report["steps"], report["seed"]) == ("cpu", "float32", 2, 2)
    assert {"commit", "versions", "date", "how_measured"} <= set(report)
    assert [scene["seed"] < 1_000_000 for scene in report["scenes"]] == [True]


def test_exact_maps_score_perfectly_and_others_do_not():
    from unicon.cli.demo import pick_scenes
    from unicon.cli.demo_errors import against_scenes, agreement
    from unicon.data.scenes import exact_map

    scenes = list(pick_scenes(0, 2, 128))
    for condition, name, best in (
        ("depth", "delta1", 0.95),
        ("edge", "f1_2px", 0.95),
        ("pose", "pck_0.1", 0.7),
    ):
        maps = [np.asarray(exact_map(scene, condition)) for scene in scenes]
        maps = [m / np.float32(255) if m.dtype == np.uint8 else m for m in maps]
        right, wrong = against_scenes(condition, maps, scenes), against_scenes(condition, maps[::-1], scenes)
        assert right.numbers[name] > best > wrong.numbers[name]
        assert len(right.notes) == 2
        own, other = agreement(condition, maps, maps), agreement(condition, maps, maps[::-1])
        key = "correlation" if condition == "depth" else name
        assert own.numbers[key] == pytest.approx(1, abs=0.02)
        assert other.numbers[key] < own.numbers[key]
    assert against_scenes("appearance", [], []) is None


def test_scenes_are_held_out_show_figures_and_differ_by_seed():
    from unicon.cli.demo import pick_scenes

    first, second = (next(iter(pick_scenes(seed, 1, 48))) for seed in (0, 100))
    assert first.seed < 100 <= second.seed < 1_000_000
    assert max(joints[:, 2].sum() for joints in first.joints) >= 12
    assert next(iter(pick_scenes(1_000_000, 1, 48))).seed == first.seed


def test_colours_of_a_caption_change_and_the_rest_stays():
    from unicon.cli.demo_stages import recoloured

    assert recoloured("a red ball, a redder box") == f"a {recoloured('red')} ball, a redder box"
    assert recoloured("red") != "red"
    assert recoloured("a dog") == "a dog, golden evening light"


def test_a_missing_photo_is_refused_before_anything_runs(tmp_path, capsys):
    assert command("demo", "--photo", tmp_path / "no.jpg", "--out", tmp_path / "out") == 2
    assert "no.jpg: no such file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_base_without_adapters_is_refused(tmp_path, capsys):
    from tests.tiny_base import tiny_pipeline

    tiny_pipeline(tmp_path / "words", {}).save_pretrained(tmp_path / "bare")
    arguments = ["--base", str(tmp_path / "bare"), "--dtype", "float32", "--device", "cpu"]
    assert cli.main(["demo", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert "has no adapter for depth, edge, pose, appearance" in capsys.readouterr().err


def test_a_second_view_is_compared_by_the_bases_own_image_encoder(tmp_path):
    import torch
    from PIL import Image
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from tests.tiny_base import tiny_pipeline
    from unicon.cli.demo_errors import likeness

    torch.manual_seed(0)
    settings = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32,
        patch_size=8, projection_dim=8,
    )  # fmt: skip
    pipe = tiny_pipeline(tmp_path / "words")
    views = [
        Image.effect_mandelbrot((48, 48), (-2, -1.5, 1, 1.5), 50).convert("RGB"),
        Image.new("RGB", (48, 48)),
    ]
    assert likeness(pipe, views, views) is None
    pipe.register_modules(image_encoder=CLIPVisionModelWithProjection(settings).eval())
    numbers = likeness(pipe, views, views).numbers
    assert numbers["cosine"] == pytest.approx(1, abs=1e-5)
    assert numbers["cosine_to_other_scenes"] < numbers["cosine"] - 1e-5


def test_a_base_that_understands_pictures_and_enlarges_them_shows_it(tmp_path):
    from adapters import AdapterConfig
    from tests.adapters.tiny import trained
    from tests.pipeline.test_prior import tiny_prior
    from tests.tiny_base import tiny_pipeline
    from tests.tiny_clip import tiny_decoder, with_clip
    from unicon.cli.demo import pick_scenes
    from unicon.cli.demo_stages import Studio, enlarging, meaning

    pipe = with_clip(tiny_pipeline(tmp_path / "words"))
    studio = Studio(
        pipe=pipe, scenes=list(pick_scenes(0, 2, 32)), conditions=["depth", "edge"], photo=None, steps=2,
        seed=0, guidance_scale=1.0,
    )  # fmt: skip
    assert meaning(studio).rows == enlarging(studio).rows == []
    pipe.add_decoder(tiny_decoder(pipe))
    pipe.add_adapter(trained(pipe.unet, AdapterConfig(condition="lowres", rank=2), seed=7), "lowres")
    alike = meaning(studio)
    assert [row.name for row in alike.rows] == ["like_picture", "swapped"]
    free, swapped = (row.pictures for row in alike.rows)
    assert free["depth"] is free["edge"]
    assert np.asarray(swapped["depth"][0]).tolist() != np.asarray(swapped["edge"][0]).tolist()
    assert set(alike.errors["any"]) == {"cosine", "cosine_to_other_scenes"}
    pipe.add_prior(tiny_prior())
    told = meaning(studio)
    assert [row.name for row in told.rows] == ["like_picture", "swapped", "like_caption"]
    assert told.errors["any"] == alike.errors["any"]
    assert set(told.errors["prior"]) == {"cosine", "cosine_to_other_scenes", "embedding_cosine"}
    pictures = [[np.asarray(p).tolist() for p in row.pictures["depth"]] for row in told.rows]
    assert pictures[2] != pictures[0]
    assert pictures[2][0] != pictures[2][1]
    assert told.rows[2].notes["edge"][0].startswith("cosine ")
    small, large = (row.pictures["edge"] for row in enlarging(studio).rows)
    assert [(a.width, b.width) for a, b in zip(small, large, strict=True)] == [(16, 32)] * 2
