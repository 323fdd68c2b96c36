"""How is each kind of stage carried out and skipped when done?"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from train.config import RunConfig, override
from train.stage_kinds import (
    SCENE_SEED,
    AssembleStage,
    CropStage,
    EmbedStage,
    EncodeStage,
    PairStage,
    PhotoStage,
    RebaseStage,
    RenderStage,
    Stage,
)
from train.times import timed
from unicon.processes import processes
from unicon.sources import find_base

if TYPE_CHECKING:
    from train.objectives.base import Objective


def run_stage(stage: Stage, folder: Path, args: argparse.Namespace, assignments: dict[str, str]) -> bool:
    """Carry out one stage below `folder`; False when it paused before its end."""
    if isinstance(stage, RunConfig):
        from train.run_log import trackers

        config = override(replace(stage, name=args.name or stage.name), assignments)
        trackers(config.loop.trackers)  # before anything is encoded
        if args.dry_run:
            from train.dry_run import dry_run

            dry_run(config, _objective(config, folder))
            return True
        return _train(config, folder, args.stop_after * 60)
    if assignments or args.dry_run:
        what = ", ".join(assignments) or "--dry-run"
        raise ValueError(f"stage {stage.name!r} trains nothing and has no fields to override: {what}")
    state = processes()
    if state.is_main_process:
        with timed(folder, stage.name):
            _carry_out(stage, folder, args)
    state.wait_for_everyone()
    return True


def _carry_out(
    stage: RenderStage
    | CropStage
    | PhotoStage
    | PairStage
    | EncodeStage
    | EmbedStage
    | AssembleStage
    | RebaseStage,
    folder: Path,
    args: argparse.Namespace,
) -> None:
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


def _train(config: RunConfig, folder: Path, seconds: float) -> bool:
    from train.loop import fit
    from train.run_log import check_same_run

    run = folder / config.name
    check_same_run(run, config)
    if _done(run, config.loop.steps):
        print(f"{config.name}: done before ({run / 'export'})")
        return True
    clock = timed(folder, config.name) if processes().is_main_process else nullcontext()
    with clock as save_time:
        return fit(_objective(config, folder), config, run, stop_after=seconds, on_checkpoint=save_time)


def _done(run: Path, steps: int) -> bool:
    """Whether `run` was exported, and not on the way to more steps than it had then."""
    from train.checkpoint import whole_checkpoints

    reached = [step for step, _ in whole_checkpoints(run / "checkpoints")]
    return (run / "export").exists() and (not reached or reached[-1] >= steps)


def _objective(config: RunConfig, folder: Path) -> Objective:
    """What the run trains, with everything that it needs made first."""
    state = processes()
    prepare = getattr(config.objective, "prepare", None)
    if prepare and state.num_processes > 1:  # alone, building does it all
        prepare(folder)
    with state.main_process_first():  # it may write what the others then find
        return config.objective.build(folder)


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
    if stage.base:
        base = Path(find_base(stage.base))
        vae, clip = base / "vae", base
    else:
        vae, clip = folder / "vae" / "export", folder / "clip" / "export"
    encoder = Encoder(vae, clip, device, pick_dtype(device))
    encode_shards(folder / stage.source, folder / stage.name, encoder)


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
