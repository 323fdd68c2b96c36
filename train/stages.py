"""How is each kind of stage carried out and skipped when done?"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from train.config import RunConfig, override
from train.made import check_made, read_made, weights_of
from train.stage_kinds import (
    SCENE_SEED,
    AssembleStage,
    CropStage,
    EmbedStage,
    EncodeStage,
    PairStage,
    PhotoStage,
    Preparation,
    RebaseStage,
    RenderStage,
    Stage,
)
from train.times import timed
from unicon.processes import processes
from unicon.sources import find_base

if TYPE_CHECKING:
    from train.objectives.base import Objective


def run_stage(
    stage: Stage,
    folder: Path,
    args: argparse.Namespace,
    assignments: dict[str, str],
    given: Collection[str] = (),
) -> bool:
    """Carry out one stage below `folder`; False when it paused before its end.

    `given` names those of the `assignments` that stand on the command line itself.
    """
    if isinstance(stage, RunConfig):
        from train.engines import check_run
        from train.run_log import trackers

        config = override(replace(stage, name=args.name or stage.name), assignments)
        trackers(config.loop.trackers)  # before anything is encoded
        check_run(config)
        if args.dry_run:
            from train.dry_run import dry_run

            dry_run(config, _objective(config, folder, given))
            return True
        return _train(config, folder, args.stop_after * 60, given)
    if assignments or args.dry_run:
        what = ", ".join(assignments) or "--dry-run"
        raise ValueError(f"stage {stage.name!r} trains nothing and has no fields to override: {what}")
    state = processes()
    if state.is_main_process:
        if of := _made_of(stage, folder, args):
            check_made(folder, stage.name, of)
        with timed(folder, stage.name):
            _carry_out(stage, folder, args)
    state.wait_for_everyone()
    return True


def _made_of(stage: Preparation, folder: Path, args: argparse.Namespace) -> dict[str, str]:
    """What decides over what a stage makes and then keeps; empty where nothing does, or is given."""
    if isinstance(stage, RenderStage):
        return {"first_seed": str(stage.first_seed)}
    if isinstance(stage, PhotoStage):
        return {} if args.photos is None else {"--photos": args.photos}
    if isinstance(stage, PairStage):
        return {} if args.pairs is None else {"--pairs": args.pairs, "condition": stage.condition}
    if isinstance(stage, EncodeStage):
        vae, clip = _encoders(stage, folder)
        encoders = weights_of(vae, clip / "text_encoder")
        return {**read_made(folder).get(stage.source, {}), "source": stage.source, "encoders": encoders}
    if isinstance(stage, EmbedStage):
        clip = folder / "clip" / "export"
        encoders = weights_of(clip / "image_encoder", clip / "text_encoder")
        return {**read_made(folder).get(stage.source, {}), "source": stage.source, "encoders": encoders}
    return {}


def _carry_out(stage: Preparation, folder: Path, args: argparse.Namespace) -> None:
    """A stage that trains nothing."""
    if isinstance(stage, RenderStage):
        _render(stage, folder, args.workers)
    elif isinstance(stage, CropStage):
        from train.crops import render_crops

        render_crops(folder / stage.name, stage.num, SCENE_SEED, args.workers)
    elif isinstance(stage, PhotoStage):
        _photos(folder / stage.name, args.photos)
    elif isinstance(stage, PairStage):
        _pairs(stage, folder / stage.name, args.pairs)
    elif isinstance(stage, EncodeStage):
        _encode(stage, folder)
    elif isinstance(stage, EmbedStage):
        _embed(stage, folder)
    elif isinstance(stage, RebaseStage):
        _rebase(stage, folder)
    else:
        _assemble(stage, folder)


def _train(config: RunConfig, folder: Path, seconds: float, given: Collection[str]) -> bool:
    from train.loop import fit
    from train.run_log import check_same_run

    run = folder / config.name
    check_same_run(run, config)
    if _done(run, config.loop.steps):
        print(f"{config.name}: done before ({run / 'export'})")
        return True
    clock = timed(folder, config.name) if processes().is_main_process else nullcontext()
    with clock as save_time:
        objective = _objective(config, folder, given)
        return fit(objective, config, run, stop_after=seconds, on_checkpoint=save_time)


def _done(run: Path, steps: int) -> bool:
    """Whether `run` was exported, and not on the way to more steps than it had then."""
    from train.checkpoint import whole_checkpoints

    reached = [step for step, _ in whole_checkpoints(run / "checkpoints")]
    return (run / "export").exists() and (not reached or reached[-1] >= steps)


def _objective(config: RunConfig, folder: Path, given: Collection[str]) -> Objective:
    """What the run trains, with everything that it needs made first."""
    from train.given import check_given

    state = processes()
    prepare = getattr(config.objective, "prepare", None)
    if prepare and state.num_processes > 1:  # alone, building does it all
        prepare(folder)
    with state.main_process_first():  # it may write what the others then find
        objective = config.objective.build(folder)
    check_given(given, config.objective, objective)
    return objective


def _render(stage: RenderStage, folder: Path, workers: int) -> None:
    from train.shards import render_shards
    from unicon.data.scenes import SceneConfig

    render_shards(folder / stage.name, stage.num, stage.first_seed, SceneConfig(), workers)


def _photos(folder: Path, path: str | None) -> None:
    from train.photos import prepare_photos

    if path is None and not folder.exists():
        raise ValueError("this recipe learns from photographs too: give --photos FILE_OR_FOLDER")
    if path is not None:
        prepare_photos(path, folder)


def _pairs(stage: PairStage, folder: Path, path: str | None) -> None:
    from train.pairs.shards import PairViews, write_pair_shards

    if path is None and not folder.exists():
        raise ValueError(
            f"this recipe learns from photographs with {stage.condition}: give --pairs PAIRS (docs/data.md)"
        )
    if path is not None:
        write_pair_shards(PairViews(source=path, condition=stage.condition), folder)


def _encode(stage: EncodeStage, folder: Path) -> None:
    from train.latents import Encoder, encode_shards
    from unicon.devices import pick_device, pick_dtype

    device = pick_device("auto")
    encoder = Encoder(*_encoders(stage, folder), device, pick_dtype(device))
    encode_shards(folder / stage.source, folder / stage.name, encoder)


def _encoders(stage: EncodeStage, folder: Path) -> tuple[Path, Path]:
    """Folders of the autoencoder and of the text encoder's parts."""
    if stage.base:
        base = Path(find_base(stage.base))
        return base / "vae", base
    return folder / "vae" / "export", folder / "clip" / "export"


def _embed(stage: EmbedStage, folder: Path) -> None:
    from train.embeddings import embed_scenes
    from unicon.devices import pick_device

    embed_scenes(folder / stage.source, folder / stage.name, folder / "clip" / "export", pick_device("auto"))


def _assemble(stage: AssembleStage, folder: Path) -> None:
    from train.assemble import assemble

    assemble(folder, folder / stage.name, stage.adapters, stage.num_familiar)
    print(f"pipeline in {folder / stage.name}")


def _rebase(stage: RebaseStage, folder: Path) -> None:
    from train.assemble import rebase

    rebase(Path(find_base(stage.base)), folder, stage.parts, folder / stage.name)
    print(f"pipeline in {folder / stage.name}")
