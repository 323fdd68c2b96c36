"""Does `unicon joint` draw a picture and its maps together?"""

from __future__ import annotations

import pytest

from adapters import ImageLora, save_lora
from tests.adapters.tiny import tiny_unet
from tests.cli.bases import command, names, opened
from unicon.styles import StyleCard


def test_a_picture_and_every_map_are_written(tmp_path, capsys):
    assert command("joint", "a man", "--conditions", "depth,pose", "--num", 2, "--out", tmp_path / "out") == 0
    kinds = ("depth", "image", "pose")
    assert names(tmp_path / "out") == [f"a-man_seed{seed}_{kind}.png" for seed in (0, 1) for kind in kinds]
    assert len(capsys.readouterr().out.split()) == 6
    # Sizes are free, and what other settings have drawn stays.
    size = ("--height", 24, "--width", 40)
    assert command("joint", "a man", "--condition", "depth", *size, "--out", tmp_path / "out") == 0
    written = [tmp_path / "out" / f"a-man_seed0_2_{kind}.png" for kind in ("image", "depth")]
    assert capsys.readouterr().out.split() == list(map(str, written))
    assert {opened(path).size for path in written} == {(40, 24)}
    assert len(names(tmp_path / "out")) == 8


def test_guidance_of_a_part_of_the_run_is_another_picture(tmp_path, capsys):
    pictures = []
    for name, more in (("all", []), ("part", ["--guidance-interval", "0,0.5"])):
        guided = ("--guidance-scale", 4, "--steps", 4, *more, "--out", tmp_path / name)
        assert command("joint", "a man", "--condition", "depth", *guided) == 0
        pictures.append(opened(tmp_path / name / "a-man_seed0_image.png").tobytes())
    assert pictures[0] != pictures[1]


def test_styles_change_the_picture_and_are_named_in_it(tmp_path, capsys):
    lora = ImageLora.for_unet(tiny_unet(), 2)
    for _, update in lora.items():
        update.up.data.fill_(1.0)
    lora.metadata = StyleCard(title="Ink", author="Ada").metadata()
    save_lora(lora, tmp_path / "style.safetensors")
    styles = [f"--style={tmp_path}/style.safetensors,weight=0.5", f"--style=two={tmp_path}/style.safetensors"]
    for out, more in (("plain", []), ("styled", styles)):
        where = ("--out", tmp_path / out)
        assert command("joint", "a man", "--condition", "depth", *more, *where) == 0
    plain, styled = (opened(tmp_path / out / "a-man_seed0_image.png") for out in ("plain", "styled"))
    assert plain.tobytes() != styled.tobytes()
    assert styled.info["styles"].splitlines() == ["Ink (author: Ada)"] * 2
    assert "styles" not in plain.info
    assert command("joint", "x", "--condition", "depth", f"{styles[0]}x", "--out", tmp_path / "out") == 2
    assert "weight '0.5x' is no number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "condition, text", [("sketch", "condition 'sketch': "), ("depth,", "names no condition; give one")]
)
def test_unknown_conditions_are_refused(tmp_path, capsys, condition, text):
    assert command("joint", "x", "--condition", condition, "--out", tmp_path / "out") == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
