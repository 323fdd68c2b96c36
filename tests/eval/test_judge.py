"""Does the judge answer for every pixel, and is what is no judge refused?"""

from __future__ import annotations

import json

import pytest
import torch

from eval.judge import Judge, load_judge_network
from tests.tiny_judge import save_tiny_judge, tiny_judge


def test_it_answers_for_every_pixel_and_cell():
    seen = tiny_judge()(torch.rand(2, 3, 16, 24))
    assert seen.log_depth.shape == seen.edges.shape == (2, 16, 24)
    assert seen.joints.shape == (2, 18, 8, 12)
    assert seen.limbs.shape == (2, 17, 8, 12)


def test_untaught_it_answers_what_is_usual():
    torch.manual_seed(0)
    judge = Judge(channels=(8, 8), blocks=(1, 1))
    torch.nn.init.zeros_(judge.head.weight)
    seen = judge(torch.rand(1, 3, 8, 8))
    assert seen.log_depth.exp().mean().item() == pytest.approx(4.06, abs=0.01)
    assert seen.joints.sigmoid().max() < 0.01


def test_a_stored_judge_answers_the_same(tmp_path):
    loaded = load_judge_network(save_tiny_judge(tmp_path))
    half = tiny_judge().half().float()
    pictures = torch.rand(1, 3, 8, 8)
    assert not loaded.training
    assert next(loaded.parameters()).dtype == torch.float32
    torch.testing.assert_close(loaded(pictures).edges, half(pictures).edges)


def test_what_is_no_judge_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is no judge: its config.json is missing or another's"):
        load_judge_network(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))
    with pytest.raises(ValueError, match="is no judge"):
        load_judge_network(tmp_path)
    with pytest.raises(ValueError, match="must be equally many"):
        Judge(channels=(8, 8), blocks=(1,))
