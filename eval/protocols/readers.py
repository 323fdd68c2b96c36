"""What reads a map from a picture?

Three readers behind one contract: the pipeline's own estimation, a feed-forward regressor between a base's
latents, and a judge that sees pixels and has nothing of any base. An estimation protocol scores them; a
generation protocol uses one of them to look at generated pictures. Leaves out scores.

Each picture has its own noise, a function of (seed, picture, member) alone, so a result depends neither on
the batch size nor on which other pictures are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from eval.digests import digest_of_folder
from eval.judge import CONFIG, HEAT_CELL_PX, JUDGE, Judge, Seen, load_judge_network
from unicon.bases import base_size
from unicon.conditions.palettes import depth_to_map
from unicon.conditions.pose import draw_pose
from unicon.conditions.pose_heat import read_heat
from unicon.latents import Autoencoder, decode, encode
from unicon.mini import mini_folder
from unicon.pictures import Frame, as_array, as_pictures
from unicon.pipeline import UniConPipeline
from unicon.sampling.noise import stable_hash
from unicon.sources import MINI

BASE = "base"
"""Name of the base's own estimation as a judge."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """Maps read from n pictures."""

    maps: np.ndarray
    """(n, H, W, 3) float16 in [0, 1]; with an ensemble what it says together."""
    members: np.ndarray | None = None
    """(members, n, H, W) float16, mean over channels; only with an ensemble."""


class Reader(Protocol):
    """Something that reads maps from pictures of one size."""

    @property
    def name(self) -> str:
        """What a table calls it."""
        ...

    def read(self, pictures: np.ndarray, condition: str, keys: Sequence[int], seed: int) -> Readings:
        """Maps of (n, H, W, 3) uint8 pictures; `keys` (n,) names each picture, for its noise."""
        ...


def generators(keys: Sequence[int], seed: int, purpose: str, members: int = 1) -> list[torch.Generator]:
    """One generator per (picture, member), members of one picture next to each other."""
    hashes = [stable_hash(seed, purpose, int(key), member) for key in keys for member in range(members)]
    return [torch.Generator().manual_seed(value) for value in hashes]


def in_batches(
    read: Callable[[np.ndarray], np.ndarray], pictures: np.ndarray, size: int, title: str
) -> np.ndarray:
    """What `read` makes of pictures (n, ...), `size` at a time, with a bar for several batches."""
    starts = range(0, len(pictures), size)
    bar = tqdm(starts, desc=title, unit="batch", leave=False, disable=len(starts) < 2)
    return np.concatenate([read(pictures[start : start + size]) for start in bar])


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineReader:
    """The pipeline's own estimation: the picture held clean, the map from noise, no prompt."""

    pipe: UniConPipeline
    steps: int
    batch_size: int = 16
    members: int = 1
    temperature: float = 1.0
    work_px: int | Sequence[int] | None = None
    """Longer side that pictures are worked on at; None: the base's own; several: `members` in each."""
    mirrored: bool = False
    """Whether mirror images are estimated, too: twice the members."""
    name: str = "adapter"

    @property
    def known(self) -> Sequence[str]:
        """Conditions that it reads."""
        return list(self.pipe.adapters)

    def read(self, pictures: np.ndarray, condition: str, keys: Sequence[int], seed: int) -> Readings:
        parts = [self._part(p, condition, k, seed) for p, k in self._batches(pictures, keys, condition)]
        maps = np.concatenate([part.maps for part in parts])
        members = [part.members for part in parts if part.members is not None]
        return Readings(maps=maps, members=np.concatenate(members, axis=1) if members else None)

    def _batches(self, pictures: np.ndarray, keys: Sequence[int], condition: str):
        size = max(1, self.batch_size // self.members)
        starts = range(0, len(pictures), size)
        bar = partial(tqdm, unit="batch", leave=False, disable=len(starts) < 2)
        for start in bar(starts, desc=f"estimating {condition}"):
            yield pictures[start : start + size], keys[start : start + size]

    def _part(self, pictures: np.ndarray, condition: str, keys: Sequence[int], seed: int) -> Readings:
        out = self.pipe(
            image=pictures,
            outputs=[condition],
            num_inference_steps=self.steps,
            ensemble_size=self.members,
            temperature=self.temperature,
            processing_resolution=self.work_px,
            mirrored=self.mirrored,
            generator=generators(keys, seed, "estimate", self.members),
            output_type="np",
        )
        members = out.members.get(condition)
        return Readings(
            maps=out.maps[condition].astype(np.float16),
            members=None if members is None else members.mean(-1).astype(np.float16),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RegressorReader:
    """A UNet of the base's geometry that turns a picture's latents into its map's in one pass.

    What `train.objectives.regressor` exports: `unet/`, and `triggers.safetensors` with one text embedding
    (tokens, width) per condition; the network is told timestep 0.
    """

    unet: UNet2DConditionModel
    vae: Autoencoder
    triggers: dict[str, Tensor]
    batch_size: int = 16
    name: str = "regressor"

    @classmethod
    def load(cls, folder: str | Path, pipe: UniConPipeline, batch_size: int = 16) -> RegressorReader:
        """From its folder, with VAE, device and number format of `pipe`; ValueError if it is none."""
        folder = Path(folder)
        for part in ("unet/config.json", "triggers.safetensors"):
            if not (folder / part).is_file():
                raise ValueError(
                    f"{folder} is no regressor: {part} is missing; give its run's `export` folder"
                )
        unet = UNet2DConditionModel.from_pretrained(folder / "unet").eval()
        # diffusers' `to` is wrapped in a way that hides its own first argument from type checkers.
        torch.nn.Module.to(unet, pipe.device, pipe.unet.dtype)
        triggers = load_file(folder / "triggers.safetensors")
        return cls(unet=unet, vae=pipe.vae, triggers=triggers, batch_size=batch_size)

    @property
    def known(self) -> Sequence[str]:
        """Conditions that it reads."""
        return list(self.triggers)

    def read(self, pictures: np.ndarray, condition: str, keys: Sequence[int], seed: int) -> Readings:
        if condition not in self.triggers:
            raise ValueError(f"the regressor knows no {condition!r}; it knows {', '.join(self.triggers)}")
        read = partial(self._part, condition=condition)
        return Readings(maps=in_batches(read, pictures, self.batch_size, f"regressing {condition}"))

    @torch.no_grad()
    def _part(self, pictures: np.ndarray, condition: str) -> np.ndarray:
        # The same working size as the pipeline's estimation, so that only the networks differ.
        size, (height, width) = base_size(self.unet, self.vae), pictures.shape[1:3]
        frame = Frame.of(height, width, size.multiple_px, size.own_px)
        latents = encode(self.vae, frame.enter(as_pictures(pictures, "pictures")).to(self.unet.device))
        text = self.triggers[condition].to(self.unet.device, self.unet.dtype).expand(len(latents), -1, -1)
        out = self.unet(latents.to(self.unet.dtype), 0, text).sample.float()
        return as_array(frame.leave(decode(self.vae, out))).astype(np.float16)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeReader:
    """A network that sees pixels (`eval.judge`), in float32 whatever the base runs in.

    Pictures of another size than it was trained on are resized to it, and maps back; poses are drawn at the
    picture's own.
    """

    judge: Judge
    batch_size: int = 16
    name: str = JUDGE

    @classmethod
    def load(
        cls, folder: str | Path, device: str | torch.device = "cpu", batch_size: int = 16
    ) -> JudgeReader:
        """From its folder; ValueError if it is none."""
        judge = load_judge_network(folder)
        torch.nn.Module.to(judge, device)  # see `RegressorReader.load`
        return cls(judge=judge, batch_size=batch_size)

    @property
    def known(self) -> Sequence[str]:
        """Conditions that it reads."""
        return list(_MAPS)

    def read(self, pictures: np.ndarray, condition: str, keys: Sequence[int], seed: int) -> Readings:
        if condition not in _MAPS:
            raise ValueError(f"the judge knows no {condition!r}; it knows {', '.join(_MAPS)}")
        read = partial(self._part, condition=condition)
        return Readings(maps=in_batches(read, pictures, self.batch_size, f"judging {condition}"))

    @torch.inference_mode()
    def _part(self, pictures: np.ndarray, condition: str) -> np.ndarray:
        height, width = pictures.shape[1:3]
        frame = Frame.of(height, width, self.judge.multiple_px, self.judge.config["side_px"])
        seen = self.judge(frame.enter(as_pictures(pictures, "pictures")).to(self.judge.device))
        return _MAPS[condition](seen, frame).astype(np.float16)


def _depth_maps(seen: Seen, frame: Frame) -> np.ndarray:
    metres = seen.log_depth[:, : frame.work_height, : frame.work_width].exp().cpu().numpy()
    maps = torch.from_numpy(np.stack([depth_to_map(each) for each in metres]))
    return as_array(frame.leave(maps.movedim(-1, 1)))


def _edge_maps(seen: Seen, frame: Frame) -> np.ndarray:
    return as_array(frame.leave(seen.edges.sigmoid()[:, None].expand(-1, 3, -1, -1)))


def _pose_maps(seen: Seen, frame: Frame) -> np.ndarray:
    """Drawn at the picture's own size, from heat in cells of the working one."""
    joints, limbs = (heat.sigmoid().cpu().numpy() for heat in (seen.joints, seen.limbs))
    scale = np.array([frame.width / frame.work_width, frame.height / frame.work_height])
    drawn = []
    for people in map(read_heat, joints, limbs):
        for person in people:
            person[:, :2] = (HEAT_CELL_PX * (person[:, :2] + 0.5)) * scale - 0.5
        drawn.append(draw_pose(people, (frame.height, frame.width)))
    return np.stack(drawn).astype(np.float32) / 255


_MAPS: dict[str, Callable[[Seen, Frame], np.ndarray]] = {
    "depth": _depth_maps,
    "edge": _edge_maps,
    "pose": _pose_maps,
}
"""As `unicon.conditions` draws them, (n, H, W, 3) in [0, 1]."""


def judge_folder(judge: str) -> Path | None:
    """Where a judge lies: "mini" is the one that ships, "base" the base itself, which has no folder."""
    return None if judge == BASE else mini_folder() / JUDGE if judge == MINI else Path(judge)


def digest_of_reader(judge: str | None) -> str | None:
    """Of the files of the folder behind a name or path; None where it is the base itself, or nobody."""
    folder = None if judge is None else judge_folder(judge)
    return None if folder is None else digest_of_folder(folder)


def check_reader(judge: str | None, conditions: Sequence[str] = ()) -> None:
    """ValueError for a folder that is not there, and for one of the `conditions` that the judge that ships
    knows not: before anything is loaded."""
    if judge == MINI:
        _check_known(conditions, list(_MAPS), judge)
    folder = None if judge is None else judge_folder(judge)
    if folder is not None and not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give one of a judge, regressor or base, mini, or base")


def reader_in_words(judge: str | None) -> str:
    """How a table names it."""
    named = {
        None: "the base's own estimation",
        BASE: "the base's own estimation",
        MINI: "the judge that ships",
    }
    return named.get(judge) or str(judge)


def load_judge(
    judge: str | Path, pipe: UniConPipeline, steps: int, batch_size: int, conditions: Sequence[str] = ()
) -> Reader:
    """A reader by name or from a folder: "base" is `pipe` itself, "mini" the judge that ships; a folder
    holds another base with adapters (`model_index.json`), a judge (`config.json`), or a regressor.

    Raises ValueError for another folder, and for a reader that knows one of the `conditions` not.
    """
    found = load_without_base(judge, pipe.device, pipe.unet.dtype, steps, batch_size, conditions)
    if found is not None:
        return found
    folder = judge_folder(str(judge))
    if folder is None:
        own = PipelineReader(pipe=pipe, steps=steps, batch_size=batch_size, name=BASE)
    else:
        own = RegressorReader.load(folder, pipe, batch_size)
    _check_known(conditions, own.known, judge)
    return own


def load_without_base(
    judge: str | Path,
    device: str | torch.device,
    dtype: torch.dtype,
    steps: int,
    batch_size: int,
    conditions: Sequence[str] = (),
) -> Reader | None:
    """The same of a reader that needs nothing of the base that is judged (another base, a judge), or None."""
    folder = judge_folder(str(judge))
    if folder is None:
        return None
    if (folder / "model_index.json").is_file():
        pipe = UniConPipeline.from_pretrained(folder, dtype=dtype).to(device)
        pipe.set_progress_bar_config(disable=True)
        found = PipelineReader(pipe=pipe, steps=steps, batch_size=batch_size, name="judge base")
    elif (folder / CONFIG).is_file() or str(judge) == MINI:
        found = JudgeReader.load(folder, device, batch_size)
    else:
        return None
    _check_known(conditions, found.known, judge)
    return found


def _check_known(conditions: Sequence[str], known: Sequence[str], name: str | Path) -> None:
    for condition in conditions:
        if condition not in known:
            told = ", ".join(known) or "none"
            raise ValueError(f"{name} reads no {condition!r}, only {told}: choose another reader")
