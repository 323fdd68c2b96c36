"""How do adapters and bases go to the hub and come back, and what is said when they cannot?"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import yaml
from huggingface_hub.errors import HfHubHTTPError

from adapters import ImageLora, save_lora
from adapters.base import geometry
from adapters.image_lora import matrix_names
from tests.adapters.tiny import FIXTURES
from tests.tiny_base import save_tiny_base, tiny_pipeline
from unicon import UniConPipeline
from unicon.cards import Origin, card, write_card
from unicon.cli.levels import base_schedule
from unicon.conditions.annotators import open_annotator
from unicon.data.captioner import Captioner
from unicon.sources import (
    HubPlace,
    explained,
    find_adapter,
    find_base,
    find_style,
    hub_commit,
    located,
    named,
    without_network,
)

COMMITS = {"main": "0123456789abcdef0123456789abcdef01234567", "old": "89abcdef" * 5}


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """(put a folder of a repository into the hub's cache at a branch): as if it had been downloaded."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("diffusers.utils.constants.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)

    def cached(repository: str, branch: str = "main") -> Path:
        root = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        (root / "refs").mkdir(parents=True, exist_ok=True)
        (root / "refs" / branch).write_text(COMMITS[branch])
        place = root / "snapshots" / COMMITS[branch]
        place.mkdir(parents=True)
        return place

    return cached


def test_published_checkpoints_are_recognised(tmp_path):
    pipe = tiny_pipeline(tmp_path / "words")
    with pytest.raises(ValueError, match=r"attn2.k.down has shape \(4, 16\), the config says \(4, 12\)"):
        pipe.load_adapter(FIXTURES / "depth", "published")
    with pytest.raises(ValueError, match="trigger words of its own"):
        pipe.load_adapter(save_tiny_base(tmp_path / "base") / "adapters" / "depth", "again", trigger="x, ")


def test_an_adapter_is_uploaded_with_its_card(tmp_path, monkeypatch):
    pipe = UniConPipeline.from_pretrained(save_tiny_base(tmp_path / "base"))
    sent = {}

    class Api:
        def __init__(self, token):
            sent["token"] = token

        def create_repo(self, repository, private, exist_ok):
            sent["repository"] = repository

        def upload_folder(self, repo_id, folder_path, path_in_repo, commit_message):
            sent["files"] = sorted(p.name for p in Path(folder_path).iterdir())
            sent["place"] = path_in_repo
            assert "Base: base. " in (Path(folder_path) / "README.md").read_text()
            return SimpleNamespace(commit_url="address")

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    assert pipe.push_adapter_to_hub("depth", "me/mine", folder="depth", token="secret") == "address"
    assert sent == {
        "token": "secret", "repository": "me/mine", "place": "depth",
        "files": ["README.md", "adapter.safetensors", "config.json"],
    }  # fmt: skip
    with pytest.raises(ValueError, match="no adapter 'nothing' is loaded, only appearance, depth"):
        pipe.push_adapter_to_hub("nothing", "me/mine")


def test_the_card_says_what_is_known_and_names_what_is_not(tmp_path):
    config = tiny_pipeline(tmp_path / "words").adapters["depth"].config
    known = card(config, Origin(base="someone/base", data="rooms", licence="cc0-1.0"))
    header = yaml.safe_load(known.split("---")[1])
    assert (header["base_model"], header["license"]) == ("someone/base", "cc0-1.0")
    assert "Trained on rooms." in known
    told = card(config, Origin(base="someone/base@v2", commit=COMMITS["old"]))
    assert yaml.safe_load(told.split("---")[1])["base_model"] == "someone/base"
    assert f"Base: someone/base@v2, commit {COMMITS['old']}." in told
    (tmp_path / "rooms").mkdir()
    ours = card(config, Origin(base=find_base("mini"), data=str(tmp_path / "rooms")))
    assert 'from_pretrained("mini")' in ours
    assert "Trained on rooms." in ours
    assert "Trained on {0..9}.tar." in card(config, Origin(data="/home/me/{0..9}.tar"))
    unknown = card(config, Origin())
    assert "Base: unknown" in unknown
    assert "data that is not recorded" in unknown
    assert "base_model" not in yaml.safe_load(unknown.split("---")[1])
    path = write_card(tmp_path, config, origin=Origin())
    path.write_text("mine")
    assert write_card(tmp_path, config, origin=Origin()).read_text() == "mine"


def test_a_hub_id_that_cannot_be_had_says_how_to_fetch_it(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"someone/absent is not in .* cache.*hf download someone/absent"):
        UniConPipeline.from_pretrained("someone/absent")
    with pytest.raises(OSError), explained(str(FIXTURES)):
        raise OSError("a broken disk is no hub's fault")


def test_a_cached_hub_id_loads_without_a_network_and_its_commit_is_known(hub_cache, tmp_path):
    save_tiny_base(hub_cache("some/base"))
    tiny_pipeline(tmp_path / "words").unet.save_pretrained(tmp_path / "unet")
    pipe = UniConPipeline.from_pretrained("some/base", cache_dir=tmp_path / "hub")
    assert (pipe.commit, list(pipe.adapters)) == (COMMITS["main"], ["appearance", "depth", "edge", "pose"])


def test_weights_cut_short_are_named_with_what_brings_them_back(hub_cache):
    folder = hub_cache("some/base")
    save_tiny_base(folder)
    weights = folder / "text_encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    name = "text_encoder/model.safetensors"
    with pytest.raises(ValueError, match=rf"{name} is damaged or cut short \(.*\): copy it again"):
        UniConPipeline.from_pretrained(folder)
    with pytest.raises(ValueError, match=rf"run `hf download some/base {name} --force-download`"):
        UniConPipeline.from_pretrained("some/base")
    with pytest.raises(ValueError, match=rf"{name} is damaged or cut short .*: copy or download it again"):
        UniConPipeline.from_single_file(weights)


@pytest.mark.parametrize("how", [("some/base@old", None), ("some/base", "old"), ("some/base@old", "old")])
def test_a_revision_is_part_of_the_name_or_given_beside_it(hub_cache, tmp_path, how):
    for branch in COMMITS:
        save_tiny_base(hub_cache("some/base", branch))
    name, revision = how
    pipe = UniConPipeline.from_pretrained(name, revision=revision, cache_dir=tmp_path / "hub")
    assert pipe.commit == COMMITS["old"]
    with pytest.raises(ValueError, match="'some/base@old': revision 'main' is given as well; give one of"):
        UniConPipeline.from_pretrained("some/base@old", revision="main")


def test_the_command_fetches_exactly_what_is_missing(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    commands = {
        lambda: UniConPipeline.from_pretrained("some/absent@v2"): "hf download some/absent --revision v2`",
        lambda: UniConPipeline.from_pretrained("some/absent", revision="v2"): "some/absent --revision v2`",
        lambda: find_adapter("some/absent"): "`hf download some/absent`",
        lambda: find_adapter("some/absent/depth"): r"hf download some/absent --include 'depth/\*'`",
        lambda: find_adapter("some/absent@v2/depth"): r"absent --include 'depth/\*' --revision v2`",
        lambda: find_style("some/absent"): "`hf download some/absent pytorch_lora_weights.safetensors`",
        lambda: find_style("some/absent/ink.safetensors"): "`hf download some/absent ink.safetensors`",
    }
    for load, command in commands.items():
        with pytest.raises(ValueError, match=f"is not in this machine's cache.*{command}"):
            load()


class NoSuchPlace(HfHubHTTPError):
    """An answer, without the response that its libraries would put into it."""

    def __init__(self):
        Exception.__init__(self, "there is no such place")


def test_a_hub_that_does_not_answer_is_asked_once_and_briefly(monkeypatch, tmp_path):
    asked = []

    class Api:
        def model_info(self, repository, timeout):
            asked.append((repository, timeout))
            raise answer

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    answer = OSError("no route to host")
    assert without_network("a/b@v2/c")
    answer = NoSuchPlace()
    assert not without_network("a/b")
    assert asked == [("a/b", 10), ("a/b", 10)]
    assert not without_network(str(tmp_path))
    assert len(asked) == 2  # a folder is not asked for


@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks` argument:UserWarning")  # diffusers'
@pytest.mark.parametrize("load", [
    lambda: open_annotator("pose", "dwpose"), lambda: open_annotator("depth"), lambda: Captioner(),
    lambda: find_style("a/b/c.safetensors"), lambda: find_adapter("a/b/c"), lambda: base_schedule("a/b"),
    lambda: UniConPipeline.from_pretrained("a/b"),
])  # fmt: skip
def test_without_a_network_the_command_is_told_within_seconds(load, monkeypatch, tmp_path):
    """With a name server that knows nobody, and without the environment's word that it is offline."""

    def nobody(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    begun = time.monotonic()
    with pytest.raises(ValueError, match="hf download"):
        load()
    assert time.monotonic() - begun < 15  # six askings alone take 23


def test_a_folder_that_is_not_cached_is_not_said_to_be_missing_on_the_hub(hub_cache):
    (hub_cache("some/adapters") / "depth").mkdir()
    assert find_adapter("some/adapters/depth").name == "depth"
    with pytest.raises(
        ValueError, match=r"no folder 'edge' in what can be had .* now: .*--include 'edge/\*'`"
    ):
        find_adapter("some/adapters/edge")


def test_a_style_comes_from_the_hub_by_file_or_by_the_name_that_diffusers_gives_it(hub_cache, tmp_path):
    pipe = tiny_pipeline(tmp_path / "words")
    place, base = hub_cache("some/ink.drawing"), geometry(pipe.unet)
    lora = ImageLora(base, dict.fromkeys(matrix_names(base), 2))
    for file in ("pytorch_lora_weights.safetensors", "pen.safetensors"):
        save_lora(lora, place / file)
    pipe.load_style("some/ink.drawing/pen.safetensors")
    pipe.load_style("some/ink.drawing@main", "whole")
    pipe.load_style(str(place / "pen.safetensors"), "local")
    assert list(pipe.styles) == ["pen", "whole", "local"]
    pipe.unload_lora_weights()
    assert list(pipe.styles) == []
    pipe.load_lora_weights("some/ink.drawing", weight_name="pen.safetensors")
    pipe.load_lora_weights("some/ink.drawing@main", adapter_name="whole")
    pipe.load_lora_weights(place, adapter_name="folder")
    pipe.load_lora_weights(place, "pen.safetensors", "local")
    assert list(pipe.styles) == ["pen", "whole", "folder", "local"]


@pytest.mark.parametrize("text, parts", [
    ("a/b", ("a/b", None, "")), ("a/b@v1", ("a/b", "v1", "")), ("a/b/c/d", ("a/b", None, "c/d")),
    ("a/b@v1/c.safetensors", ("a/b", "v1", "c.safetensors")),
])  # fmt: skip
def test_places_on_the_hub_are_read(text, parts):
    place = HubPlace.read(text)
    assert (place.repository, place.revision, place.inside) == parts


@pytest.mark.parametrize("text", ["a", "/a/b", "./a", "~/a", "a/b@", "a/"])
def test_what_is_no_place_on_the_hub_is_named(text):
    with pytest.raises(ValueError, match="is no place on the hub; expected OWNER/NAME"):
        HubPlace.read(text)
    with pytest.raises(ValueError, match="no such file; give a .safetensors file, or OWNER/NAME/FILE"):
        find_style(text)
    with pytest.raises(ValueError, match="no such folder; give an adapter's folder, or OWNER/NAME/FOLDER"):
        find_adapter(text)


def test_words_about_data_are_told_as_they_are_however_long():
    words = "photographs " * 40
    assert named(words) == words
    for words in ("rooms/halls? both", "https://a.org/{0..9}.tar", "owner/name"):
        assert named(words) == words


def test_of_what_lies_on_this_machine_the_last_name_is_told(tmp_path, monkeypatch):
    assert named("secret/project/{0..9}.tar") == "{0..9}.tar"
    (tmp_path / "cfg").mkdir()
    file = tmp_path / "base.safetensors"
    file.touch()
    base = f"{file},config={tmp_path / 'cfg'}"
    assert find_base(base) == base
    assert named(base) == "base.safetensors,config=cfg"
    for wrong in (f"{file},config={tmp_path / 'none'}", f"{tmp_path},config={tmp_path}"):
        with pytest.raises(ValueError, match="expected FILE,config=FOLDER, a checkpoint's file and the"):
            find_base(wrong)
    (tmp_path / "model_index.json").write_text("{}")
    monkeypatch.setattr("unicon.mini.mini_folder", mock.Mock(side_effect=FileNotFoundError))
    assert named(str(tmp_path)) == tmp_path.name  # where mini is not installed


def test_a_folder_has_the_revision_it_is_given(tmp_path):
    assert located(str(tmp_path)) == (str(tmp_path), None)


def test_what_is_no_checkpoint_file_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    for name in ("notes.txt", "absent.safetensors"):
        with pytest.raises(ValueError, match="is no checkpoint"):
            UniConPipeline.from_single_file(tmp_path / name)


def test_the_commit_is_read_off_the_caches_path():
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert hub_commit(f"/cache/models--a--b/snapshots/{commit}/unet") == commit
    assert hub_commit(f"/cache/models--a--b/snapshots/{commit}") == commit
    assert hub_commit(Path(f"/cache/models--a--b/snapshots/{commit}/unet")) == commit
    assert hub_commit("bases/mine/unet") is None
