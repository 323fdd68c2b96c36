"""Is a scene a function of its seed alone, are its maps exact, and are the holdouts kept?"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from unicon.conditions.pose_reading import read_pose
from unicon.data.scenes import (
    FAR_M,
    HELD_OUT_KINDS,
    HELD_OUT_LIGHTS,
    STYLES,
    TRAIN_KINDS,
    TRAIN_LIGHTS,
    SceneConfig,
    render,
)

SMALL = SceneConfig(size=48)
QUICK = SceneConfig(size=48, second_view=False)


def arrays(scene) -> list[np.ndarray]:
    return [
        scene.image, scene.depth, scene.normal, scene.albedo, scene.edges, scene.pose, scene.second_image,
        np.array([*scene.joints]),
    ]  # fmt: skip


def same(a, b) -> bool:
    return a.caption == b.caption and all(
        np.array_equal(x, y) for x, y in zip(arrays(a), arrays(b), strict=True)
    )


def test_a_scene_does_not_depend_on_what_was_rendered_before():
    forward = [render(seed, SMALL) for seed in (3, 4, 5)]
    backward = [render(seed, SMALL) for seed in (5, 4, 3)][::-1]
    assert all(same(a, b) for a, b in zip(forward, backward, strict=True))


def test_another_process_renders_the_same_scene():
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        there = pool.submit(render, 11, SMALL).result()
    assert same(render(11, SMALL), there)


def test_seeds_differ_and_the_second_view_changes_nothing_else():
    one, other = render(1, SMALL), render(2, SMALL)
    assert not np.array_equal(one.image, other.image)
    without = render(1, QUICK)
    assert np.array_equal(one.image, without.image)
    assert without.second_image is None
    assert without.second_caption is None


def test_shapes_types_and_ranges():
    scene = render(7, SMALL)
    assert scene.image.dtype == np.uint8
    assert scene.image.shape == scene.pose.shape == scene.second_image.shape == (48, 48, 3)
    assert scene.depth.dtype == np.float32
    assert scene.edges.dtype == bool
    assert 0 < scene.depth.min() <= scene.depth.max() <= FAR_M
    length = np.linalg.norm(scene.normal, axis=-1)
    assert np.all(np.isclose(length, 1, atol=1e-3) | (length == 0))
    assert 0 <= scene.albedo.min() <= scene.albedo.max() <= 1
    assert len(scene.caption.split()) <= 45


def test_surfaces_face_the_camera():
    for seed in range(6):
        scene = render(seed, QUICK)
        seen = (np.linalg.norm(scene.normal, axis=-1) > 0.5) & (scene.depth < FAR_M)
        # z is forward in camera axes; a face at the border of the view may lean away by the view angle
        assert np.quantile(scene.normal[seen][:, 2], 0.99) < 0.75


@pytest.mark.parametrize("setting", ["room", "field", "tabletop"])
def test_settings_are_respected(setting):
    config = SceneConfig(size=32, settings=(setting,), second_view=False)
    assert {render(seed, config).attributes["setting"] for seed in range(5)} == {setting}


def test_default_scenes_hold_nothing_that_is_held_out():
    for seed in range(25):
        facts = render(seed, SceneConfig(size=32, second_view=False)).attributes
        assert not set(facts["placed_kinds"]) & set(HELD_OUT_KINDS)
        assert facts["light"] in TRAIN_LIGHTS
        assert facts["style"] == "photo"


def test_held_out_scenes_hold_only_what_is_held_out():
    config = SceneConfig(size=32, kinds=HELD_OUT_KINDS, lights=HELD_OUT_LIGHTS, second_view=False)
    for seed in range(12):
        facts = render(seed, config).attributes
        assert set(facts["placed_kinds"]) <= set(HELD_OUT_KINDS)
        assert facts["light"] in HELD_OUT_LIGHTS


def test_required_kinds_are_placed_and_excluded_ones_are_not():
    with_dog = SceneConfig(size=32, require_kinds=("dog",), second_view=False)
    assert all("dog" in render(seed, with_dog).attributes["placed_kinds"] for seed in range(6))
    config = SceneConfig(
        size=32, exclude_kinds=tuple(k for k in TRAIN_KINDS if k != "ball"), second_view=False
    )
    assert {k for s in range(4) for k in render(s, config).attributes["placed_kinds"]} == {"ball"}


def test_styles_change_the_picture_and_not_the_geometry():
    scenes = {style: render(9, SceneConfig(size=48, styles=(style,), second_view=False)) for style in STYLES}
    for style in STYLES[1:]:
        assert np.array_equal(scenes[style].depth, scenes["photo"].depth)
        assert not np.array_equal(scenes[style].image, scenes["photo"].image)
        assert style == "neon" or scenes[style].caption != scenes["photo"].caption


def test_captions_name_visible_things_with_their_colours():
    for seed in range(20):
        scene = render(seed, QUICK)
        named = [s["words"] for s in scene.attributes["subjects"]]
        singular = scene.caption.replace("two ", "a ")
        assert not named or any(words in singular for words in named)
        assert len(set(scene.caption) - set("abcdefghijklmnopqrstuvwxyz ,")) == 0


def test_edges_follow_breaks_in_depth():
    hits, total = 0, 0
    for seed in range(6):
        scene = render(seed, SceneConfig(size=96, second_view=False))
        near = np.pad(scene.edges, 1)
        around = np.any(
            [near[1 + dy : 97 + dy, 1 + dx : 97 + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)], axis=0
        )
        ratio = scene.depth[:, 1:] / scene.depth[:, :-1]
        breaks = (np.maximum(ratio, 1 / ratio) > 1.35) & (np.abs(scene.normal[:, 1:, 2]) > 0.4)
        hits, total = hits + int((around[:, 1:] & breaks).sum()), total + int(breaks.sum())
        assert 0.005 < scene.edges.mean() < 0.4
    assert total > 50
    assert hits / total > 0.95


def test_joints_can_be_read_back_from_the_drawing():
    close = []
    for seed in range(40):
        scene = render(
            seed,
            SceneConfig(require_kinds=("person",), max_subjects=1, settings=("field",), second_view=False),
        )
        if len(scene.joints) != 1 or np.ptp(scene.joints[0][:, 1]) < 50:
            continue
        true, read = scene.joints[0], read_pose(scene.pose)[0]
        both = (true[:, 2] > 0) & (read[:, 2] > 0)
        close += list(np.hypot(*(true - read)[both, :2].T) < 2)
        if len(close) > 60:
            break
    assert len(close) > 30
    assert np.mean(close) > 0.93


def test_a_visible_joint_lies_on_its_person():
    """Near a visible joint the surface is about as far off as the joint itself."""
    scene = render(21, SceneConfig(size=96, require_kinds=("person",), max_subjects=1, second_view=False))
    assert scene.joints
    for joints in scene.joints:
        seen = joints[joints[:, 2] > 0]
        depths = [scene.depth[round(y), round(x)] for x, y, _ in seen]
        assert np.ptp(depths) < 1.2


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"size": 20}, "size is 20; expected 32 to 1024"),
        ({"max_subjects": 7}, "max_subjects is 7; expected 1 to 6"),
        ({"kinds": ("bal",)}, r"kinds has \['bal'\]; expected names among"),
        ({"lights": ()}, "lights is empty; expected at least one"),
        ({"styles": "photo"}, "styles is 'photo'; expected a tuple"),
        ({"settings": ("room",), "lights": ("sun",)}, "can show none of the kinds"),
        ({"exclude_kinds": ("sun",)}, r"exclude_kinds has \['sun'\]"),
    ],
)
def test_wrong_configurations_say_what_is_wrong(fields, text):
    with pytest.raises(ValueError, match=text):
        SceneConfig(**fields)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "3"])
def test_wrong_seeds_say_what_is_wrong(seed):
    with pytest.raises(ValueError, match="expected an integer of at least 0"):
        render(seed, QUICK)


def test_a_folder_without_photographs_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no jpg, png or webp"):
        render(0, SceneConfig(size=32, photo_folder=str(tmp_path)))
