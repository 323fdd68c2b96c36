"""Does `unicon generate --keep` draw many pictures and keep the rarest that are true to what was asked?"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from eval.features import Extractor
from eval.pictures import find_pictures
from tests.cli.bases import command, names, opened, save_noise
from tests.programs import run_python
from unicon.cli import rarest
from unicon.cli.files import write_picture
from unicon.cli.given import GivenMap
from unicon.cli.run_marks import DRAWN

ENOUGH = ("--keep", 2, "--training", "enough.npy")


def beside(features: np.ndarray) -> np.ndarray:
    """A training set around these features, the wider the later: each is rarer than those before it.

    Two twins in it make the distance small at which something is a near-copy.
    """
    apart = np.linalg.norm(features[:, None] - features[None], axis=-1)
    unit = apart[apart > 0].min() / np.sqrt(features.shape[1])
    noise = np.random.default_rng(0).normal(size=(25, *features.shape))
    widths = 0.05 * unit * np.arange(1, 1 + len(features))
    around = (features + widths[:, None] * noise).reshape(-1, features.shape[1])
    return np.concatenate([around, around[:4] + 1e-6 * unit])


def test_the_rarest_are_kept_and_the_rest_lies_beside_them(tmp_path, capsys):
    given = ("x", "--num", 4, "--seed", 2, "--depth", save_noise(tmp_path / "map.png"))
    assert command("generate", *given, "--out", tmp_path / "all") == 0
    seen = Extractor("mini")(find_pictures(tmp_path / "all"))
    around = beside(seen.values.astype(np.float64))
    training = replace(seen, values=around, names=tuple(map(str, range(len(around)))))
    training.save(tmp_path / "training.npz")
    capsys.readouterr()
    out, place = tmp_path / "out", tmp_path / "out" / "x_seed2-5"
    more = ("--keep", 2, "--training", tmp_path / "training.npz", "--out", out)
    assert command("generate", *given, *more) == 0
    said = capsys.readouterr()
    report = json.loads((place / "report.json").read_text())["numbers"]
    rows = list(csv.DictReader((place / "originality.csv").read_text().splitlines()))
    true = [
        row
        for row in rows
        if float(row["clip_score"]) >= report["clip_score_limit"]
        and float(row["control"]) <= report["control_limit"]
    ]
    kept = [row["name"] for row in sorted(true, key=lambda row: -float(row["rarity"]))[:2]]
    assert len(rows) == 4
    assert len(kept) == 2
    assert said.out.split() == [str(out / name) for name in kept]
    assert "kept 2 of 4" in said.err
    assert names(place / "drawn") == [f"x_seed{seed}.png" for seed in range(2, 6)]
    for name in kept:
        assert opened(out / name).tobytes() == opened(tmp_path / "all" / name).tobytes()
        assert (out / name).read_bytes() == (place / "drawn" / name).read_bytes()


def test_copies_of_an_earlier_choice_from_the_same_pictures_give_way_to_those_of_this_one(
    tmp_path, monkeypatch
):
    args = argparse.Namespace(out=str(tmp_path), prompt="x", seed=0, num=2, maps=[], keep=1)

    def keep(mark: str, number: int) -> list[str]:
        folder = rarest.drawn_in(args, mark)
        for seed in range(args.num):
            write_picture(folder / f"x_seed{seed}.png", Image.new("L", (8, 8)), {DRAWN: mark})
        (folder.parent / "rarest.txt").write_text(f"x_seed{number}.png\n")
        return [path.name for path in rarest.keep_rarest(args, mark)]

    monkeypatch.setattr(rarest, "_originality", lambda args, place: place)
    monkeypatch.setattr("eval.originality.command.judge", str)
    assert keep("one", 0) == ["x_seed0.png"]
    assert keep("one", 1) == ["x_seed1.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x_seed0-1", "x_seed1.png"]
    assert keep("other", 1) == ["x_seed1_2.png"]
    kept = ["x_seed0-1", "x_seed0-1_2", "x_seed1.png", "x_seed1_2.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--keep", 2), "say which, with --training SOURCE"),
        (("--training", "photos"), "--training has no effect without --keep"),
        (("--judge", "mini"), "--judge has no effect without --keep"),
        (("--keep", 5, "--training", "photos"), "--keep 5 of --num 4: draw more than are kept"),
        (("--keep", 2, "--training", "photos"), "1 training pictures cannot tell a level of 0.01"),
        (("--keep", 2, "--training", "nowhere"), "nowhere"),
        (ENOUGH, "of --training they have width 2, of --generated 128"),
        ((*ENOUGH, "--features", "nowhere"), "no such folder with config.json"),
        ((*ENOUGH, "--clip", "nowhere"), "no such folder with config.json"),
        ((*ENOUGH, "--condition", "normal=photos/a.png"), "mini reads no 'normal', only depth, edge, pose"),
        ((*ENOUGH, "--depth", "photos/a.png", "--judge", "nowhere"), "nowhere: no such folder"),
        ((*ENOUGH, "--condition", "seg=photos/a.png"), "cannot compare maps of classes"),
    ],
)
def test_what_cannot_be_kept_is_told_before_anything_is_drawn(options, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_noise(tmp_path / "photos" / "a.png")
    np.save(tmp_path / "enough.npy", np.zeros((100, 2), dtype=np.float32))
    assert command("generate", "x", "--num", 4, "--out", tmp_path / "out", *options) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_picture_of_another_shape_than_its_map_is_refused_before_it_is_drawn(tmp_path):
    args = argparse.Namespace(keep=2, maps=[GivenMap(name="depth", path=save_noise(tmp_path / "a.png"))])
    rarest.check_keep_size(args, (64, 64))
    with pytest.raises(ValueError, match="drawn is 64 x 62, its map 32 x 32: they must have one shape"):
        rarest.check_keep_size(args, (64, 62))


def test_who_keeps_nothing_waits_for_no_evaluation():
    idle = "keep=None, training=None, features=None, clip=None, judge=None, maps=[]"
    done = run_python(
        "import argparse, sys; from unicon.cli import rarest\n"
        f"args = argparse.Namespace({idle})\n"
        "rarest.check_keep(args); rarest.check_keep_size(args, (64, 64))\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'eval'])"
    )
    assert done.stdout.split() == ["[]"], done.stderr
