"""Loading and saving, other pipelines' folders, number formats, offloading."""

from __future__ import annotations

import json

import accelerate
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from huggingface_hub.utils import filter_repo_objects

import unicon.sources
from adapters import JointAdapter, save_adapter
from adapters.joint import GraftedProcessor
from tests.adapters.tiny import config, sdxl_like_unet, tiny_unet, trained
from tests.pipeline.conftest import ROUNDING, call
from tests.tiny_base import SCHEDULER, tiny_pipeline, tiny_vae
from unicon import UniConPipeline

OFFSET = DDIMScheduler(**SCHEDULER, steps_offset=1)
"""What StableDiffusionPipeline insists on; without meaning in trailing spacing."""


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def folder(pipe, tmp_path_factory):
    pipe.add_adapter(trained(pipe.unet, config(), seed=9), "depth_two")
    path = tmp_path_factory.mktemp("saved") / "base"
    pipe.save_pretrained(path)
    pipe.unload_adapter("depth_two")
    return path


def test_round_trip_with_adapters_under_their_names(pipe, folder, depth):
    loaded = quiet(UniConPipeline.from_pretrained(folder))
    assert set(loaded.adapters) == {*pipe.adapters, "depth_two"}
    drawn = [call(each, "a dog", depth=depth).images for each in (pipe, loaded)]
    np.testing.assert_allclose(*drawn, atol=ROUNDING)
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == "UniConPipeline"
    assert index["safety_checker"] == [None, None]


def test_adapters_that_are_named_are_loaded_alone(folder, tmp_path, monkeypatch):
    bare = UniConPipeline.from_pretrained(folder, adapters=())
    assert bare.adapters == {}
    assert not any(isinstance(each, GraftedProcessor) for each in bare.unet.attn_processors.values())
    assert list(UniConPipeline.from_pretrained(folder, adapters=["pose", "depth"]).adapters) == [
        "pose",
        "depth",
    ]
    monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", None)  # said before anything is loaded
    with pytest.raises(ValueError, match="brings no 'lines' and no 'd', only appearance, depth, depth_two, "):
        UniConPipeline.from_pretrained(folder, adapters=("lines", "pose", "d"))
    (tmp_path / "base.safetensors").touch()
    with pytest.raises(ValueError, match="brings no 'depth', only none; load one from elsewhere"):
        UniConPipeline.from_pretrained(tmp_path / "base.safetensors", adapters="depth")


def test_a_stale_adapter_is_not_saved_over(pipe, folder):
    with pytest.raises(
        ValueError, match="base holds depth_two, not loaded here; remove it, or save elsewhere"
    ):
        pipe.save_pretrained(folder)


def test_the_unet_is_saved_without_adapters(folder):
    UNet2DConditionModel.from_pretrained(folder / "unet", output_loading_info=False)
    from safetensors.torch import load_file

    names = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert not [name for name in names if "processor" in name]


def test_half_precision(folder, photo):
    loaded = quiet(UniConPipeline.from_pretrained(folder, dtype=torch.bfloat16))
    assert {p.dtype for p in loaded.unet.parameters()} == {torch.bfloat16}
    out = call(loaded, image=photo, outputs=["depth"], output_type="latent")
    assert out.conditions["depth"].dtype == torch.float32
    exact = quiet(UniConPipeline.from_pretrained(folder))
    reference = call(exact, image=photo, outputs=["depth"], output_type="latent").conditions["depth"]
    assert (out.conditions["depth"] - reference).abs().mean() < 0.1 * reference.abs().mean()


def test_a_stable_diffusion_folder_with_a_safety_checker(pipe, folder, tmp_path, photo):
    sd = StableDiffusionPipeline(
        vae=pipe.vae, text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer, unet=pipe.unet,
        scheduler=OFFSET, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    sd.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["requires_safety_checker"] = True
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    loaded = quiet(UniConPipeline.from_pretrained(tmp_path))
    assert loaded.adapters == {}
    assert loaded.safety_checker is None
    loaded.load_adapter(folder / "adapters" / "depth")
    loaded.load_adapter(folder / "adapters" / "depth", "second")
    assert set(loaded.adapters) == {"depth", "second"}
    told = [call(each, image=photo, outputs=["depth"]).maps["depth"] for each in (loaded, pipe)]
    np.testing.assert_allclose(*told, atol=ROUNDING)


def test_from_pipe_shares_the_base(pipe, depth):
    sd = StableDiffusionPipeline.from_pipe(
        pipe, scheduler=OFFSET, safety_checker=None, feature_extractor=None
    )
    sd.set_progress_bar_config(disable=True)
    drawn = sd("a dog", num_inference_steps=2, height=32, width=32, output_type="np").images
    assert np.isfinite(drawn).all()
    back = quiet(UniConPipeline.from_pipe(sd))
    assert back.unet is pipe.unet
    assert np.array_equal(call(back, "a dog", depth=depth).images, call(pipe, "a dog", depth=depth).images)


@pytest.mark.parametrize("way", ["enable_model_cpu_offload", "enable_sequential_cpu_offload"])
def test_offload(tmp_path, photo, depth, way, monkeypatch):
    offload = accelerate.cpu_offload
    # diffusers says "cpu:0", which to torch is another device than the "cpu" that weights are on.
    plain = torch.device("cpu")
    monkeypatch.setattr("accelerate.cpu_offload", lambda m, device, **options: offload(m, plain, **options))
    pipe = tiny_pipeline(tmp_path)
    estimate = {"image": photo, "outputs": ["depth"], "mirrored": True}
    calls = [{"depth": depth, "guidance_scale": 2.0}, estimate]
    before = [call(pipe, "a dog", **arguments) for arguments in calls]
    getattr(pipe, way)(device="cpu")
    for _ in range(2):  # hooks are set up anew after a call
        after = [call(pipe, "a dog", **arguments) for arguments in calls]
        assert np.allclose(before[0].images, after[0].images, atol=1e-5)
        assert np.allclose(before[1].maps["depth"], after[1].maps["depth"], atol=1e-5)
    if way == "enable_sequential_cpu_offload":
        assert all(p.is_meta for p in pipe.unet.parameters())
        with pytest.raises(ValueError, match="load adapters before enable_sequential_cpu_offload"):
            pipe.add_adapter(JointAdapter.for_unet(tiny_unet(), config()), "late")


def test_where_bases_and_adapters_are_looked_for(pipe, tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match="base './nowhere': no such folder or file; give 'mini', a diffusers folder"
    ):
        UniConPipeline.from_pretrained("./nowhere")
    with pytest.raises(ValueError, match="no such folder; give an adapter's folder, or OWNER/NAME/FOLDER"):
        pipe.load_adapter("nowhere")
    with pytest.raises(ValueError, match=r"config.json does not exist: an adapter folder holds"):
        pipe.load_adapter(tmp_path)
    asked, both = [], ["adapters/*", "styles/*", "decoder/*", "prior/*", "prior_ar/*"]

    def download(repository, **options):
        asked.append((repository, options["allow_patterns"]))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    save_adapter(trained(pipe.unet, config()), tmp_path / "adapters" / "depth")
    assert unicon.sources.find_adapter("owner/name/adapters/depth") == tmp_path / "adapters" / "depth"
    assert unicon.sources.find_adapter("owner/name") == tmp_path
    assert set(unicon.sources.saved_with("owner/name").adapters) == {"depth"}
    assert asked == [("owner/name", "adapters/depth/*"), ("owner/name", None), ("owner/name", both)]


def test_of_a_base_on_the_hub_only_the_adapters_that_are_asked_for_are_downloaded(monkeypatch):
    class Asked(Exception):
        """Which of these files."""

    parts = ("config.json", "adapter.safetensors")
    depth, edge = ({f"adapters/{name}/{part}" for part in parts} for name in ("depth", "edge"))
    others = {"styles/ink.safetensors", "decoder/config.json"}
    there = {*depth, *edge, *others, "unet/config.json"}

    def download(repository, *, allow_patterns, **_):
        raise Asked(*filter_repo_objects(sorted(there), allow_patterns=allow_patterns))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    told = {"adapters/depth/config.json", "adapters/edge/config.json"}  # an error names what is there
    for adapters, files in ((None, depth | edge), ((), told), ("depth", depth | told)):
        with pytest.raises(Asked) as asked:
            UniConPipeline.from_pretrained("owner/name", adapters=adapters)
        assert set(asked.value.args) == files | others


def test_mini_is_the_packaged_folder(folder, monkeypatch):
    monkeypatch.setattr("unicon.mini.mini_folder", lambda: folder)
    assert UniConPipeline.from_pretrained("mini").vae_scale_factor == 4


def test_bases_that_do_not_fit(pipe):
    parts = {k: v for k, v in pipe.components.items() if v is not None}
    with pytest.raises(ValueError, match="is told 7 pooled numbers beside its prompt"):
        UniConPipeline(**{**parts, "unet": sdxl_like_unet()})
    with pytest.raises(ValueError, match="takes 9 channels, its VAE makes 4: use the plain text-to-image"):
        UniConPipeline(**{**parts, "unet": tiny_unet(in_channels=9)})
    assert UniConPipeline(**{**parts, "vae": tiny_vae()}).vae_scale_factor == 4
