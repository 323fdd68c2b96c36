"""Is a pair encoded once and rightly, and what becomes of one whose files are lost, damaged or changed?"""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load, load_file

from tests.train.own_pairs import SIZES, picture, settings
from train.pairs.encoding import PairEncoder
from unicon.data.pairs import Picture


def test_losses_from_the_cache_are_those_without(data, base, tmp_path):
    items = torch.tensor([2, 5])
    losses: dict[bool, list[torch.Tensor]] = {False: [], True: []}
    for cache in ("cache", ""):
        config = settings(data, base, cache=cache)
        config.prepare(tmp_path)
        objective = config.build(tmp_path)
        draws = objective.draw(torch.Generator().manual_seed(0), items)
        for mixed, found in losses.items():
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                found.append(objective(items, draws)[0])
    assert all(torch.equal(*found) for found in losses.values())


def test_a_lost_or_damaged_file_of_the_cache_is_made_again(data, base, tmp_path, monkeypatch):
    monkeypatch.setattr("train.pairs.contents.SETTLED_NS", -(10**12))
    settings(data, base).prepare(tmp_path)
    monkeypatch.delattr(Picture, "read")  # what a pair holds is known from now on
    files = sorted((tmp_path / "cache").rglob("*.safetensors"))
    whole = [path.read_bytes() for path in files]
    files[0].unlink()
    files[1].write_bytes(whole[1][:50])
    settings(data, base).prepare(tmp_path)
    assert [path.read_bytes() for path in files] == whole


def read_square(objective) -> tuple[list[int], torch.Tensor]:
    """Places of the square pairs, and their latents as training reads them, with the same draws each time."""
    pairs = objective.examples.found
    own = np.array([n for n, pair in enumerate(pairs) if pair.shape[1] == pair.shape[2]])
    draws = objective.examples.draw(torch.Generator().manual_seed(0), len(own))
    return [pairs[n].index for n in own], objective.examples.read(own, draws).latents


def test_a_cached_file_that_is_lost_on_the_way_is_made_again(data, base, tmp_path):
    objective = settings(data, base).build(tmp_path)
    before = read_square(objective)[1]
    files = sorted((tmp_path / "cache").rglob("*.safetensors"))
    whole = [path.read_bytes() for path in files]
    for path, content in zip(files, whole, strict=True):
        path.write_bytes(content[:50])
    files[0].unlink()
    # Encoded alone now, before beside others: some processors round a product by how many rows it has.
    torch.testing.assert_close(read_square(objective)[1], before, rtol=1e-5, atol=1e-5)
    again = [(path, content) for path, content in zip(files, whole, strict=True) if path.stat().st_size > 50]
    assert len(again) == 4
    for path, content in again:
        torch.testing.assert_close(load_file(path), load(content), rtol=1e-5, atol=1e-5)
    assert not (tmp_path / "skipped.jsonl").exists()


@pytest.mark.parametrize("cache", ["", "cache"])
def test_a_pair_that_goes_bad_on_the_way_is_skipped_and_named(cache, data, base, tmp_path, capsys):
    config = settings(data, base, cache=cache, bad_share=0.2, flip=False)
    objective = config.build(tmp_path)
    own, before = read_square(objective)
    for path in tmp_path.glob("cache/**/*.safetensors"):
        path.unlink()
    broken = data / "image" / "1.png"
    broken.write_bytes(broken.read_bytes()[:100])
    for _ in range(2):
        after, bad = read_square(objective)[1], own.index(1)
        wanted = before.clone()
        wanted[:, bad] = before[:, (bad + 1) % len(own)]
        assert torch.equal(after, wanted)
    rows = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == ["1"]
    assert capsys.readouterr().err.count("skipped from now on: 1: ") == 1
    (data / "depth" / "0.png").unlink()
    for path in tmp_path.glob("cache/**/*.safetensors"):
        path.unlink()
    with pytest.raises(ValueError, match="(?s)2 of 6 pairs cannot be read.*more than bad_share 0.2"):
        read_square(objective)
    assert len((tmp_path / "skipped.jsonl").read_text().splitlines()) == 2


def test_a_pair_that_changes_on_the_way_is_not_taken_for_the_one_that_was_found(data, base, tmp_path):
    objective = settings(data, base, bad_share=0.2).build(tmp_path)
    for path in tmp_path.glob("cache/**/*.safetensors"):
        path.unlink()
    picture(99, SIZES[1]).save(data / "image" / "1.png")
    read_square(objective)
    assert "1: has changed since the run began" in (tmp_path / "skipped.jsonl").read_text()


def test_latents_of_another_scale_are_others(data, base, tmp_path):
    encoder = settings(data, base).build(tmp_path).examples.read_one.__self__.encoder
    before = encoder.fingerprint()
    encoder.vae.register_to_config(scaling_factor=2 * encoder.vae.config["scaling_factor"])
    assert encoder.fingerprint() != before


def test_what_another_run_encoded_unpaired_stays_out(data, base, tmp_path):
    (data / "depth" / "0.png").unlink()
    assert len(settings(data, base, unpaired=True).build(tmp_path).examples) == len(SIZES)
    assert len(settings(data, base, bad_share=0.5).build(tmp_path).examples) == len(SIZES) - 1


def test_pairs_of_one_size_are_encoded_together_and_as_alone(data, base, tmp_path, monkeypatch):
    (data / "depth" / "3.png").unlink()
    sizes = []
    encode_many = PairEncoder.encode

    def counted(self, pairs):
        sizes.append(len(pairs))
        return encode_many(self, pairs)

    monkeypatch.setattr(PairEncoder, "encode", counted)
    examples = settings(data, base, unpaired=True).build(tmp_path).examples
    assert sorted(sizes) == [2, 4]
    assert [pair.index for pair in examples.found] == list(range(len(SIZES)))
    reader = examples.read_one.__self__
    seen = [(found, reader.encoder.see(reader.pairs[found.index], "depth")) for found in examples.found]
    sizes.clear()
    monkeypatch.setattr("train.pairs.encoding.BATCH_PX", 1)
    for found, alone in reader.encoder.in_batches(seen):
        for name, tensor in dataclasses.asdict(alone).items():
            together = getattr(examples.read_one(found), name)
            torch.testing.assert_close(together, tensor, msg=f"{found.index} {name}")
    assert sizes == [1] * len(SIZES)


def test_one_of_a_batch_that_cannot_be_encoded_is_named_alone(data, base, tmp_path, monkeypatch):
    """As an autoencoder that makes NaN of it."""
    encode_many = PairEncoder.encode

    def fails(self, pairs):
        if any((pair.image == 7).all() for pair in pairs):
            raise ValueError("the autoencoder makes NaN")
        return encode_many(self, pairs)

    monkeypatch.setattr(PairEncoder, "encode", fails)
    PIL.Image.new("RGB", SIZES[1], (7, 7, 7)).save(data / "image" / "1.png")
    objective = settings(data, base, bad_share=0.5).build(tmp_path)
    assert [pair.index for pair in objective.examples.found] == [0, 2, 3, 4, 5]
    told = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    assert told == [{"key": "1", "reason": "the autoencoder makes NaN"}]
