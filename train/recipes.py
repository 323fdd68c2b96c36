"""Which complete, named trainings are there?

A family is a sequence of stages in one folder; each stage is skipped when its output is there, and a
training stage continues from its newest checkpoint. `mini-fast` makes the whole mini family from nothing on
two CPU cores; `mini` is the same with photographs and a longer training, about that of the weights that ship.
`mini-again` trains mini's own adapters on with scenes that its base was not trained on. `photos` trains
its UNet on with labelled photographs alone, `photo-depth` also with depth of photographs. `adapter` is one
adapter from a user's own pairs, `upscaler` one that enlarges, from pictures alone, `style` a style from a few
pictures (as published: rank 32, 300 steps of 4 at 1e-4). `prior` and `decoder` make a base follow what a
picture shows, from pictures with captions: unCLIP's two parts (rates and decays as published,
for the prior of a batch of 4096). `peers` are specialised models to compare one adapter of mini with, and the
scenes that they learn from; they are part of no base.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from train.config import LoopConfig, RunConfig
from train.names import closest
from train.objectives.base_unet import BaseUnetConfig
from train.objectives.clip import ClipConfig
from train.objectives.decoder import DataDecoderTraining, SceneDecoderTraining
from train.objectives.joint import SceneJointConfig
from train.objectives.judge import JudgeConfig
from train.objectives.pairs import PairsConfig
from train.objectives.peers import PeerConfig
from train.objectives.prior import DataPriorConfig, ScenePriorConfig
from train.objectives.prior_ar import DataArPriorConfig, SceneArPriorConfig
from train.objectives.regressor import RegressorConfig
from train.objectives.style import StyleConfig
from train.objectives.upsampler import SceneUpsamplerConfig
from train.objectives.vae import VaeConfig
from train.stage_kinds import (
    ADAPTERS,
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
from unicon.conditions.lowres import LOWRES
from unicon.sources import MINI

FRESH_SEED = 2_000_000
"""First seed of scenes that no shipped base was trained on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FamilySize:
    """How much data and how many steps a family gets."""

    scenes: int
    vae_steps: int
    clip_steps: int
    unet_steps: int
    adapter_steps: int
    prior_steps: int
    decoder_steps: int
    judge_steps: int
    photos: bool
    """Whether photographs (given as `--photos`) join the scenes."""


def _family(size: FamilySize) -> dict[str, Stage]:
    stages: list[Stage] = [RenderStage(num=size.scenes)]
    if size.photos:
        stages.append(PhotoStage())
    stages += [_vae(size), _clip(size), EncodeStage(name="latents", source="scenes")]
    if size.photos:
        stages.append(EncodeStage(name="photo-latents", source="photos"))
    stages.append(_unet(size))
    stages += [_adapter(name, maps, size) for name, maps in ADAPTERS.items()]
    stages += [CropStage(num=size.scenes), EncodeStage(name="crop-latents", source="crops"), _upsampler(size)]
    stages += [EmbedStage(name="embeddings", source="scenes"), _prior(size), _decoder(size)]
    # The judge is copied beside the pipeline; references it has no need of come after it.
    stages += [_judge(size), AssembleStage(), _regressor(size), _prior_ar(size)]
    return {stage.name: stage for stage in stages}


def _vae(size: FamilySize) -> RunConfig:
    return RunConfig(
        name="vae",
        objective=VaeConfig(num_scenes=size.scenes, photo_shards="photos" if size.photos else ""),
        loop=LoopConfig(
            steps=size.vae_steps,
            batch_size=12,
            learning_rate=1e-3,
            weight_decay=0.0,
            ema_decay=0.999,
        ),
    )


def _clip(size: FamilySize) -> RunConfig:
    return RunConfig(
        name="clip",
        objective=ClipConfig(num_scenes=size.scenes, photo_shards="photos" if size.photos else ""),
        loop=LoopConfig(
            steps=size.clip_steps, batch_size=96, learning_rate=1e-3, warmup_steps=40, weight_decay=0.05
        ),
    )


def _unet(size: FamilySize) -> RunConfig:
    return RunConfig(
        name="unet",
        objective=BaseUnetConfig(
            num_scenes=size.scenes, photo_latents="photo-latents" if size.photos else ""
        ),
        loop=_unet_loop(size),
    )


def _unet_loop(size: FamilySize) -> LoopConfig:
    """Shared by the base and the regressor, which is only a fair reference at the same compute."""
    return LoopConfig(
        steps=size.unet_steps,
        batch_size=64,
        optimizer="muon",
        learning_rate=1.5e-3,
        matrix_learning_rate=0.015,
        warmup_steps=60,
        decay_share=0.5,  # at the full rate the loss stands still after some thousand steps (docs/log.md)
        ema_decay=0.999,
    )


def _adapter(name: str, maps: str, size: FamilySize) -> RunConfig:
    return RunConfig(
        name=name,
        objective=SceneJointConfig(condition=name, maps=maps, num_scenes=size.scenes),
        loop=_adapter_loop(size.adapter_steps),
    )


def _upsampler(size: FamilySize) -> RunConfig:
    return RunConfig(
        name=LOWRES,
        objective=SceneUpsamplerConfig(num_scenes=size.scenes),
        loop=_adapter_loop(size.adapter_steps),
    )


def _adapter_loop(steps: int, learning_rate: float = 4e-3) -> LoopConfig:
    """At 1e-2 every adapter diverged after 60 to 140 steps; what it is compared with has rates of its own."""
    return LoopConfig(
        steps=steps,
        batch_size=24,
        learning_rate=learning_rate,
        warmup_steps=30,
        decay_share=0.6,
        weight_decay=0.0,
        ema_decay=0.995,
    )


def _prior(size: FamilySize) -> RunConfig:
    return RunConfig(
        name="prior",
        objective=ScenePriorConfig(num_scenes=size.scenes),
        loop=LoopConfig(
            steps=size.prior_steps,
            batch_size=128,
            learning_rate=1e-3,
            weight_decay=0.06,
            betas=(0.9, 0.96),
            ema_decay=0.999,
        ),
    )


def _prior_ar(size: FamilySize) -> RunConfig:
    return RunConfig(
        name="prior-ar",
        objective=SceneArPriorConfig(num_scenes=size.scenes),
        loop=LoopConfig(
            steps=size.prior_steps,
            batch_size=64,
            learning_rate=1e-3,
            weight_decay=0.04,
            betas=(0.9, 0.91),
            ema_decay=0.999,
        ),
    )


def _decoder(size: FamilySize) -> RunConfig:
    return RunConfig(
        name="decoder",
        objective=SceneDecoderTraining(num_scenes=size.scenes),
        loop=LoopConfig(
            steps=size.decoder_steps,
            batch_size=32,
            learning_rate=1e-3,
            warmup_steps=100,
            decay_share=0.4,
            weight_decay=0.0,
            ema_decay=0.995,
        ),
    )


def _judge(size: FamilySize) -> RunConfig:
    return RunConfig(
        name="judge",
        objective=JudgeConfig(num_scenes=size.scenes),
        loop=LoopConfig(
            steps=size.judge_steps,
            batch_size=16,
            learning_rate=2e-3,
            warmup_steps=50,
            decay_share=0.6,
            ema_decay=0.998,
        ),
    )


def _regressor(size: FamilySize) -> RunConfig:
    return RunConfig(
        name="regressor",
        objective=RegressorConfig(num_scenes=size.scenes),
        loop=_unet_loop(size),
    )


def _peers() -> dict[str, Stage]:
    """What one joint adapter of mini is compared with, and that adapter, on scenes that mini was trained on.

    Each has as many steps as cost what the adapter's do (`train.flops`), and the rate that was found best
    (`benchmarks/comparison.py`); the numbers here are those of depth.
    """
    ours = SceneJointConfig(condition="depth", maps="depth", base=MINI)
    tied = replace(ours, tied_levels=True, clean_image=0.0, clean_condition=0.0)

    def specialist(name: str, steps: int, rate: float, levels: str = "uniform") -> RunConfig:
        objective = PeerConfig(peer=name, levels=levels, base=MINI)
        return RunConfig(name=name, objective=objective, loop=_adapter_loop(steps, rate))

    stages: list[Stage] = [
        RenderStage(num=ours.num_scenes),
        EncodeStage(name="latents", source="scenes", base=MINI),
        RunConfig(name="joint", objective=ours, loop=_adapter_loop(360)),
        RunConfig(name="tied", objective=tied, loop=_adapter_loop(360)),
        specialist("controlnet", 418, 1e-3),
        specialist("t2i", 700, 3e-3, levels="cubic"),  # as its authors draw them
        specialist("marigold", 544, 1e-3),
        specialist("jointnet", 320, 3e-4),
    ]
    return {stage.name: stage for stage in stages}


_AGAIN = {
    "depth": (1150, 0.55, 0.28),
    "edge": (700, 0.5, 0.3),
    "pose": (1000, 0.55, 0.28),
    "appearance": (850, 0.3, 0.4),
}
"""Steps, and the shares of pairs whose image and whose condition is CLEAN."""


def _mini_again() -> list[Stage]:
    """What is familiar to a base is told better than what is not: 0.097 against 0.116 (docs/log.md)."""
    num = 6144
    stages: list[Stage] = [
        RenderStage(num=num, first_seed=FRESH_SEED),
        EncodeStage(name="latents", source="scenes", base=MINI),
    ]
    for name, maps in ADAPTERS.items():
        steps, clean_image, clean_condition = _AGAIN[name]
        # A map is read from its picture at high noise; at less, it tells itself (docs/log.md).
        levels = "uniform" if name == "appearance" else "0.6 between(0.65, 1) + 0.4 uniform"
        objective = SceneJointConfig(
            condition=name,
            maps=maps,
            num_scenes=num,
            base=MINI,
            start_from=name,
            clean_image=clean_image,
            clean_condition=clean_condition,
            condition_levels=levels,
        )
        stages.append(RunConfig(name=name, objective=objective, loop=_adapter_loop(steps)))
    return [*stages, RebaseStage(base=MINI, parts=tuple(ADAPTERS))]


def _photos() -> list[Stage]:
    """Mini's UNet, of which less than a tenth of the training pictures were photographs, on photographs."""
    return [
        PhotoStage(),
        EncodeStage(name="latents", source="photos", base=MINI),
        RunConfig(
            name="unet",
            objective=BaseUnetConfig(
                start_from=MINI,
                photo_latents="",
                shares=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
                maps_weight=0.0,  # photographs have none
                num_scenes=1_000_000,
            ),
            loop=LoopConfig(
                steps=3000,
                batch_size=64,
                optimizer="muon",
                learning_rate=5e-4,
                matrix_learning_rate=0.005,  # a third of what it was learnt at, and falling
                warmup_steps=60,
                decay_share=0.7,
                ema_decay=0.995,
            ),
        ),
        RebaseStage(base=MINI, parts=("unet",)),
    ]


def _photo_depth() -> list[Stage]:
    """The same with pairs, whose depth the UNet's features are asked for as that of scenes was."""
    stages = {stage.name: stage for stage in _photos()}
    unet = stages["unet"]
    assert isinstance(unet, RunConfig)
    objective = replace(
        unet.objective,
        photo_latents="photo-latents",
        shares=(0.7, 0.0, 0.1, 0.0, 0.0, 0.2),
        maps=("depth",),
        maps_weight=1.0,
    )
    return [
        PhotoStage(),
        PairStage(condition="depth"),
        EncodeStage(name="photo-latents", source="photos", base=MINI),
        EncodeStage(name="latents", source="pairs", base=MINI),
        replace(unet, objective=objective, loop=replace(unet.loop, steps=1000, batch_size=32)),
        RebaseStage(base=MINI, parts=("unet",)),
    ]


FAMILIES: dict[str, dict[str, Stage]] = {
    "mini-fast": _family(
        FamilySize(
            scenes=8192,
            vae_steps=8000,
            clip_steps=1000,
            unet_steps=2500,
            adapter_steps=360,
            prior_steps=1000,
            decoder_steps=360,
            judge_steps=1600,
            photos=False,
        )
    ),
    "mini": _family(
        FamilySize(
            scenes=8192,
            vae_steps=24000,
            clip_steps=1000,
            unet_steps=12000,
            adapter_steps=360,
            prior_steps=4000,
            decoder_steps=1000,
            judge_steps=6000,
            photos=True,
        )
    ),
    "mini-again": {stage.name: stage for stage in _mini_again()},
    "peers": _peers(),
    "photos": {stage.name: stage for stage in _photos()},
    "photo-depth": {stage.name: stage for stage in _photo_depth()},
    "adapter": {
        "adapter": RunConfig(
            name="adapter",
            objective=PairsConfig(),
            loop=LoopConfig(
                steps=10_000, batch_size=16, learning_rate=1e-4, weight_decay=0.0, validate_every=500
            ),
        )
    },
    "upscaler": {
        "upscaler": RunConfig(
            name="upscaler",
            objective=PairsConfig(
                condition=LOWRES,
                crops=8,
                caption_dropout=1.0,
                bare_photos=1.0,
                clean_image=0.05,
                clean_condition=0.5,
            ),
            loop=LoopConfig(
                steps=10_000, batch_size=16, learning_rate=1e-4, weight_decay=0.0, validate_every=500
            ),
        )
    },
    "prior": {
        "prior": RunConfig(
            name="prior",
            objective=DataPriorConfig(),
            loop=LoopConfig(
                steps=50_000,
                batch_size=256,
                learning_rate=1.1e-4,
                weight_decay=0.06,
                betas=(0.9, 0.96),
                ema_decay=0.9999,
                validate_every=2000,
            ),
        )
    },
    "prior-ar": {
        "prior-ar": RunConfig(
            name="prior-ar",
            objective=DataArPriorConfig(),
            loop=LoopConfig(
                steps=50_000,
                batch_size=256,
                learning_rate=1.6e-4,
                weight_decay=0.04,
                betas=(0.9, 0.91),
                ema_decay=0.999,
                validate_every=2000,
            ),
        )
    },
    "decoder": {
        "decoder": RunConfig(
            name="decoder",
            objective=DataDecoderTraining(),
            loop=LoopConfig(
                steps=20_000,
                batch_size=16,
                learning_rate=1.2e-4,
                weight_decay=0.0,
                betas=(0.9, 0.999),
                validate_every=1000,
            ),
        )
    },
    "style": {
        "style": RunConfig(
            name="style",
            objective=StyleConfig(),
            loop=LoopConfig(
                steps=300,
                batch_size=4,
                learning_rate=1e-4,
                warmup_steps=10,
                decay_share=0.0,
                weight_decay=0.0,
                betas=(0.9, 0.999),
                ema_decay=0.0,
                validate_every=100,
            ),
        )
    },
}


def stages_of(name: str) -> tuple[str, dict[str, Stage]]:
    """Family and stages of `family` or `family/stage`; ValueError with the known names otherwise."""
    family, _, stage = name.partition("/")
    if family not in FAMILIES:
        raise ValueError(f"no recipe named {family!r}; {closest(family, FAMILIES)}")
    stages = FAMILIES[family]
    if not stage:
        return family, stages
    if stage not in stages:
        raise ValueError(f"recipe {family} has no stage {stage!r}; {closest(stage, stages)}")
    return family, {stage: stages[stage]}
