"""Does a family that is run in pieces say how long all of them took?"""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import pytest

from train import recipes
from train.command import main
from train.config import RunConfig, override
from train.stage_kinds import RenderStage
from train.times import TIMES, StageTime, read_times, table, timed

_TINY = {"channels": "[8, 16]", "blocks": "[1, 1]", "latent_channels": "4", "crop": "16", "num_scenes": "4"}
_LOOP = {"steps": "3", "batch_size": "2"}


@pytest.fixture
def family(monkeypatch, tmp_path):
    """Scenes and a compressor, both tiny."""
    monkeypatch.setattr("train.shards.SCENES_PER_SHARD", 4)
    vae = recipes.FAMILIES["mini-fast"]["vae"]
    assert isinstance(vae, RunConfig)
    stages = {"scenes": RenderStage(num=1), "vae": override(vae, {**_TINY, **_LOOP})}
    monkeypatch.setitem(recipes.FAMILIES, "mini-fast", stages)
    return tmp_path / "family"


def test_times_add_up_over_pieces_and_are_shown_at_the_end(family, capsys):
    def run(*more: str) -> int:
        return main(["mini-fast", "--out", str(family), "--workers", "1", *more])

    assert run("--stop-after", "0") == 3
    paused = read_times(family)
    assert set(paused) == {"scenes", "vae"}
    assert all(each.is_whole and each.seconds > 0 for each in paused.values())
    assert "h:mm:ss" not in capsys.readouterr().out
    started = time.monotonic()
    assert run() == 0
    took = time.monotonic() - started
    done = read_times(family)
    assert paused["vae"].seconds < done["vae"].seconds < paused["vae"].seconds + took
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert lines == table(family, ["scenes", "vae"]).splitlines()
    assert float(lines[-1].split()[1]) == pytest.approx(sum(t.seconds for t in done.values()), abs=0.06)
    assert run() == 0
    assert read_times(family)["vae"] == done["vae"]  # nothing was left to train
    (family / TIMES).write_text("{}")
    assert run() == 0
    assert not read_times(family)["scenes"].is_whole  # it was there before its time was taken
    assert capsys.readouterr().out.splitlines()[-1].startswith("+: began before")


def test_what_a_stage_took_before_an_error_counts(tmp_path):
    seen = []

    def stage(name: str, *, starts: bool) -> None:
        with timed(tmp_path, name) as save:
            if starts:
                (tmp_path / name).mkdir()
                save()
                seen.append(read_times(tmp_path)[name].seconds)
                time.sleep(0.02)
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        stage("unet", starts=True)
    assert read_times(tmp_path)["unet"].seconds >= seen[0] + 0.02
    with pytest.raises(OSError, match="no room"):
        stage("vae", starts=False)
    assert set(read_times(tmp_path)) == {"unet"}


def test_a_stage_beside_another_keeps_its_time(tmp_path):
    for name in ("depth", "edge"):
        (tmp_path / name).mkdir()
    with timed(tmp_path, "depth"), timed(tmp_path, "edge"):
        pass
    assert read_times(tmp_path).keys() == {"depth", "edge"}


def test_the_table_has_a_total(tmp_path):
    found = {
        "vae": StageTime(seconds=61.25, is_whole=True),
        "unet": StageTime(seconds=3600.0, is_whole=False),
    }
    (tmp_path / TIMES).write_text(json.dumps({name: asdict(each) for name, each in found.items()}))
    assert table(tmp_path, ["vae"]).splitlines() == [
        "stage  seconds  h:mm:ss",
        "vae       61.2  0:01:01",
        "total     61.2  0:01:01",
    ]
    assert table(tmp_path, ["vae", "unet"]).splitlines()[3:] == [
        "total  3661.2+  1:01:01+",
        "+: began before its time was taken, so it took longer",
    ]


def test_a_damaged_file_is_named(tmp_path):
    for text in ("{", "[]", json.dumps({"vae": 3})):
        (tmp_path / TIMES).write_text(text)
        with pytest.raises(ValueError, match="times.json: is damaged"):
            read_times(tmp_path)
