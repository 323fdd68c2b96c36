"""How do adapters and bases go to the hub and come back, and what is said when they cannot?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.adapters.tiny import FIXTURES
from tests.tiny_base import save_tiny_base, tiny_pipeline
from unicon import UniConPipeline
from unicon.cards import Origin, card, write_card
from unicon.sources import explained, hub_commit


def test_published_checkpoints_are_recognised(tmp_path):
    pipe = tiny_pipeline(tmp_path / "words")
    with pytest.raises(ValueError, match=r"attn2.k.down has shape \(4, 16\), the config says \(4, 12\)"):
        pipe.load_adapter(FIXTURES / "depth", "published")
    with pytest.raises(ValueError, match="trigger words of its own"):
        pipe.load_adapter(save_tiny_base(tmp_path / "base") / "adapters" / "depth", "again", trigger="x, ")


def test_an_adapter_is_uploaded_with_its_card(tmp_path, monkeypatch):
    pipe = tiny_pipeline(tmp_path / "words")
    sent = {}

    class Api:
        def __init__(self, token):
            sent["token"] = token

        def create_repo(self, repository, private, exist_ok):
            sent["repository"] = repository

        def upload_folder(self, repo_id, folder_path, path_in_repo, commit_message):
            sent["files"] = sorted(p.name for p in Path(folder_path).iterdir())
            sent["place"] = path_in_repo
            return SimpleNamespace(commit_url="address")

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    assert pipe.push_adapter_to_hub("depth", "me/mine", folder="depth", token="secret") == "address"
    assert sent == {
        "token": "secret", "repository": "me/mine", "place": "depth",
        "files": ["README.md", "adapter.safetensors", "config.json"],
    }  # fmt: skip
    with pytest.raises(ValueError, match="no adapter 'nothing' is loaded, only depth"):
        pipe.push_adapter_to_hub("nothing", "me/mine")


def test_the_card_says_what_is_known_and_names_what_is_not(tmp_path):
    config = tiny_pipeline(tmp_path / "words").adapters["depth"].config
    known = card(config, Origin(base="someone/base", data="rooms", licence="cc0-1.0"))
    header = yaml.safe_load(known.split("---")[1])
    assert (header["base_model"], header["license"]) == ("someone/base", "cc0-1.0")
    assert "Trained on rooms." in known
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


def test_what_is_no_checkpoint_file_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    for name in ("notes.txt", "absent.safetensors"):
        with pytest.raises(ValueError, match="is no checkpoint"):
            UniConPipeline.from_single_file(tmp_path / name)


def test_the_commit_is_read_off_the_caches_path():
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert hub_commit(f"/cache/models--a--b/snapshots/{commit}/unet") == commit
    assert hub_commit(f"/cache/models--a--b/snapshots/{commit}") == commit
    assert hub_commit("bases/mine/unet") is None
