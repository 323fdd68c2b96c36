"""Do a base's limits tell familiar pictures from strange ones, and survive their file?"""

from __future__ import annotations

import json

import pytest

from tests.cli.bases import base, command, save_noise
from unicon.limits import FILE, Limits, Strangeness, limits_over, read_limits


def test_limits_of_scenes_are_measured_and_read_back(tmp_path, capsys):
    assert command("limits", "--num", 3, "--percentile", 100, "--out", tmp_path) == 0
    limits = read_limits(tmp_path)
    assert (limits.num_pictures, limits.source) == (3, "scenes of seeds 0 to 2")
    assert min(limits.reconstruction, limits.surprise) > 0
    assert str(tmp_path / FILE) in capsys.readouterr().out


def test_limits_of_photographs(tmp_path):
    for seed in range(2):
        save_noise(tmp_path / "in" / f"{seed}.png", width=40, seed=seed)
    assert command("limits", "--photos", tmp_path / "in", "--out", tmp_path / "out") == 0
    assert read_limits(tmp_path / "out").source == "photographs of in"


def test_a_limit_is_a_percentile_and_only_what_lies_beyond_is_named():
    found = [Strangeness(reconstruction=n / 100, surprise=1.0) for n in range(101)]
    limits = limits_over(found, percentile=90, source="x")
    assert limits.reconstruction == pytest.approx(0.9)
    assert limits.exceeded(Strangeness(reconstruction=0.9, surprise=1.0)) == {}
    assert limits.exceeded(Strangeness(reconstruction=0.8, surprise=2.0)) == {"surprise": (2.0, 1.0)}


def test_strangeness_does_not_depend_on_the_batch():
    from PIL import Image

    from unicon.limits import strangeness
    from unicon.pipeline import UniConPipeline

    pipe = UniConPipeline.from_pretrained(base(), adapters=())
    pictures = [Image.new("RGB", (48, 20), colour) for colour in ("red", "navy")]
    both, alone = strangeness(pipe, pictures), strangeness(pipe, pictures[1:])
    assert both[1].surprise == pytest.approx(alone[0].surprise, rel=1e-4)
    assert both[1].reconstruction == pytest.approx(alone[0].reconstruction, rel=1e-4)
    assert both[0] != both[1]


def test_a_base_without_limits_judges_nothing(tmp_path):
    assert read_limits(tmp_path) is None


@pytest.mark.parametrize("text", ["{", "{}", "[]", json.dumps({"surprise": 1})])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(
        ValueError, match=r"limits.json: holds no limits .* measure them again with unicon limits"
    ):
        read_limits(tmp_path)


def test_no_pictures_and_odd_percentiles_are_refused():
    with pytest.raises(ValueError, match="limits need at least one picture"):
        limits_over([], percentile=99, source="x")
    with pytest.raises(ValueError, match="percentile is 0; give one above 0"):
        limits_over([Strangeness(reconstruction=1, surprise=1)], percentile=0, source="x")


def test_limits_are_plain_json():
    limits = Limits(reconstruction=0.1, surprise=0.2, percentile=99.0, num_pictures=1, source="x")
    from unicon.limits import as_json

    assert Limits(**json.loads(json.dumps(as_json(limits)))) == limits
