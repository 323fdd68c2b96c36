"""Do peers start as their authors start them, and are all of them sampled as the pipeline samples?"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from adapters import save_adapter
from eval.peers.controlnet import ControlNet
from eval.peers.joint_adapter import Joint
from eval.peers.jointnet import JointNet, decode, encode
from eval.peers.marigold import Marigold
from eval.peers.peer import CONDITION, IMAGE, Peer, PeerInput
from eval.peers.sampling import PeerSampler
from eval.peers.store import PEER, SPECIALISTS, PeerCard, load_peer, save_peer, specialist
from eval.peers.t2i_adapter import T2I
from eval.protocols.drawing import Painter
from eval.protocols.readers import PipelineReader
from eval.protocols.scene_set import scene_set
from tests.adapters.tiny import tiny_unet
from tests.tiny_base import CONDITIONS, SIDE_PX, tiny_pipeline
from unicon.latents import encode as latents_of
from unicon.pictures import as_pictures
from unicon.sampling.levels import Schedule

FACTOR = 4


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return scene_set("standard", 3, size_px=SIDE_PX, cache_folder=tmp_path_factory.mktemp("scenes"))


@pytest.fixture
def pipe(tmp_path):
    return tiny_pipeline(tmp_path / "words")


def asked(**changes) -> PeerInput:
    """Three pairs at one level, with maps of 32 px."""
    generator = torch.Generator().manual_seed(3)
    levels = Schedule.from_scheduler(tiny_schedule()).at_timestep(torch.full((2, 3), 400.0))
    settings = {
        "x": torch.randn(2, 3, 4, 8, 8, generator=generator),
        "levels": levels,
        "texts": torch.randn(2, 3, 5, 12, generator=generator),
        "maps": torch.rand(3, 3, SIDE_PX, SIDE_PX, generator=generator),
    }
    return PeerInput(**{**settings, **changes})


def tiny_schedule() -> dict:
    return {"_class_name": "DDIMScheduler", "beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample"}


def plain(unet, given: PeerInput, branch: int) -> torch.Tensor:
    return unet(given.x[branch], given.timesteps(branch), given.texts[branch]).sample


@pytest.mark.parametrize("kind", [ControlNet, JointNet])
def test_what_starts_at_zero_is_the_base_at_first(kind):
    unet, given = tiny_unet(), asked()
    out = kind.on(unet, FACTOR)(given)
    torch.testing.assert_close(out[IMAGE], plain(unet, given, IMAGE))
    if kind is JointNet:
        torch.testing.assert_close(out[CONDITION], plain(unet, given, CONDITION))
    else:
        assert not out[CONDITION].any()


def test_a_t2i_adapter_is_heard_from_the_start_and_leaves_the_base_alone():
    unet, given = tiny_unet(), asked()
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    peer = T2I.on(unet, FACTOR)
    features = peer.network(given.maps)
    assert [tuple(f.shape) for f in features] == [(3, 16, 8, 8), (3, 32, 4, 4)]
    difference = peer(given)[IMAGE] - plain(unet, given, IMAGE)
    assert difference.abs().mean() > 1e-4
    assert all(torch.equal(tensor, before[name]) for name, tensor in unet.state_dict().items())
    again = asked(maps=1 - given.maps)
    assert not torch.equal(peer(again), peer(given))


def test_marigolds_input_is_doubled_and_halved():
    unet, given = tiny_unet(), asked()
    peer = Marigold.on(unet, FACTOR)
    assert peer.network.conv_in.weight.shape[1] == 2 * unet.conv_in.weight.shape[1] == 8
    assert peer.network.config["in_channels"] == 8
    twins = asked(x=given.x[:1].repeat(2, 1, 1, 1, 1))  # beside itself a latent is answered as by the base
    torch.testing.assert_close(peer(twins)[CONDITION], plain(unet, twins, CONDITION))
    assert not peer(given)[IMAGE].any()
    assert unet.config["in_channels"] == 4  # of the base nothing is changed


@pytest.mark.parametrize("layers", [1, 2])
def test_the_two_halves_of_a_unet_are_the_unet(layers):
    unet, given = tiny_unet(layers_per_block=layers), asked()
    halves = decode(unet, encode(unet, given, IMAGE, torch.zeros(())))
    torch.testing.assert_close(halves, plain(unet, given, IMAGE))


def test_both_branches_of_jointnet_hear_each_other():
    unet, given = tiny_unet(), asked()
    peer = JointNet.on(unet, FACTOR)
    for parameter in peer.talk.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    for branch in (IMAGE, CONDITION):
        other = given.x.clone()
        other[1 - branch] += 1
        changed = peer(asked(x=other))[branch] - peer(given)[branch]
        assert changed.abs().mean() > 1e-4


@pytest.mark.parametrize("kind", SPECIALISTS)
def test_the_base_is_frozen_and_everything_else_learns(kind):
    peer = SPECIALISTS[kind].on(tiny_unet(), FACTOR)
    optimizer = torch.optim.AdamW([p for p in peer.parameters() if p.requires_grad], weight_decay=0.0)
    trained = {n for n, p in peer.named_parameters() if p.requires_grad}
    assert not any(name.startswith("unet.") for name in trained)
    moved = set()
    for _ in range(3):
        peer(asked()).square().mean().backward()
        moved |= {n for n, p in peer.named_parameters() if p.grad is not None and p.grad.any()}
        optimizer.step()
        optimizer.zero_grad()
    assert moved == trained


@pytest.mark.parametrize("kind", SPECIALISTS)
def test_a_peer_comes_back_as_it_was_written(kind, tmp_path):
    unet, given = tiny_unet(), asked()
    peer = SPECIALISTS[kind].on(unet, FACTOR)
    for parameter in peer.parameters():
        if parameter.requires_grad:
            parameter.data.add_(
                0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            )
    card = PeerCard(kind=kind, condition="depth", trigger="depth map, ")
    save_peer(peer, card, tmp_path / "peer")
    again, found = load_peer(tmp_path / "peer", unet)
    assert found == card
    with torch.no_grad():
        assert torch.equal(again(given), peer(given))
    assert not any(p.requires_grad for p in again.parameters())


def test_folders_that_are_no_peers(tmp_path):
    with pytest.raises(ValueError, match="no peer of kind 'control'; known: controlnet, t2i, marigold"):
        specialist("control")
    with pytest.raises(ValueError, match="give the `export` folder of a peer's training"):
        load_peer(tmp_path, tiny_unet())
    (tmp_path / PEER).write_text(json.dumps({"kind": "t2i"}))
    with pytest.raises(ValueError, match="describes no peer .*export it again"):
        load_peer(tmp_path, tiny_unet())


# --- sampling ---------------------------------------------------------------------------------------------


def sampler(pipe, peer: Peer, **changes) -> PeerSampler:
    settings = {"condition": "depth", "trigger": CONDITIONS["depth"], "steps": 3, "batch_size": 2}
    return PeerSampler(pipe=pipe, peer=peer, **{**settings, **changes})


def test_a_joint_adapter_is_sampled_as_by_the_pipeline(pipe, scenes, tmp_path):
    reader = PipelineReader(pipe=pipe, steps=3, batch_size=2)
    painter = Painter(pipe=pipe, steps=3, batch_size=2)
    keys = scenes.seeds.tolist()
    maps = reader.read(scenes.images, "depth", keys, 1).maps
    drawn, both = painter.generate(scenes, "depth", 1), painter.joint(scenes, "depth", 1)
    save_adapter(pipe.adapters["depth"], tmp_path / "depth")
    ours = sampler(pipe, Joint(pipe.unet, tmp_path / "depth"))
    assert list(pipe.adapters) == ["depth"]
    np.testing.assert_allclose(ours.read(scenes.images, "depth", keys, 1).maps, maps, atol=2e-3)
    found = ours.joint(scenes, "depth", 1)
    assert np.abs(ours.generate(scenes, "depth", 1).pictures.astype(int) - drawn.pictures).max() <= 1
    assert np.abs(found.pictures.astype(int) - both.pictures).max() <= 1
    np.testing.assert_allclose(found.maps, both.maps, atol=2e-3)


class Watching(Peer):
    """Answers nothing and notes what it saw."""

    own = ("joint",)
    holds = False

    def __init__(self):
        super().__init__()
        self.seen: list[PeerInput] = []

    def forward(self, asked: PeerInput) -> torch.Tensor:
        self.seen.append(asked)
        return torch.zeros_like(asked.x)


def test_what_a_tied_peer_is_given_is_put_back_at_the_level_of_the_other(pipe, scenes):
    peer = Watching()
    assert peer.directions == ("generate", "estimate", "joint")
    sampler(pipe, peer).read(scenes.images[:2], "depth", [0, 1], 0)
    assert len(peer.seen) == 3
    for seen in peer.seen:
        assert torch.equal(seen.levels.timestep[IMAGE], seen.levels.timestep[CONDITION])
        assert not seen.levels.is_clean.any()
    # Pure noise at first, then more and more of the picture: the same noise, so what is left is the picture.
    exact = latents_of(pipe.vae, as_pictures(scenes.images[:2], "pictures"))
    first, *later = (seen.x[IMAGE] for seen in peer.seen)
    for x, seen in zip(later, peer.seen[1:], strict=True):
        picture = (x - seen.levels.sigma[IMAGE, 0] * first) / seen.levels.alpha[IMAGE, 0]
        torch.testing.assert_close(picture.float(), exact, atol=1e-3, rtol=1e-3)


def test_peers_refuse_what_they_cannot(pipe, scenes):
    peer = ControlNet.on(tiny_unet(), FACTOR)
    with pytest.raises(ValueError, match="asked to estimate 'depth'; it knows 'depth', and can generate"):
        sampler(pipe, peer).read(scenes.images, "depth", [0, 1, 2], 0)
    with pytest.raises(ValueError, match="asked to generate 'edge'"):
        sampler(pipe, peer).generate(scenes, "edge", 0)
    with pytest.raises(ValueError, match=r"own size, 32 x 32"):
        sampler(pipe, Marigold.on(tiny_unet(), FACTOR)).read(scenes.images[:, :16], "depth", [0, 1, 2], 0)


@pytest.mark.parametrize("kind", ["controlnet", "t2i", "marigold", "jointnet"])
def test_every_peer_can_be_sampled_in_its_direction(kind, pipe, scenes):
    pipe.unload_adapter()
    made = sampler(pipe, SPECIALISTS[kind].on(pipe.unet, FACTOR).eval(), batch_size=3)
    keys = scenes.seeds.tolist()
    for direction in made.peer.directions:
        if direction == "estimate":
            values = made.read(scenes.images, "depth", keys, 0).maps
        elif direction == "generate":
            values = made.generate(scenes, "depth", 0).pictures
        else:
            values = made.joint(scenes, "depth", 0).maps
        assert values is not None
        assert values.shape == (3, SIDE_PX, SIDE_PX, 3)
        assert np.isfinite(values).all()
