"""Do peers learn what they are for, from the pairs the adapter sees, at a cost that is counted right?"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from eval.peers.peer import CONDITION, IMAGE, PeerInput, Specialist
from eval.peers.store import SPECIALISTS, load_peer
from tests.adapters.tiny import tiny_unet
from tests.peers_data import write_family
from tests.tiny_base import save_tiny_base, tiny_pipeline
from tests.tiny_clip import tiny_decoder, with_clip
from train.assemble import base_pipeline
from train.checkpoint import whole_checkpoints
from train.command import main
from train.config import RunConfig
from train.flops import flops_per_item, steps_within
from train.objectives.base import Draws, Objective
from train.objectives.joint import SceneJointConfig
from train.objectives.peers import PeerConfig, PeerObjective
from train.recipes import FAMILIES
from train.shards import open_shards
from unicon.sampling.levels import add_noise, network_target
from unicon.sources import saved_adapters


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return str(save_tiny_base(tmp_path_factory.mktemp("base") / "tiny", {}))


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return write_family(tmp_path_factory.mktemp("family"))


class Silent(Specialist):
    """Answers with zeros, and keeps what it was asked."""

    sees_pictures = True

    def __init__(self, *own):
        super().__init__()
        self.own = own
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.last: PeerInput | None = None

    def forward(self, asked: PeerInput) -> torch.Tensor:
        self.last = asked
        return torch.zeros_like(asked.x) * self.weight

    @classmethod
    def on(cls, unet, factor):
        return cls("joint")

    @classmethod
    def load(cls, folder, unet):
        return cls("joint")

    def save(self, folder):
        pass


def objective(family, base, direction="joint", **changes) -> PeerObjective:
    made = PeerConfig(peer="controlnet", base=base, **changes).build(family)
    return PeerObjective(made.config, Silent(direction), made.schedule, made.examples, made.pictures)


def drawn(made: Objective, items: np.ndarray) -> Draws:
    return made.draw(torch.Generator().manual_seed(0), torch.from_numpy(items))


@pytest.mark.parametrize(
    ("direction", "given", "parts"),
    [
        ("generate", CONDITION, ["image"]),
        ("estimate", IMAGE, ["condition"]),
        ("joint", None, ["image", "condition"]),
    ],
)
def test_what_is_given_is_clean_and_the_error_is_of_the_rest(family, base, direction, given, parts):
    made, items = objective(family, base, direction), np.arange(4)
    draws = drawn(made, items)
    loss, found = made(items, draws)
    seen = made.peer.last
    read = made.examples.read(items, draws)
    assert list(found) == parts
    noise = draws["noise"].transpose(0, 1)
    errors = []
    for branch in (IMAGE, CONDITION):
        if branch == given:
            assert bool(seen.levels.is_clean[branch].all())
            assert torch.equal(seen.x[branch], read.latents[branch])
            continue
        assert not bool(seen.levels.is_clean[branch].any())
        level = seen.levels[branch]
        torch.testing.assert_close(seen.x[branch], add_noise(read.latents[branch], noise[branch], level))
        target = network_target(read.latents[branch], noise[branch], level, "v_prediction")
        errors.append(target.square().mean(dim=(1, 2, 3)))
    torch.testing.assert_close(loss, torch.stack(errors).mean(0))
    if given is None:  # always one level
        assert torch.equal(seen.levels.timestep[IMAGE], seen.levels.timestep[CONDITION])


def test_maps_are_the_pixels_of_the_scenes_whose_latents_are_seen(family, base):
    made, items = objective(family, base, "generate"), np.array([5, 0])
    made(items, drawn(made, items))
    pixels = open_shards(family / "scenes").gather("depth", items)
    torch.testing.assert_close(made.peer.last.maps[:, 1], torch.from_numpy(pixels).float() / 255)
    posed = objective(family, base, "generate", maps="pose")
    draws = drawn(posed, items)
    draws["posed"] = torch.zeros(2)  # always a scene that shows a figure: the fourth
    posed(items, draws)
    assert torch.equal(posed.peer.last.x[CONDITION, 0], posed.peer.last.x[CONDITION, 1])
    pixels = open_shards(family / "scenes").row("pose", 3)
    exact = torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(posed.peer.last.maps[0], exact)


def test_a_map_is_estimated_without_its_caption_and_others_lose_theirs_sometimes(family, base):
    items = np.arange(4)
    made = objective(family, base, "estimate", caption_dropout=0.0)
    made(items, drawn(made, items))
    assert torch.equal(made.peer.last.texts[CONDITION], made.examples.bare[1].expand(4, -1, -1))
    made = objective(family, base, "joint", caption_dropout=0.5)
    draws = drawn(made, items)
    draws["uncaptioned"] = torch.tensor([0.4, 0.6, 0.4, 0.6])
    made(items, draws)
    read = made.examples.read(items, draws)
    for branch in (IMAGE, CONDITION):
        bare = [torch.equal(t, read.bare[branch]) for t in made.peer.last.texts[branch]]
        assert bare == [True, False, True, False]


def test_scenes_of_other_latents_are_refused(family, base, tmp_path):
    other = write_family(tmp_path, num=4)
    with pytest.raises(ValueError, match=r"holds other scenes \(4\) than --latents latents \(8\)"):
        PeerConfig(peer="t2i", base=base, scenes=str(other / "scenes")).build(family)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peer": "control"}, "no peer of kind 'control'"),
        ({"peer": "t2i", "maps": "lowres"}, "maps is 'lowres'; expected depth, edge or pose"),
        ({"peer": "t2i", "caption_dropout": 1.5}, "caption_dropout must be a number from 0 to 1, got 1.5"),
        ({"peer": "t2i", "levels": "cubik"}, "did you mean cubic?"),
    ],
)
def test_bad_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        PeerConfig(**fields)


def test_a_whole_base_serves_without_what_is_grafted_on_it(tmp_path):
    base, whole = str(tmp_path / "tiny"), with_clip(tiny_pipeline(tmp_path / "words"))
    whole.add_decoder(tiny_decoder(whole))
    whole.save_pretrained(base)
    pipe = base_pipeline(tmp_path, base)
    assert not pipe.adapters
    assert pipe.decoder is None
    assert saved_adapters(base)
    exact = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    assert pipe.unet.state_dict().keys() == exact.state_dict().keys()
    with pytest.raises(OSError, match="nowhere"):
        base_pipeline(tmp_path, "nowhere")


def command(stage: str, family, base: str, out, *more: str) -> list[str]:
    places = ["--base", base, "--latents", str(family / "latents"), "--out", str(out)]
    places += [] if stage in ("joint", "tied") else ["--scenes", str(family / "scenes")]
    loop = ["--steps", "2", "--batch_size", "2", "--mixed_precision", "no", "--num_scenes", "8"]
    return [f"peers/{stage}", *places, *loop, *more]


@pytest.mark.parametrize(
    "stage", [stage for stage, what in FAMILIES["peers"].items() if isinstance(what, RunConfig)]
)
def test_every_peer_trains_by_name_and_continues(stage, family, base, tmp_path):
    more = ["--rank", "2"] if stage in ("joint", "tied") else []
    assert main(command(stage, family, base, tmp_path, *more)) == 0
    export = tmp_path / stage / "export"
    if stage in SPECIALISTS:
        peer, card = load_peer(export, tiny_unet())
        assert (card.kind, card.condition, card.trigger) == (stage, "depth", "depth map, ")
        assert isinstance(peer, SPECIALISTS[stage])
    else:
        assert json.loads((export / "config.json").read_text())["condition"] == "depth"
    more += ["--steps", "3"]
    assert main(command(stage, family, base, tmp_path, *more)) == 0
    assert whole_checkpoints(tmp_path / stage / "checkpoints")[-1][0] == 3


# --- what a step computes ---------------------------------------------------------------------------------


class Products(Objective):
    """Two layers of 8 x 8 on 5 rows per item, the first of them frozen."""

    def __init__(self, *, frozen: bool):
        super().__init__()
        self.first, self.second = (torch.nn.Linear(8, 8, bias=False) for _ in range(2))
        self.first.requires_grad_(not frozen)

    @property
    def num_items(self) -> int:
        return 10

    def draw(self, generator, items):
        return Draws(x=torch.randn(len(items), 5, 8, generator=generator))

    def forward(self, items, draws):
        return self.second(self.first(draws["x"])).square().mean(dim=(1, 2)), {}

    def export(self, folder):
        pass


def test_operations_are_those_of_the_products():
    product = 2 * 5 * 8 * 8  # of one layer and item, once through
    # Two forward, and backward the gradient of each trained weight; of the second's input, if that goes on.
    assert flops_per_item(Products(frozen=True)) == 3 * product
    assert flops_per_item(Products(frozen=False)) == 5 * product


def test_attention_is_counted(family, base):
    """In an objective whose network attends by a fused operation."""
    made = PeerConfig(peer="marigold", base=base).build(family)
    plain = flops_per_item(made)
    from diffusers.models.attention_processor import AttnProcessor2_0

    made.peer.network.set_attn_processor(AttnProcessor2_0())
    assert flops_per_item(made) == pytest.approx(plain, rel=1e-6)


def test_costs_are_in_the_order_of_what_is_computed(family, base):
    costs = {k: flops_per_item(PeerConfig(peer=k, base=base).build(family)) for k in SPECIALISTS}
    one = flops_per_item(PeerConfig(peer="marigold", base=base).build(family))
    assert costs["marigold"] == one  # and nothing is left of counting
    assert costs["t2i"] < costs["controlnet"]
    assert costs["marigold"] < costs["jointnet"]
    ours = SceneJointConfig(condition="depth", maps="depth", base=base, rank=2)
    few, many = (flops_per_item(replace(ours, rank=rank).build(family)) for rank in (2, 8))
    assert few < many


def test_a_budget_becomes_steps_of_equal_cost():
    budget = 360 * 24 * 7e9
    assert steps_within(budget, 7e9, 24) == 360
    for cost in (3e9, 1.1e10):
        assert steps_within(budget, cost, 24) * 24 * cost == pytest.approx(budget, rel=0.005)
    assert steps_within(budget / 3, 7e9, 24) == 120
    with pytest.raises(ValueError, match="less than one step of 24 items"):
        steps_within(1e9, 7e9, 24)
