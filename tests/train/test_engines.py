"""Is what FSDP and DeepSpeed cannot do refused alike, by name, and before anything is read or encoded?"""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from accelerate.utils import DistributedType

from tests.train.line import Line, LineConfig, config
from train.command import main
from train.engines import DEEPSPEED, FSDP, asked_for
from train.spread import configure
from train.stepping import Stepper

ENGINES = pytest.mark.parametrize("engine", [FSDP, DEEPSPEED], ids=lambda engine: engine.name)

REFUSED = [
    (["--optimizer", "muon"], "--optimizer muon under {}, which .*: choose --optimizer adamw, or --launch="),
    (["--optimizer", "prodigy", "--learning_rate", "1"], "--optimizer prodigy under {}, which"),
    (["--mixed_precision", "fp16"], "--mixed_precision fp16 under {}: choose bf16 or no"),
]


@pytest.fixture(autouse=True)
def nothing_asked_for(monkeypatch):
    for engine in (FSDP, DEEPSPEED):
        monkeypatch.delenv(engine.flag, raising=False)


@ENGINES
@pytest.mark.parametrize("fields, said", REFUSED, ids=["muon", "prodigy", "fp16"])
def test_fields_are_refused_before_anything_is_read(engine, fields, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(engine.flag, "true")
    assert asked_for() is engine
    out = tmp_path / "out"
    assert main(["adapter", "--data", "nowhere", "--condition", "depth", *fields, "--out", str(out)]) == 2
    assert re.search(said.format(engine.name), capsys.readouterr().err)
    assert not out.exists()


@ENGINES
def test_a_stepper_refuses_them_too(engine, monkeypatch):
    monkeypatch.setenv(engine.flag, "true")
    for loop, said in (({"optimizer": "muon"}, "muon"), ({"mixed_precision": "fp16"}, "fp16")):
        with pytest.raises(ValueError, match=f"{said} under {engine.name}"):
            Stepper(Line(LineConfig()), config(**loop).loop)


@pytest.mark.parametrize(
    "recipe, said",
    [
        ("decoder", "DataDecoderTraining under FSDP, which spreads tensors that lie in one place"),
        ("mini-fast/decoder", "SceneDecoderTraining under FSDP, which spreads tensors"),
        ("prior-ar", "DataArPriorConfig under FSDP, which spreads networks by their blocks"),
        ("mini-fast/vae", "VaeConfig under FSDP, which spreads networks by their blocks"),
    ],
)
def test_what_fsdp_cannot_spread_is_refused_by_name(recipe, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(FSDP.flag, "true")
    assert main([recipe, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert f"a run of {said}" in told
    assert 'choose --launch="--config_file ddp"' in told
    assert not (tmp_path / "out").exists()


@ENGINES
def test_an_engine_that_accelerate_did_not_start_is_missed(engine):
    with pytest.raises(ValueError, match=f"under {engine.name}, .* on GPUs alone, .*: choose --processes N"):
        engine.check_started(SimpleNamespace(distributed_type=DistributedType.MULTI_CPU))
    engine.check_started(SimpleNamespace(distributed_type=engine.kind))


def test_fsdps_first_version_is_refused():
    for plugin in (SimpleNamespace(fsdp_version=1), SimpleNamespace()):
        with pytest.raises(ValueError, match="FSDP's version 1: only version 2 is supported; .* fsdp2"):
            configure(plugin)
    plugin = SimpleNamespace(fsdp_version=2, mixed_precision_policy=None)
    configure(plugin)
    assert plugin.mixed_precision_policy.param_dtype is None  # float32 stays float32


def test_without_either_nothing_is_refused():
    assert asked_for() is None
