"""What reads maps and draws pictures: the judge, and a system that was trained?"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from eval.peers.joint_adapter import Joint
from eval.peers.sampling import PeerSampler
from eval.peers.store import load_peer
from eval.protocols.drawing import Drawer, Painter
from eval.protocols.readers import BASE, PipelineReader, Reader, load_judge
from train.assemble import base_pipeline, base_place
from unicon.devices import pick_device, pick_dtype
from unicon.pipeline import UniConPipeline
from unicon.sources import saved_adapters

from .place import Place
from .systems import System

BATCH = 20


def pipeline(place: Place) -> UniConPipeline:
    """The base, without adapters, in the fastest number format here."""
    pipe = base_pipeline(place.folder, place.base)
    device = pick_device("auto")
    pipe.to(device, pick_dtype(device))
    pipe.set_progress_bar_config(disable=True)
    return pipe


@cache
def judge(place: Place) -> Reader:
    """See `load_judge`: what ships with mini, the base's own adapters, or a folder's."""
    own = pipeline(place)
    if place.judge == BASE:
        for name, folder in saved_adapters(base_place(place.folder, place.base)).items():
            own.load_adapter(folder, name)
    return load_judge(place.judge, own, place.budget.judge_steps, batch_size=BATCH)


def sampled(place: Place, system: System, export: Path) -> tuple[Reader, Drawer]:
    """The trained system as what reads maps and what draws pictures."""
    pipe, steps = pipeline(place), place.budget.drawing_steps
    if system.stage == "joint":
        pipe.load_adapter(export, place.condition)
        reader = PipelineReader(pipe=pipe, steps=steps, batch_size=BATCH)
        return reader, Painter(pipe=pipe, steps=steps, batch_size=BATCH)
    if system.stage == "tied":
        peer = Joint(pipe.unet, export, holds=False)
        trigger = peer.config.trigger
    else:
        peer, card = load_peer(export, pipe.unet)
        trigger = card.trigger
    sampler = PeerSampler(
        pipe=pipe, peer=peer, condition=place.condition, trigger=trigger, steps=steps, batch_size=BATCH,
        name=system.title,
    )  # fmt: skip
    return sampler, sampler
