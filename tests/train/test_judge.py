"""Does the judge learn the truth of the picture it sees, mirrored and changed as it is?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eval.judge import Seen, load_judge_network
from train.config import LoopConfig, RunConfig
from train.loop import fit
from train.objectives.judge import JudgeConfig, blurred, changed, depth_error
from train.shards import write_shard
from unicon.data.scenes import FAR_M

SIDE = 32
NUM = 4


@pytest.fixture
def family(tmp_path):
    """Scenes whose picture shows their depth and edge; the last alone has a figure."""
    rng = np.random.default_rng(0)
    joints = np.full((NUM, 6, 18, 3), np.nan, np.float32)
    joints[3, 0, :, :2] = rng.uniform(4, 28, (18, 2))
    joints[3, 0, :, 2] = 1
    metres = np.linspace(1, 8, SIDE * SIDE).reshape(1, SIDE, SIDE) * rng.uniform(0.5, 2, (NUM, 1, 1))
    image = np.repeat((255 * metres / metres.max())[..., None], 3, -1).astype(np.uint8)
    edge = np.zeros((NUM, SIDE, SIDE), np.uint8)
    edge[:, :, 5], image[:, :, 5, 0] = 255, 0
    write_shard(
        tmp_path / "scenes" / "shard_000000",
        {"image": image, "metres": metres.astype(np.float16), "edge": edge, "depth": edge, "joints": joints},
        {"captions": ["a scene"] * NUM, "second_captions": ["a scene"] * NUM},
    )
    return tmp_path


def tiny(**settings) -> JudgeConfig:
    return JudgeConfig(**{"channels": (8, 8), "blocks": (1, 1), "num_scenes": NUM, **settings})


def drawn(objective, num=NUM, **given):
    draws = objective.draw(torch.Generator().manual_seed(0), torch.arange(num))
    for name, value in given.items():
        draws[name] = torch.full_like(draws[name], value)
    return draws


@pytest.mark.slow
def test_it_learns_and_its_export_is_a_judge(family, tmp_path):
    config = tiny(blurred=0.0, noisy=0.0, tint=0.0, pose_weight=3.0)
    objective = config.build(family)
    before = objective(np.arange(NUM), drawn(objective))[1]
    loop = LoopConfig(
        steps=300, batch_size=4, learning_rate=1e-2, warmup_steps=5, ema_decay=0.0, mixed_precision="no"
    )
    assert fit(objective, RunConfig(name="judge", objective=config, loop=loop), tmp_path / "run")
    after = objective(np.arange(NUM), drawn(objective))[1]
    for name, share in {"depth": 0.6, "edge": 0.6, "pose": 0.85}.items():
        assert after[name].mean() < share * before[name].mean()
    judge = load_judge_network(tmp_path / "run" / "export")
    seen = judge(objective._rows("image", np.arange(NUM)).movedim(-1, 1) / 255)
    assert (seen.edges[..., 5] > 0).float().mean() > 0.9
    assert (seen.edges[..., 9:] < 0).float().mean() > 0.9


def test_a_mirrored_picture_has_a_mirrored_truth(family):
    objective = tiny(blurred=0.0, noisy=0.0, tint=0.0, posed_share=0.0).build(family)
    truth = {}

    class _Spy(torch.nn.Module):
        def forward(self, pictures):
            truth["pictures"] = pictures
            return self.judge(pictures)

    spy = _Spy()
    spy.judge = objective.judge
    objective.judge = spy
    objective(np.array([3]), drawn(objective, 1, flip=0.9))
    straight = truth["pictures"]
    objective(np.array([3]), drawn(objective, 1, flip=0.1))
    torch.testing.assert_close(truth["pictures"], straight.flip(-1))
    joints, limbs = objective._heat(np.array([3]), [False])
    mirrored, mirrored_limbs = objective._heat(np.array([3]), [True])
    torch.testing.assert_close(mirrored[0, 7], joints[0, 4].flip(-1))  # left and right wrist
    torch.testing.assert_close(mirrored_limbs[0, 5], limbs[0, 3].flip(-1), atol=1e-5, rtol=1e-4)


def test_figures_are_seen_as_often_as_asked(family):
    objective = tiny(posed_share=1.0).build(family)
    seen = []
    objective._heat = lambda items, flips: (
        seen.extend(items)
        or (
            torch.zeros(NUM, 18, 16, 16),
            torch.zeros(NUM, 17, 16, 16),
        )
    )
    objective(np.arange(NUM), drawn(objective))
    assert seen == [3] * NUM


def test_depth_is_forgiven_a_factor_mostly():
    metres = torch.rand(2, SIDE, SIDE) * 6 + 1
    metres[1, :8] = FAR_M

    def error(depth):
        nothing = torch.zeros(2, 1)
        return depth_error(Seen(log_depth=depth.log(), edges=nothing, joints=nothing, limbs=nothing), metres)

    torch.testing.assert_close(error(metres), torch.zeros(2))
    assert error(1.1 * metres)[0].item() == pytest.approx(0.3 * np.log(1.1), abs=1e-3)
    assert error(1.1 * metres)[0] < 0.5 * error(metres * (1 + 0.2 * torch.rand(2, SIDE, SIDE)))[0]
    nearer_sky = torch.where(metres == FAR_M, 20.0, metres)
    assert error(nearer_sky)[0].item() == pytest.approx(0, abs=1e-5)
    assert error(nearer_sky)[1] > 0.01


def test_each_picture_has_its_own_blur():
    point = torch.zeros(3, 3, 21, 21)
    point[:, :, 10, 10] = 1
    soft = blurred(point, torch.tensor([0.0, 1.0, 1.5]))
    torch.testing.assert_close(soft[0], point[0])
    torch.testing.assert_close(soft.sum(dim=(2, 3)), torch.ones(3, 3))
    place = torch.arange(21.0) - 10
    spread = (soft.sum(dim=2) * place**2).sum(-1).sqrt()[:, 0]
    torch.testing.assert_close(spread[1:], torch.tensor([1.0, 1.5]), atol=0.02, rtol=0)


def test_pictures_are_changed_as_drawn(family):
    config = tiny()
    objective = config.build(family)
    pictures = torch.rand(2, 3, SIDE, SIDE)
    same = changed(pictures, drawn(objective, 2, tint=0.0, blurred=0.9, noisy=0.9), config)
    torch.testing.assert_close(same, pictures, atol=1e-4, rtol=1e-4)
    noisy = changed(pictures, drawn(objective, 2, tint=0.0, blurred=0.9, noisy=0.0, noise_level=0.5), config)
    assert 0.02 < (noisy - pictures).std() < 0.045
    tinted = changed(pictures, drawn(objective, 2, blurred=0.9, noisy=0.9), config)
    assert (tinted - pictures).abs().max() > 0.03
    assert 0 <= tinted.min() <= tinted.max() <= 1
