"""Is a stream of pairs read whole, split over processes, and found again where a run was stopped?"""

from __future__ import annotations

import functools
import http.server
import io
import json
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from tests.data.test_pairs import encoded, picture
from tests.programs import ROOT, launched
from tests.tiny_base import save_tiny_base
from train.checkpoint import read_checkpoint, whole_checkpoints
from train.command import main
from train.objectives.pairs import PairsConfig
from train.pairs.encoding import PairEncoder
from train.randomness import Share
from unicon.cli import launch, runner
from unicon.cli import main as cli
from unicon.data.pairs import open_pairs
from unicon.data.pairs.patterns import expand
from unicon.data.pairs.streams import open_stream

datasets = pytest.importorskip("datasets")

SHARDS, EACH = 4, 5


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def members(shard: int, place: int) -> dict[str, bytes]:
    number = shard * EACH + place
    size = (48, 32) if number % 4 == 0 else (40, 40)
    return {
        f"{number:02}.jpg": encoded(picture(number, size)),
        f"{number:02}.depth.png": encoded(picture(100 + number, size)),
        f"{number:02}.txt": f"picture {number}".encode(),
    }


def write_tar(path: Path, rows: list[dict[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in (item for row in rows for item in row.items()):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def tars(tmp_path) -> Path:
    (tmp_path / "shards").mkdir()
    for shard in range(SHARDS):
        write_tar(tmp_path / "shards" / f"{shard:03}.tar", [members(shard, i) for i in range(EACH)])
    return tmp_path / "shards"


@pytest.fixture
def parquet(tmp_path) -> Path:
    (tmp_path / "parquet").mkdir()
    kinds = {"image": datasets.Image(), "depth": datasets.Image()}
    features = datasets.Features({**kinds, **dict.fromkeys(("id", "text"), datasets.Value("string"))})
    for shard in range(SHARDS):
        numbers = range(shard * EACH, (shard + 1) * EACH)
        columns = {
            "image": [picture(n, (40, 40)) for n in numbers],
            "depth": [picture(100 + n, (40, 40)) for n in numbers],
            "id": [f"{n:02}" for n in numbers],
            "text": [f"picture {n}" for n in numbers],
        }
        table = datasets.Dataset.from_dict(columns, features=features)
        table.to_parquet(str(tmp_path / "parquet" / f"{shard}.parquet"))
    return tmp_path / "parquet"


@pytest.fixture
def hub_folder(tmp_path, monkeypatch) -> str:
    """A data set of the hub in imagefolder form, packed: rows name files that are fetched one by one."""
    real, rows = datasets.load_dataset, []
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for shard in range(SHARDS):
            for place in range(EACH):
                (image, depth, text), contents = zip(*members(shard, place).items(), strict=True)
                file.writestr(image, contents[0])
                file.writestr(depth, contents[1])
                told = contents[2].decode()
                rows.append({"file_name": image, "depth_file_name": depth, "text": told})
        file.writestr("metadata.jsonl", "\n".join(map(json.dumps, rows)))

    def of_the_hub(name, subset=None, **how):
        files = [str(tmp_path / "set.zip")]
        return real("imagefolder", data_files=files, split="train", streaming=how["streaming"])

    monkeypatch.setattr(datasets, "load_dataset", of_the_hub)
    return "ada/pairs"


def settings(data: Path | str, base: Path, /, **changes) -> PairsConfig:
    usual = {"condition": "depth", "data": str(data), "base": str(base), "rank": 2, "streaming": True}
    return PairsConfig(**{**usual, "validation_pairs": 0, "stream_block": 7, **changes})


def run(data: Path | str, base: Path, out: Path, *more: str) -> int:
    arguments = ["adapter", "--data", str(data), "--condition", "depth", "--base", str(base), "--streaming"]
    loop = ["true", "--steps", "12", "--batch_size", "2", "--mixed_precision", "no", "--rank", "2"]
    fast = ["--learning_rate", "0.01", "--warmup_steps", "1", "--validate_every", "0", "--stream_block", "7"]
    return main([*arguments, *loop, *fast, "--out", str(out), *more])


def captions(source) -> list[tuple[str, ...]]:
    stream = open_stream(source)
    return [stream.entry(row).captions for row in stream.rows]


def test_every_form_gives_the_same_pairs(tars, parquet, tmp_path, monkeypatch):
    write_tar(tmp_path / "all.tar.gz", [members(s, i) for s in range(SHARDS) for i in range(EACH)], "w:gz")
    real = datasets.load_dataset

    def of_the_hub(name, subset=None, **settings):
        files = [str(path) for path in sorted(parquet.iterdir())]
        return (
            real("parquet", data_files=files, **settings)
            if name == "someone/pairs"
            else real(name, subset, **settings)
        )

    monkeypatch.setattr(datasets, "load_dataset", of_the_hub)
    wanted = [(f"picture {n}",) for n in range(SHARDS * EACH)]
    patterns = [f"{tars}/{{000..003}}.tar", f"{tars}/*.tar", f"{tars}/{{000,001}}.tar"]
    for source in (tars, patterns[0], patterns[1], parquet, tmp_path / "all.tar.gz", "someone/pairs"):
        assert captions(source) == wanted
    assert captions(patterns[2]) == wanted[: 2 * EACH]
    stream = open_stream(tars)
    entry = stream.entry(next(iter(stream.rows)))
    assert np.array_equal(entry.image.load(), picture(0, (48, 32)))
    assert np.array_equal(entry.maps["depth"].load(), picture(100, (48, 32)))
    assert expand("{08..10}/{a,b}") == ["08/a", "08/b", "09/a", "09/b", "10/a", "10/b"]


def test_columns_that_are_named_as_members_of_a_tar(tmp_path):
    features = datasets.Features({"jpg": datasets.Image(), "depth.png": datasets.Image()})
    row = {"jpg": [picture(0)], "depth.png": [picture(1)]}
    datasets.Dataset.from_dict(row, features=features).to_parquet(str(tmp_path / "a.parquet"))
    stream = open_stream(tmp_path / "a.parquet")
    (entry,) = (stream.entry(row) for row in stream.rows)
    assert np.array_equal(entry.image.load(), picture(0))
    assert np.array_equal(entry.maps["depth"].load(), picture(1))


def test_a_map_that_does_not_say_of_what_is_of_the_condition_that_is_asked_for(tmp_path):
    features = datasets.Features({"image": datasets.Image(), "conditioning_image": datasets.Image()})
    row = {"image": [picture(0)], "conditioning_image": [picture(1)]}
    datasets.Dataset.from_dict(row, features=features).to_parquet(str(tmp_path / "a.parquet"))
    stream = open_stream(tmp_path / "a.parquet", "edge")
    (entry,) = (stream.entry(row) for row in stream.rows)
    assert set(entry.maps) == {"edge"}


def test_what_macos_adds_to_a_tar_is_no_member(tmp_path):
    own = members(0, 0)
    extra = {f"._{name}": b"xattr" for name in own}
    mixed = {name: content for pair in zip(extra.items(), own.items(), strict=True) for name, content in pair}
    path = write_tar(tmp_path / "a.tar", [mixed])
    plain = write_tar(tmp_path / "b.tar", [own])
    assert captions(path) == captions(plain)
    assert len(captions(path)) == 1
    assert open_pairs(path).conditions == open_pairs(plain).conditions


def test_a_link_in_a_tar_is_the_file_it_names_or_named_where_that_has_passed(tmp_path):
    """tar stores a file of several names once; a plain file on this disk can be gone back in."""
    first, second = members(0, 0), members(0, 1)
    del first["00.depth.png"], second["01.depth.png"]
    found = {}
    for name, mode in (("a.tar", "w"), ("a.tar.gz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as tar:
            for row, links in ((first, {"00.depth.png": "00.jpg"}), (second, {"01.depth.png": "00.jpg"})):
                for member, content in row.items():
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
                for member, target in links.items():
                    info = tarfile.TarInfo(member)
                    info.type, info.linkname = tarfile.LNKTYPE, target
                    tar.addfile(info)
        stream = open_stream(tmp_path / name)
        found[name] = (stream, list(stream.rows))
        assert len(found[name][1]) == 2
    wanted = np.asarray(picture(0, (48, 32)))
    stream, rows = found["a.tar"]
    assert all(np.array_equal(stream.entry(row).maps["depth"].load(), wanted) for row in rows)
    stream, rows = found["a.tar.gz"]
    assert np.array_equal(stream.entry(rows[0]).maps["depth"].load(), wanted)
    entry = stream.entry(rows[1])
    assert np.array_equal(entry.image.load(), picture(1, (40, 40)))  # alone, it does
    with pytest.raises(ValueError, match=r"01.depth.png: is a link to a member .* passed; pack it with tar"):
        entry.maps["depth"].load()


@contextmanager
def served(handler: type[http.server.SimpleHTTPRequestHandler], folder: Path) -> Iterator[str]:
    """The address of a folder while it is served."""
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(folder))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Chunked(http.server.SimpleHTTPRequestHandler):
    """Breaks off in the middle of a chunk when it is first asked."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self):
        Chunked.asked += 1
        content = Path(self.directory, self.path[1:]).read_bytes()
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = content[: len(content) // 2] if Chunked.asked == 1 else content
        self.wfile.write(f"{len(content):x}\r\n".encode() + sent)
        if Chunked.asked > 1:
            self.wfile.write(b"\r\n0\r\n\r\n")
        self.close_connection = True

    def log_message(self, *_):
        pass


def test_an_answer_that_breaks_off_within_a_chunk_is_asked_for_again(tars):
    with served(Chunked, tars) as address:
        found = captions(f"{address}/000.tar")
    assert found == [(f"picture {n}",) for n in range(EACH)]
    assert Chunked.asked == 2


class Breaking(http.server.SimpleHTTPRequestHandler):
    """Gives half of the second shard when it is first asked for."""

    asked: Counter[str] = Counter()

    def do_GET(self):
        Breaking.asked[self.path] += 1
        content = Path(self.directory, self.path[1:]).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        cut = self.path == "/001.tar" and Breaking.asked[self.path] == 1
        self.wfile.write(content[: len(content) // 2] if cut else content)

    def log_message(self, *_):
        pass


def test_shards_come_over_http_and_are_asked_for_again(tars):
    with served(Breaking, tars) as address:
        found = captions(f"{address}/{{000..003}}.tar")
    assert found == [(f"picture {n}",) for n in range(SHARDS * EACH)]
    assert Breaking.asked["/001.tar"] == 2


def test_a_stopped_run_is_the_run_that_was_not(tars, base, tmp_path):
    steps = ["--steps", "6"]
    assert run(tars, base, tmp_path / "straight", *steps) == 0
    for _ in range(4):  # inside the first block, at its end, inside the second
        assert run(tars, base, tmp_path / "paused", *steps, "--stop-after", "0") == 3
    assert run(tars, base, tmp_path / "paused", *steps) == 0
    states = [
        read_checkpoint(whole_checkpoints(tmp_path / name / "adapter/checkpoints")[-1][1])
        for name in ("straight", "paused")
    ]
    assert states[0].places == states[1].places
    assert states[0].places[0]["block"] == 1
    assert all(torch.equal(states[0].trained[name], states[1].trained[name]) for name in states[0].trained)


def order_of(config: PairsConfig, folder: Path, process: int = 0, num: int = 1, each: int = 2):
    objective = config.build(folder)
    return objective, objective.order(
        5, num * each, Share(process, num, process * each, (process + 1) * each)
    )


def seen(objective, order, steps: int) -> list[float]:
    """What is trained on, by the first value of its latents."""
    found = []
    for step in range(steps):
        items = order.items(step)[order.share.start : order.share.stop]
        shapes = {objective.examples.latent_shape(i) for i in items}
        assert len(shapes) == 1
        found += [float(objective.streamed.block[i].image.flatten()[0]) for i in items]
    return found


@pytest.mark.parametrize(
    "form, num",
    [
        ("tars", 1),
        ("parquet", 3),
        ("hub_folder", 1),
        pytest.param("tars", 3, marks=pytest.mark.slow),
        pytest.param("parquet", 1, marks=pytest.mark.slow),
    ],
)
def test_the_place_in_the_data_is_found_again_from_anywhere(form, num, request, base, tmp_path):
    """In blocks, between them, and between epochs, which have places of their own by the process."""
    config = settings(request.getfixturevalue(form), base, flip=False)
    objective, order = order_of(config, tmp_path, 0, num)
    batches, places = [], []
    for _ in range(16 if num == 1 else 8):
        places.append(json.dumps(order.place()))
        batches.append(seen(objective, order, 1))
    assert json.loads(places[-1])["epoch"] == 1
    again = config.build(tmp_path)
    for number, place in enumerate(places):
        order = again.order(5, num * 2, order.share)
        order.restore(json.loads(place))
        assert [seen(again, order, 1) for _ in batches[number : number + 2]] == batches[number : number + 2]


@pytest.mark.parametrize("num", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_processes_share_the_stream_out(tars, base, tmp_path, num):
    config = settings(tars, base, flip=False)
    one = seen(*order_of(config, tmp_path, each=1), SHARDS * EACH)
    assert len(set(one)) == SHARDS * EACH
    parts = []
    for process in range(num):
        mine = SHARDS * EACH // num + (process < SHARDS * EACH % num)
        parts.append(set(seen(*order_of(config, tmp_path, process, num, each=1), mine)))
    assert set().union(*parts) == set(one)
    assert sum(map(len, parts)) == len(one)


def test_the_order_is_a_function_of_seed_and_epoch(tars, base, tmp_path):
    config = settings(tars, base, flip=False)
    epochs = []
    for _ in range(2):
        objective, order = order_of(config, tmp_path, each=1)
        epochs.append([seen(objective, order, SHARDS * EACH) for _ in range(2)])
    assert epochs[0] == epochs[1]
    assert epochs[0][0] != epochs[0][1]
    assert sorted(epochs[0][0]) == sorted(epochs[0][1])
    other = config.build(tmp_path)
    another_seed = other.order(6, 1, Share(0, 1, 0, 1))
    assert seen(other, another_seed, SHARDS * EACH) != epochs[0][0]


@pytest.mark.parametrize("aligned", [True, False])
def test_only_the_view_that_is_trained_on_is_encoded(tars, base, tmp_path, monkeypatch, aligned):
    """One of four, another one in another epoch; both sides alike where a map lies on its picture."""
    seen = []
    see = PairEncoder.see

    def remembered(self, entry, condition, views=None):
        seen.append((entry.key, views))
        return see(self, entry, condition, views)

    monkeypatch.setattr(PairEncoder, "see", remembered)
    objective, order = order_of(settings(tars, base, crops=2, aligned=aligned), tmp_path, each=1)
    num = SHARDS * EACH
    for step in range(2 * num):
        order.items(step)
        assert all(len(pair.image) == len(pair.condition) == 1 for pair in objective.streamed.block)
    epochs = [sorted(seen[:num], key=lambda s: s[0]), sorted(seen[num : 2 * num], key=lambda s: s[0])]
    assert epochs[0] != epochs[1]
    assert {view for _, sides in seen for (view,) in sides} == set(objective.pairs.encoder.views)
    assert all(len(of_image) == len(of_map) == 1 for _, (of_image, of_map) in seen)
    assert all(of_image == of_map for _, (of_image, of_map) in seen) == aligned


def test_what_is_looked_at_is_not_trained_on(tars, base, tmp_path):
    config = settings(tars, base, flip=False, validation_pairs=2)
    objective, order = order_of(config, tmp_path, each=1)
    everything = set(seen(*order_of(settings(tars, base, flip=False), tmp_path, each=1), SHARDS * EACH))
    trained = set(seen(objective, order, SHARDS * EACH - 2))
    assert len(everything - trained) == len(objective.held_out_contents) == 2
    numbers, _ = objective.validate()
    assert numbers["denoised_map"] > 0


def test_what_cannot_be_read_is_skipped_named_and_told_once(tars, base, tmp_path, capsys):
    (tars / "001.tar").unlink()
    rows = [members(1, i) for i in range(EACH)]
    rows[0]["05.jpg"] = rows[0]["05.jpg"][:40]
    del rows[1]["06.depth.png"]
    rows[2]["07.json"] = b"{"
    del rows[2]["07.txt"]
    cut = write_tar(tars / "001.tar", rows)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size - 11_500])
    for _ in range(2):
        assert run(tars, base, tmp_path / "a", "--stop-after", "0", "--bad_share", "0.6") == 3
    assert run(tars, base, tmp_path / "a", "--bad_share", "0.6") == 0
    told = [json.loads(line) for line in (tmp_path / "a/skipped.jsonl").read_text().splitlines()]
    reasons = {row["key"]: row["reason"] for row in told}
    assert len(told) == len(reasons) == 4
    assert "05.jpg: is not a picture that Pillow can read" in reasons["001.tar/05"]
    assert reasons["001.tar/06"] == "has no depth"
    assert "07.json: is no JSON" in reasons["001.tar/07"]
    assert "001.tar: is no tar file, or is cut short after 4 pairs" in reasons["001.tar"]
    assert run(tars, base, tmp_path / "b", "--bad_share", "0.1") == 2
    said = capsys.readouterr().err
    assert "pairs cannot be read" in said
    assert "that is more than bad_share 0.1" in said


def test_a_file_of_the_hub_that_cannot_be_fetched_stops_the_run_and_is_not_skipped(
    hub_folder, base, tmp_path, monkeypatch, capsys
):
    fsspec, asked = pytest.importorskip("fsspec"), []
    real = fsspec.open

    def breaking(url, mode, **how):
        asked.append(url)
        if len(asked) > 50:
            raise TimeoutError("the other side is silent")
        return real(url, mode, **how)

    with monkeypatch.context() as patch:
        patch.setattr(fsspec, "open", breaking)
        assert run(hub_folder, base, tmp_path) == 2
    assert "(the other side is silent); the same command continues when it can" in capsys.readouterr().err
    assert not (tmp_path / "skipped.jsonl").exists()
    assert run(hub_folder, base, tmp_path) == 0
    assert not (tmp_path / "skipped.jsonl").exists()


def test_a_pose_that_cannot_be_mirrored_is_skipped_in_whichever_view(base, tmp_path):
    flat = encoded(PIL.Image.new("RGB", (40, 40), (160, 160, 150)))
    black = encoded(PIL.Image.new("RGB", (40, 40)))
    rows = [
        {f"{n:02}.jpg": encoded(picture(n, (40, 40))), f"{n:02}.pose.png": flat if n < 8 else black}
        for n in range(12)
    ]
    path = write_tar(tmp_path / "a.tar", rows)
    config = settings(path, base, condition="pose", bad_share=0.9, stream_block=12)
    objective, order = order_of(config, tmp_path, each=1)
    order.items(0)
    assert len(objective.streamed.block) == 4
    told = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    assert [row["key"] for row in told] == [f"a.tar/{n:02}" for n in range(8)]
    assert all("has OpenPose's colours" in row["reason"] for row in told)


def test_it_is_continued_with_as_many_processes(tars, base, tmp_path, capsys):
    assert run(tars, base, tmp_path, "--stop-after", "0") == 3
    (path,) = (tmp_path / "adapter/checkpoints").glob("step_*/data.json")
    path.write_text(json.dumps(2 * json.loads(path.read_text())))
    assert run(tars, base, tmp_path) == 2
    assert "knows where 2 processes are in the stream, this run has 1" in capsys.readouterr().err


def test_a_dry_run_of_a_stream(tars, base, tmp_path, capsys):
    flat = encoded(PIL.Image.new("RGB", (40, 40), (9, 9, 9)))
    rows = [{**members(0, i), f"{i:02}.depth.png": flat} for i in range(1, 4)]
    write_tar(tars / "000.tar", rows)
    assert run(tars / "000.tar", base, tmp_path, "--dry-run") == 0
    said = capsys.readouterr()
    assert "items: a stream, 2 a step, 24 in all" in said.out
    assert "warning: depth: narrow range: 3 maps of 9 to 9 of 255, such as " in said.err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root / "nothing", "no such file or folder"),
        (lambda root: root, "nothing in it can be streamed; expected tar files"),
        (lambda root: f"{root}/{{0..1}}.tar", "0.tar: no such file, named by"),
        (lambda root: f"{root}/{{9..1}}.tar", "counts from 9 down to 1"),
        (lambda root: "no-such-owner/no-such-set", "can be streamed neither from here nor from the hub"),
    ],
)
def test_what_is_no_stream(make, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        open_stream(make(tmp_path))


def test_a_stream_without_the_condition_says_so(tars, base, tmp_path, capsys):
    assert run(tars, base, tmp_path, "--condition", "pose") == 2
    assert "has no pose" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_stop_and_go_on_together(tars, base, tmp_path):
    """Stopped by the launcher's own way, which ends them all when one has ended: the only training here that
    the command's own `--processes 2` starts."""

    def words(name: str, *more: str) -> list[str]:
        return [
            "adapter", "--data", str(tars), "--condition", "depth", "--base", str(base), "--streaming",
            "true", "--steps", "4", "--batch_size", "4", "--mixed_precision", "no", "--rank", "2",
            "--learning_rate", "0.01", "--validate_every", "0", "--stream_block", "4", "--out",
            str(tmp_path / name), *more,
        ]  # fmt: skip

    def run_two(name: str) -> None:
        options = launch.launch_options(cli.parse(["train", "--processes", "2"]))
        codes = launched(Path(runner.__file__), ["train", *words(name)], options, tmp_path / "log")
        assert codes == [0, 0], (tmp_path / "log").read_text()

    run_two("straight")
    command = [sys.executable, "-m", "unicon.cli.main", "train", "--processes", "2"]
    paused = [*command, *words("paused", "--stop-after", "0")]
    done = subprocess.run(paused, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode != 0
    assert "stopped at step 1 of 4" in done.stdout + done.stderr
    assert whole_checkpoints(tmp_path / "paused/adapter/checkpoints")[-1][0] < 4
    run_two("paused")
    states = [
        read_checkpoint(whole_checkpoints(tmp_path / name / "adapter/checkpoints")[-1][1])
        for name in ("straight", "paused")
    ]
    assert len(states[0].places) == 2
    assert states[0].places == states[1].places
    for name, tensor in states[0].trained.items():
        torch.testing.assert_close(tensor, states[1].trained[name], rtol=1e-4, atol=1e-6)
