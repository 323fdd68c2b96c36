"""Does anything break when files are broken?

    python benchmarks/fuzz.py [--num 2000] [--seed 0] [--limit 60]

Takes whole pictures of every format, an adapter folder and a style file, mutates one file of each (bits
flipped, cut short, headers edited, sizes made huge, slices dropped, doubled or zeroed, values of a config
replaced) and loads it through the public entry points: `unicon.pictures.as_pictures`, which
`pipe(image=FILE)` calls, `pipe.load_adapter` and `pipe.load_style`. The loader runs in a process of its own.
A case is well if it gives a result or a ValueError or OSError that names the file, within `--limit` seconds
of processor time, and leaves the pipeline's adapters and styles as they were. Anything else (another error, a
crash, a hang, a message that does not say which file) is printed, its file kept in `--keep`, and the exit
code is 1.
The loader's memory is read half-way and at the end.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import multiprocessing
import os
import random
import shutil
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import psutil  # accelerate brings it

PATIENCE = 5
"""How much longer a case may take on the clock than of processor time."""
KINDS = ("picture", "adapter", "style")
SHARES = (0.7, 0.2, 0.1)
"""Of the cases."""
LEAK_KB = 100
"""Growth of the loader's memory per case, over the second half of the cases, above which it leaks."""
WARM_UP = 60
"""Fewer cases than this say nothing about leaks."""


@dataclass(kw_only=True, slots=True)
class Tally:
    """What came of the cases."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """By "kind: outcome"."""
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest_s: float = 0.0
    growth_kb: float = 0.0
    """Per case, over the second half."""
    peak_mb: float = 0.0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--num", type=int, default=2000, help="cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds of processor time a case may take")
    parser.add_argument("--keep", type=Path, default=Path("out/fuzz"), help="where failing files go")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        tally = fuzz(Path(folder), args.num, args.seed, args.limit, keep=args.keep)
    for name, count in sorted(tally.outcomes.items()):
        print(f"{count:6d}  {name}")
    print(
        f"{args.num} cases in {tally.seconds:.0f} s, the slowest {tally.slowest_s:.2f} s; memory at most "
        f"{tally.peak_mb:.0f} MB, growing by {tally.growth_kb:.1f} kB per case; "
        f"{len(tally.failures)} failures"
    )
    return int(bool(tally.failures) or tally.growth_kb > LEAK_KB)


def fuzz(
    folder: Path,
    num: int,
    seed: int,
    limit_s: float,
    *,
    keep: Path | None = None,
    starting: BaseContext | None = None,
) -> Tally:
    """Run `num` cases, deterministic in `seed`, with their files below `folder`."""
    chance, seeds, tally, start = (
        random.Random(seed),
        Seeds.make(folder / "whole"),
        Tally(),
        time.perf_counter(),
    )
    loader = Loader(seeds.base, starting)
    loader.ask("picture", str(folder / "none"), limit_s + 120)  # starts up
    half = 0.0
    for number in range(num):
        kind = chance.choices(KINDS, SHARES)[0]
        path, how = seeds.case(kind, chance, folder / "case")
        answer = loader.ask(kind, str(path), limit_s)
        tally.outcomes[f"{kind}: {answer['outcome']}"] += 1
        tally.slowest_s = max(tally.slowest_s, answer["seconds"])
        tally.peak_mb = max(tally.peak_mb, answer["peak_mb"])
        if problem := problem_of(answer, path):
            tally.failures.append(f"case {number} of seed {seed}, {kind} {path.name} ({how}): {problem}")
            print(f"FAILURE {tally.failures[-1]}", file=sys.stderr, flush=True)
            if keep is not None:
                shutil.copytree(folder / "case", keep / f"seed{seed}_case{number}", dirs_exist_ok=True)
        if number == num // 2:
            half = loader.ask("collect", "", 60)["rss_kb"]
    grown = loader.ask("collect", "", 60)["rss_kb"] - half
    if num >= WARM_UP and loader.restarts == 0:
        tally.growth_kb = max(0.0, grown / (num - 1 - num // 2))
    loader.stop()
    tally.seconds = time.perf_counter() - start
    return tally


def problem_of(answer: dict[str, Any], path: Path) -> str | None:
    """What is wrong with an answer, if anything."""
    outcome, text = answer["outcome"], answer["text"]
    if outcome not in ("result", "ValueError", "OSError"):
        return f"{outcome}: {text[:300]}"
    if outcome != "result" and path.name not in text:
        return f"the error does not name the file: {text[:300]}"
    return f"left behind: {answer['left']}" if answer["left"] else None


# --- the process that loads -------------------------------------------------------------------------------


class Loader:
    """A process that loads what it is told, started again when it dies or hangs."""

    def __init__(self, base: Path, starting: BaseContext | None = None):
        """`starting` is how processes start, anew if it is None."""
        self.base = base
        self.starting: Any = starting or multiprocessing.get_context("spawn")
        self.process: Any = None
        self.ours: Any = None
        self.restarts = -1
        """Growth of memory over a restart means nothing."""

    def ask(self, kind: str, path: str, limit_s: float) -> dict[str, Any]:
        """What loading `path` gave; "crash" or "hang" if it gave nothing."""
        if self.process is None:
            self.restarts += 1
            self.ours, theirs = self.starting.Pipe()
            self.process = self.starting.Process(target=serve, args=(theirs, str(self.base)), daemon=True)
            self.process.start()
            theirs.close()
            assert self.ours.recv() == "ready"
        start = time.perf_counter()
        nothing = {"text": "", "left": "", "rss_kb": 0.0, "peak_mb": 0.0}
        try:
            self.ours.send((kind, path))
            if self._answers(limit_s):
                return {**self.ours.recv(), "seconds": time.perf_counter() - start}
            nothing |= {"outcome": "hang", "text": f"nothing after {limit_s:g} s"}
        except (EOFError, ConnectionError):
            self.process.join(5)
            nothing |= {"outcome": "crash", "text": f"exit code {self.process.exitcode}"}
        self.stop()
        return {**nothing, "seconds": time.perf_counter() - start}

    def _answers(self, limit_s: float) -> bool:
        """Whether an answer comes within `limit_s` of the process's own work, or `PATIENCE` times that on the
        clock: that the machine has other work is no hang."""
        begun, before = time.perf_counter(), self._worked_s()
        while not self.ours.poll(min(limit_s, 0.5)):
            if time.perf_counter() - begun > PATIENCE * limit_s or self._worked_s() - before > limit_s:
                return self.ours.poll(0)
        return True

    def _worked_s(self) -> float:
        """Processor time of the process so far; 0 where it is gone, which the pipe tells next."""
        try:
            times = psutil.Process(self.process.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return times.user + times.system

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.ours.close()
        self.process = None


def serve(pipe: Any, base: str) -> None:
    """Answer every (kind, path) until the other side is gone."""
    import logging
    import warnings

    from unicon.pictures import as_pictures
    from unicon.pipeline import UniConPipeline

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    joint = UniConPipeline.from_pretrained(base)
    load: dict[str, Callable[[str], object]] = {
        "picture": lambda path: as_pictures(path, "image"),
        "adapter": lambda path: joint.load_adapter(path, "fuzzed"),
        "style": lambda path: joint.load_style(path, "fuzzed"),
    }
    whole = (list(joint.adapters), list(joint.styles))
    pipe.send("ready")
    while True:
        try:
            kind, path = pipe.recv()
        except EOFError:
            return
        if kind == "collect":  # costs more than a case
            gc.collect()
            pipe.send({"outcome": "result", "text": "", "left": "", **memory()})
            continue
        outcome, text = "result", ""
        try:
            load[kind](path)
            if kind == "adapter":
                joint.unload_adapter("fuzzed")
            elif kind == "style":
                joint.unload_style("fuzzed")
        except Exception as error:
            text = str(error)
            outcome = next(
                (known.__name__ for known in (ValueError, OSError) if isinstance(error, known)),
                type(error).__name__,
            )
        left = (
            ""
            if (list(joint.adapters), list(joint.styles)) == whole
            else "another list of adapters or styles"
        )
        pipe.send({"outcome": outcome, "text": text, "left": left, **memory()})


def memory() -> dict[str, float]:
    """What this process holds now, and held at most. Nothing is known off Linux."""
    status = Path("/proc/self/status")
    if not status.exists():
        return {"rss_kb": 0.0, "peak_mb": 0.0}
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if line.startswith("Vm"))
    return {"rss_kb": float(lines["VmRSS"].split()[0]), "peak_mb": int(lines["VmHWM"].split()[0]) / 1024}


# --- whole files ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seeds:
    """What the cases are made of."""

    pictures: list[tuple[str, bytes]]
    adapter: dict[str, bytes]
    style: bytes
    base: Path

    @classmethod
    def make(cls, folder: Path) -> Seeds:
        """Whole files, and a copy of the mini base without adapters to load them into."""
        from adapters import ImageLora, save_lora
        from unicon.mini import mini_folder
        from unicon.pipeline import UniConPipeline

        folder.mkdir(parents=True)
        shutil.copytree(mini_folder(), folder / "base", ignore=shutil.ignore_patterns("adapters"))
        depth = mini_folder() / "adapters" / "depth"
        pipe = UniConPipeline.from_pretrained(folder / "base")
        save_lora(ImageLora.for_unet(pipe.unet, rank=2), folder / "style.safetensors")
        return cls(
            pictures=pictures(),
            adapter={path.name: path.read_bytes() for path in sorted(depth.iterdir())},
            style=(folder / "style.safetensors").read_bytes(),
            base=folder / "base",
        )

    def case(self, kind: str, chance: random.Random, folder: Path) -> tuple[Path, str]:
        """A broken file of `kind` in an empty `folder`: what to load, and how it was broken."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if kind == "adapter":
            name = chance.choice(list(self.adapter))
            broken, how = mutated(self.adapter[name], chance, name)
            (folder / "fuzzed").mkdir()
            for other, content in {**self.adapter, name: broken}.items():
                (folder / "fuzzed" / other).write_bytes(content)
            return folder / "fuzzed", f"{name}, {how}"
        name, content = chance.choice(self.pictures) if kind == "picture" else ("a.safetensors", self.style)
        broken, how = mutated(content, chance, name)
        (folder / name).write_bytes(broken)
        return folder / name, how


def pictures() -> list[tuple[str, bytes]]:
    """(name, content) of a small picture in the formats and modes that Pillow here can write."""
    values = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    image, exif = PIL.Image.fromarray(values).resize((32, 24)).resize((64, 48)), PIL.Image.Exif()
    exif[0x0112] = 6
    deep = PIL.Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    more = {"save_all": True, "append_images": [image.rotate(180)]}
    wanted: list[tuple[str, PIL.Image.Image, dict[str, Any]]] = [
        ("a.jpg", image, {"exif": exif}), ("progressive.jpg", image, {"progressive": True}),
        ("cmyk.jpg", image.convert("CMYK"), {}), ("grey.jpg", image.convert("L"), {}),
        ("a.png", image, {"exif": exif}), ("alpha.png", image.convert("RGBA"), {}), ("deep.png", deep, {}),
        ("palette.png", image.quantize(16), {"transparency": 3}), ("animated.png", image, more),
        ("a.webp", image, {}), ("animated.webp", image, more), ("a.gif", image.quantize(16), {}),
        ("animated.gif", image, more), ("a.bmp", image, {}), ("a.ppm", image, {}),
        ("a.tiff", image, {}), ("lzw.tiff", image, {"compression": "tiff_lzw"}), ("deep.tiff", deep, {}),
        ("deflated.tiff", image.convert("LA"), {"compression": "tiff_deflate"}), ("a.jp2", image, {}),
        ("a.avif", image, {}),
    ]  # fmt: skip
    found = []
    for name, picture, how in wanted:
        buffer = io.BytesIO()
        try:
            picture.save(buffer, format=PIL.Image.registered_extensions()[Path(name).suffix], **how)
        except (KeyError, OSError):  # this Pillow was built without it
            continue
        found.append((name, buffer.getvalue()))
    return found


# --- ways to break them -----------------------------------------------------------------------------------


def mutated(content: bytes, chance: random.Random, name: str) -> tuple[bytes, str]:
    """Another content, and what was done."""
    ways = [flipped, cut, edited_start, sliced, zeroed, appended]
    special = {".png": huge_png, ".json": edited_json, ".safetensors": edited_tensors}.get(Path(name).suffix)
    way = special if special and chance.random() < 0.5 else chance.choice([*ways, huge])
    return way(content, chance), way.__name__


def flipped(content: bytes, chance: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 8, 64])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.choice([chance.randrange(len(content)), chance.randrange(min(64, len(content)))])]


def edited_start(content: bytes, chance: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        data[chance.randrange(min(96, len(data)))] = chance.choice(
            [0, 1, 127, 128, 255, chance.randrange(256)]
        )
    return bytes(data)


def sliced(content: bytes, chance: random.Random) -> bytes:
    """A slice dropped, or doubled."""
    first, last = sorted(chance.randrange(len(content)) for _ in range(2))
    return content[:first] + (content[first:last] * 2 if chance.random() < 0.5 else b"") + content[last:]


def zeroed(content: bytes, chance: random.Random) -> bytes:
    first, last = sorted(chance.randrange(len(content)) for _ in range(2))
    return content[:first] + chance.choice([b"\0", b"\xff"]) * (last - first) + content[last:]


def appended(content: bytes, chance: random.Random) -> bytes:
    return content + chance.randbytes(chance.randint(1, 4096))


def huge(content: bytes, chance: random.Random) -> bytes:
    """Large numbers of 2, 4 or 8 bytes somewhere near the start, where sizes usually are."""
    data, width = bytearray(content), chance.choice([2, 4, 8])
    place = chance.randrange(min(200, max(1, len(data) - width)))
    number = chance.choice([(1 << 8 * width) - 1, (1 << (8 * width - 1)) - 1, 30_000, 0]) % (1 << 8 * width)
    data[place : place + width] = number.to_bytes(width, chance.choice(["little", "big"]))
    return bytes(data)


def huge_png(content: bytes, chance: random.Random) -> bytes:
    """Another size, depth or kind of colour, with the checksum that belongs to it."""
    sides = [chance.choice([0, 1, 7, 8, 500, 10_000, 65_535, 2**31 - 1]) for _ in range(2)]
    rest = bytearray(content[24:29])
    if chance.random() < 0.3:
        rest[chance.randrange(5)] = chance.choice([0, 1, 2, 3, 4, 6, 16, 255])
    header = b"IHDR" + struct.pack(">II", *sides) + bytes(rest)
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


VALUES: list[Any] = [
    None, True, -1, 0, 1, 3, 2**31, 2**63, 10**30, 1e308, -0.5, "", "x", "a\0b", [], [1], {}, {"a": 1}, [[]],
]  # fmt: skip


def edited_json(content: bytes, chance: random.Random) -> bytes:
    """One value of a config replaced, removed, or one added."""
    whole = json.loads(content)
    inner: Any = whole
    while True:
        key = chance.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        deeper = inner[key]
        if not isinstance(deeper, (dict, list)) or not deeper or chance.random() < 0.3:
            break
        inner = deeper
    if chance.random() < 0.2:
        del inner[key]
    else:
        inner[key] = chance.choice(VALUES)
    return json.dumps(whole).encode()


def edited_tensors(content: bytes, chance: random.Random) -> bytes:
    """A safetensors file whose header says something else, or claims another length."""
    size = int.from_bytes(content[:8], "little")
    if chance.random() < 0.2:
        return chance.choice([0, 2, size - 1, size + 1, 2**40, 2**63]).to_bytes(8, "little") + content[8:]
    header = json.loads(content[8 : 8 + size])
    names = [name for name in header if name != "__metadata__"]
    name, part = chance.choice(names), chance.choice(["dtype", "shape", "data_offsets", "name", "metadata"])
    if part == "name":
        header[chance.choice(["", "x", names[0], name + ".weight"])] = header.pop(name)
    elif part == "metadata":
        header["__metadata__"] = chance.choice(VALUES)
    elif part == "dtype":
        header[name]["dtype"] = chance.choice(
            ["F64", "F32", "I8", "F8_E4M3", "", None, "BF16", "BOOL", "U64"]
        )
    elif part == "shape":
        header[name]["shape"] = chance.choice(
            [[], [-1], [2**40, 2**40], header[name]["shape"][::-1], [0], None]
        )
    else:
        header[name]["data_offsets"] = chance.choice([[0, 0], [5, 1], [0, 2**50], [-1, 4], None, [0]])
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    raise SystemExit(main())
