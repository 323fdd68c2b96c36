"""Do models of several families make something new, by the same measures, and which rare modes do they make?

    python benchmarks/families.py --scenes runs/mini/scenes [--out runs/families]
    python benchmarks/families.py --make VAE,GAN --out runs/families    # their pictures alone
    python benchmarks/families.py --tables        # of what is there so far

A VAE and a GAN are trained on scenes for some minutes each, in the latents of the mini base, so that all
models share one decoder; beside them stand the base itself (text alone) and the picture halves of its joint
samples. All are compared with the same training pictures, in several features: the mini image encoder's, the
judge's, and the base's own UNet's. What the numbers of perfect and of faulty models are is told by scenes
that no model has seen, the same through the decoder, copies, and rooms alone.

Then rarity itself: 1% of the training pictures get an attribute that the others lack (a kind of object, a
light, a style), and fresh pictures with and without it are ranked, over several draws. And modes: ground and
sky of a field are named in captions, exactly; a classifier (logistic regression on features) finds them in
what was made, and a mode counts as recovered where it is found more often than false alarms explain.

Running it again goes on where it was stopped; other scenes, or another number to learn from, want an `--out`
of their own. (Not under `unicon eval`: measurements there do not train.) Its parts, one question each, are in
`model_families/`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from model_families.budget import Budget
from model_families.pictures import MODELS, Sets
from model_families.results import done, run
from model_families.tables import tables


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=Path, default=Path("runs/mini/scenes"), help="training shards")
    parser.add_argument("--out", type=Path, default=Path("runs/families"))
    parser.add_argument("--cache", help="where rendered evaluation scenes are kept (default: user cache)")
    parser.add_argument("--workers", type=int, default=1, help="processes that render (default 1)")
    parser.add_argument("--make", metavar="NAMES", help=f"only pictures of these: {', '.join(MODELS)}")
    parser.add_argument("--tables", action="store_true", help="of what is there; nothing is made")
    for name, value in asdict(Budget()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    args = parser.parse_args(argv)
    budget = Budget(**{name: getattr(args, name) for name in asdict(Budget())})
    made = args.make.split(",") if args.make else []
    if unknown := [name for name in made if name not in MODELS]:
        parser.error(f"--make: {unknown[0]!r} is none of {', '.join(MODELS)}")
    if not args.tables:
        args.out.mkdir(parents=True, exist_ok=True)
        sets = Sets(args.out, args.scenes, budget, args.cache, args.workers)
        sets.keep_to_themselves()
        if made:
            for name in made:
                print(f"{name}: {len(sets.of(name))} pictures")
            return 0
        run(sets, args.out)
    found = done(args.out, budget)
    if not found:
        raise SystemExit(f"{args.out}: holds no results of this budget; run it without --tables first")
    print(tables(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
