"""What does exact rarity cost beside the straightforward way, which holds the whole matrix of distances?

    python benchmarks/rarity.py [--num 10000] [--width 2048] [--rounds 3] [--large 50000] [--out FILE]

The straightforward way: `torch.cdist`, the k-th of a `topk` (or of a full sort, as in the published code),
one comparison, one minimum. Rounds alternate all variants; ratios are taken within a round. Memory is what a
call adds to its inputs. "auto" is what `rarity_score` does by default: products in the fastest arithmetic of
this machine, with every comparison certified to equal float64's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from timing import processor_name, working_bytes

from eval.manifold.manifold import FORMATS
from eval.metrics.summary import markdown_table
from eval.rarity import rarity_score
from eval.records import Record, append

K = 3
MIB = 2**20
REFERENCES = {"full matrix, float32": "float32", "full matrix, float64": "float64"}


@dataclass(frozen=True, slots=True)
class Cost:
    """One call."""

    wall_s: float
    processor_s: float
    added_bytes: int | None


def features(num: int, width: int, seed: int) -> torch.Tensor:
    """Non-negative with an offset and 64 strong directions, as pooled features of networks are; float32."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randn(64, width, generator=torch.Generator().manual_seed(0)) / 8
    rows = torch.empty(num, width)
    for part in rows.split(4096):
        strong = torch.randn(len(part), 64, generator=generator) @ basis
        part.copy_(torch.relu(strong + 0.3 * torch.randn(part.shape, generator=generator)))
    return rows


def full_matrix(
    real: torch.Tensor, generated: torch.Tensor, dtype: torch.dtype, sort: bool = False
) -> torch.Tensor:
    """Rarity of each generated one, inf outside the manifold."""
    real, generated = real.to(dtype), generated.to(dtype)
    between = torch.cdist(real, real)
    radii = between.sort(1).values[:, K] if sort else between.topk(K + 1, largest=False).values[:, K]
    del between
    return torch.where(torch.cdist(generated, real) < radii, radii, torch.inf).amin(1)


def variants(real: torch.Tensor, generated: torch.Tensor) -> dict[str, Callable[[], object]]:
    calls: dict[str, Callable[[], object]] = {
        "full matrix, float32": lambda: full_matrix(real, generated, torch.float32),
        "full matrix, float64": lambda: full_matrix(real, generated, torch.float64),
        "full matrix, float64, sorted": lambda: full_matrix(real, generated, torch.float64, sort=True),
    }
    for name in ("auto", *FORMATS):
        calls[f"ours, {name}"] = lambda name=name: rarity_score(real, generated, K, arithmetic=name)
    return calls


def measured(call: Callable[[], object]) -> Cost:
    wall, processor = time.perf_counter(), time.process_time()
    added = working_bytes(call, "cpu")
    return Cost(time.perf_counter() - wall, time.process_time() - processor, added)


def compared(num: int, width: int, rounds: int) -> list[Record]:
    """Every variant against both references, medians of ratios over rounds."""
    real, generated = features(num, width, 1), features(num, width, 2)
    calls = variants(real, generated)
    check_equal(real, generated)
    costs = [{name: measured(call) for name, call in calls.items()} for _ in range(rounds)]
    records = []
    for name in calls:
        own = [each[name] for each in costs]
        numbers = {
            "wall_s": float(np.median([c.wall_s for c in own])),
            "processor_s": float(np.median([c.processor_s for c in own])),
            "added_mib": max((c.added_bytes or 0) for c in own) / MIB,
        }
        for reference, short in REFERENCES.items():
            pairs = [(each[reference], each[name]) for each in costs]
            numbers[f"faster_{short}"] = float(np.median([r.processor_s / c.processor_s for r, c in pairs]))
            numbers[f"faster_wall_{short}"] = float(np.median([r.wall_s / c.wall_s for r, c in pairs]))
            numbers[f"memory_{short}"] = float(
                np.median([(c.added_bytes or 0) / (r.added_bytes or 1) for r, c in pairs])
            )
        records.append(Record(name=f"rarity/{name}", numbers=numbers, settings=settings(num, width, rounds)))
    return records


def check_equal(real: torch.Tensor, generated: torch.Tensor) -> None:
    """All ways find the same, up to the full matrix's own rounding; on a part that fits anywhere."""
    some = real[:1500], generated[:1500]
    expected = full_matrix(some[0].double(), some[1].double(), torch.float64).numpy()
    for name in FORMATS:
        found = np.nan_to_num(rarity_score(*some, K, arithmetic=name).scores, nan=np.inf)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def large(num: int, width: int) -> Record:
    """One call on many features."""
    real, generated = features(num, width, 1), features(num, width, 2)
    cost = measured(lambda: rarity_score(real, generated, K))
    numbers = {
        "wall_s": cost.wall_s, "processor_s": cost.processor_s, "added_mib": (cost.added_bytes or 0) / MIB,
    }  # fmt: skip
    return Record(name="rarity/large", numbers=numbers, settings=settings(num, width, 1))


def settings(num: int, width: int, rounds: int) -> dict[str, str | int | float | bool]:
    return {
        "num": num, "width": width, "k": K, "rounds": rounds, "threads": torch.get_num_threads(),
        "processor": processor_name(),
    }  # fmt: skip


def table(records: Sequence[Record]) -> str:
    """Markdown."""
    rows = []
    for one in records:
        n = one.numbers
        row: dict[str, object] = {"way": one.name.removeprefix("rarity/"), "N": one.settings["num"]}
        row |= {"wall s": round(n["wall_s"], 1), "processor s": round(n["processor_s"], 1)}
        row["MiB above inputs"] = round(n["added_mib"])
        for short in REFERENCES.values():
            if f"faster_{short}" in n:
                row[f"faster than full {short} (wall)"] = (
                    f"{n[f'faster_{short}']:.2f} ({n[f'faster_wall_{short}']:.2f})"
                )
                row[f"its memory over full {short}"] = f"{n[f'memory_{short}']:.3f}"
        rows.append(row)
    return markdown_table(rows, list(dict.fromkeys(name for row in rows for name in row)), digits=1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num", type=int, default=10_000, help="reals, and generated ones (default 10000)")
    parser.add_argument("--width", type=int, default=2048, help="of features (default 2048)")
    parser.add_argument("--rounds", type=int, default=3, help="times each variant runs (default 3)")
    parser.add_argument("--large", type=int, default=0, help="one call on this many, too (default 0: none)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--out", type=Path, help="file to which records are added, one line of JSON each")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{processor_name()}, {args.threads} threads, width {args.width}, k = {K}, {args.rounds} rounds\n")
    if args.rounds:
        report(compared(args.num, args.width, args.rounds), args.out)
    if args.large:
        report([large(args.large, args.width)], args.out)


def report(records: Sequence[Record], out: Path | None) -> None:
    """At once: the next part may take long."""
    print(table(records), flush=True)
    for record in records:
        if out is not None:
            append(out, record)


if __name__ == "__main__":
    main()
