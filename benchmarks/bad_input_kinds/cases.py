"""Which kinds of bad input are there, and what must be said of each?"""

from __future__ import annotations

import numpy as np
import PIL.Image

from .case import Case
from .embeddings import (
    OTHER_CLIP,
    continued_prior_of_another_clip,
    decoder_of_another_clip,
    draw,
    prior_of_another_clip,
    prior_without_statistics,
    vary,
)
from .files import floats, huge_png, png, put, saved, tar_rows
from .pairs import (
    GOOD_ROW,
    alone,
    jsonl,
    maps_as_arrays,
    not_permitted,
    parquet_case,
    picture_twice,
    poses_in_grey,
    stream_cut_short,
    tar_case,
    train_with,
    with_file,
    with_map,
    with_maps,
    without,
)
from .runs import (
    base_cut_short,
    base_without_blocks,
    base_without_part,
    config_file,
    continued,
    cut,
    disk_full_at_cache,
    disk_full_at_checkpoint,
    fields,
    out_is_a_file,
    style,
    unfinished,
)
from .sets import OF_SETS

CASES = (
    # --- pairs, looked at by `unicon check`
    Case(
        name="picture without its map",
        make=without("depth/1.png"),
        told=("no map: 1", "1: has no depth"),
        status=1,
    ),
    Case(
        name="map without its picture",
        make=without("image/1.png"),
        told=("no picture: 1", "1: has depth"),
        status=1,
    ),
    Case(
        name="truncated picture",
        make=with_map(png(7)[:300]),
        told=("depth/0.png: is truncated or damaged",),
        status=1,
    ),
    Case(
        name="text named .png",
        make=with_map(b"no picture"),
        told=("depth/0.png: is not a picture",),
        status=1,
    ),
    Case(name="0 bytes", make=with_map(b""), told=("depth/0.png: is empty (0 bytes)",), status=1),
    Case(
        name="NaN in a float map",
        make=with_map(floats(np.nan), "0.tiff"),
        told=("depth/0.tiff: holds negative or non-finite values",),
        status=1,
    ),
    Case(
        name="negative values in a float map",
        make=with_map(floats(-1.0), "0.tiff"),
        told=("depth/0.tiff: holds negative or non-finite values",),
        status=1,
    ),
    Case(
        name="values beyond 16 bits",
        make=with_map(floats(1e6), "0.tiff"),
        told=("depth/0.tiff: holds values up to 1e+06",),
        status=1,
    ),
    Case(
        name="400 megapixels",
        make=with_map(huge_png()),
        told=("depth/0.png:", "at most 120 megapixels"),
        status=1,
    ),
    Case(
        name="file that may not be read",
        make=not_permitted,
        told=("depth/0.png: may not be read", "Permission denied"),
        status=1,
    ),
    Case(
        name="maps as arrays",
        make=maps_as_arrays,
        told=("data/depth/0.npy is an array, and maps are read as pictures", "unicon rescale"),
    ),
    Case(
        name="constant map",
        make=with_map(saved(PIL.Image.new("RGB", (64, 64), (9, 9, 9)))),
        told=("constant: 1", "depth/0.png: is (9, 9, 9) everywhere"),
        status=0,
    ),
    Case(
        name="maps in millimetres, 16 bits",
        make=with_maps(floats(2000, np.uint16), floats(4000, np.uint16)),
        told=("narrow range: 1", "depth: 3 maps of 8 to 16 of 255", "unicon rescale"),
        status=0,
    ),
    Case(
        name="float maps of mixed scales",
        make=with_maps(floats(0.5), floats(4.0)),
        told=("mixed scales: 1", "1 with 1 as white", "2 with 255 as white", "unicon rescale"),
        status=0,
    ),
    Case(
        name="map of another size",
        make=with_map(png(7, (128, 128))),
        told=("other size: 1", "depth/0.png: has 128 x 128 pixels, its picture 64 x 64"),
        status=0,
    ),
    Case(
        name="map of another shape",
        make=with_map(png(7, (128, 64))),
        told=("other shape: 1", "depth/0.png: has 128 x 64 pixels, its picture 64 x 64"),
        status=1,
    ),
    Case(
        name="map that is its picture",
        make=with_map(png(0)),
        told=("map is the picture: 1", "depth/0.png: has the pixels of its picture"),
        status=1,
    ),
    Case(
        name="poses in colours of their own",
        make=poses_in_grey,
        told=(
            "no left and right: 3",
            "pose/0.png: 0% of this drawing has OpenPose's colours",
            "--flip false",
        ),
        status=1,
    ),
    Case(
        name="picture twice",
        make=picture_twice,
        told=("duplicate: 1", "image/9.png: the same pixels as"),
        status=0,
    ),
    Case(
        name="tiny pictures",
        make=lambda p: (p.pairs(size=(32, 32)), p.check())[1],
        told=("small: 6",),
        status=0,
    ),
    Case(
        name="no caption",
        make=without("caption/1.txt"),
        told=("no caption: 1", "1: has no caption"),
        status=0,
    ),
    Case(
        name="captions that are no UTF-8",
        make=with_file("caption/0.txt", b"\xff\xfea"),
        told=("caption/0.txt: is no text in UTF-8",),
    ),
    Case(
        name="two files of one stem",
        make=with_file("image/0.jpg", png(3)),
        told=("image/0.png: ", "has the same stem; keep one"),
    ),
    Case(
        name="unknown condition",
        make=with_file("notes.txt", b"", "--conditions", "dpeth"),
        told=("there is no 'dpeth'; did you mean depth?",),
    ),
    Case(
        name="no folder of pictures",
        make=alone("depth/0.png", png(0)),
        told=("0 folders of pictures", "found depth"),
    ),
    Case(name="nothing there", make=lambda p: p.check(), told=("data: no such file or folder",)),
    Case(
        name="archive of another kind",
        make=lambda p: ["check", str(put(p.data / "a.zip", b"PK"))],
        told=("a.zip: is no file of pairs; expected",),
    ),
    Case(name="jsonl: broken line", make=jsonl(GOOD_ROW, "{"), told=("metadata.jsonl:2: is no JSON",)),
    Case(
        name="jsonl: line that is no object",
        make=jsonl(GOOD_ROW, "[1]"),
        told=("metadata.jsonl:2: is a list",),
    ),
    Case(
        name="jsonl: file that is not there",
        make=jsonl(GOOD_ROW, {**GOOD_ROW, "file_name": "gone.png"}),
        told=("gone.png: no such file",),
        status=1,
    ),
    Case(
        name="jsonl: caption that is a number",
        make=jsonl({**GOOD_ROW, "text": 3}),
        told=("metadata.jsonl:1: a caption is a int",),
    ),
    Case(name="jsonl: nothing in it", make=jsonl(), told=("data: holds no pairs",)),
    Case(
        name="parquet without pictures",
        make=parquet_case({"text": ["a"]}),
        told=("a.parquet: has 0 columns of pictures named image",),
    ),
    Case(
        name="parquet that is none",
        make=alone("a.parquet", b"nothing"),
        told=("a.parquet: is no readable parquet",),
    ),
    Case(
        name="tar that is none", make=alone("000.tar", b"x" * 2000), told=("000.tar: is no plain tar file",)
    ),
    Case(
        name="tar cut short",
        make=tar_case(tar_rows(3), 40_000),
        told=("000.tar: is no plain tar file, or is cut",),
    ),
    Case(
        name="tar: broken JSON",
        make=tar_case({**tar_rows(2), "5.image.png": png(5), "5.depth.png": png(6), "5.json": b"{"}),
        told=("000.tar: 5.json: is no JSON",),
        status=1,
    ),
    # --- training: pairs
    Case(
        name="more bad pairs than bad_share",
        make=train_with(lambda d: (d / "depth/1.png").unlink()),
        told=("1 of 4 pairs cannot be read", "1: has no depth", "more than bad_share 0.02"),
        runs=True,
    ),
    Case(
        name="bad pairs within bad_share",
        make=train_with(lambda d: put(d / "depth/1.png", b""), "--bad_share", "0.5"),
        told=("skipped 1 of 4 pairs", "depth/1.png: is empty (0 bytes)"),
        status=0,
        runs=True,
    ),
    Case(
        name="stream cut short",
        make=stream_cut_short,
        told=("000.tar: is no tar file, or is cut short after 2 pairs",),
        status=0,
        runs=True,
    ),
    # --- training: fields
    Case(
        name="unknown recipe",
        make=lambda p: ["train", "adaptr"],
        told=("no recipe named 'adaptr'; did you mean adapter?",),
    ),
    Case(
        name="unknown field",
        make=fields("--rnak", "3"),
        told=("--rnak is not a field", "did you mean --rank?"),
    ),
    Case(name="field without a value", make=fields("--seed"), told=("--seed needs a value",)),
    Case(
        name="field of the wrong type",
        make=fields("--seed", "many"),
        told=("--seed got 'many'; expected a whole number, such as --seed 0",),
    ),
    Case(
        name="list that is none",
        make=fields("--betas", "0.9,0.99"),
        told=("--betas got '0.9,0.99'; expected a list, such as --betas '[0.9, 0.99]'",),
    ),
    Case(
        name="field out of range",
        make=fields("--ema_decay", "1.5"),
        told=("ema_decay must be a number of at least 0 and below 1, got 1.5",),
    ),
    Case(
        name="share out of range",
        make=fields("--caption_dropout", "20"),
        told=("caption_dropout must be a number from 0 to 1, got 20.0",),
    ),
    Case(name="rank 0", make=fields("--rank", "0"), told=("rank=0: must be at least 1",)),
    Case(
        name="unknown law of levels",
        make=fields("--image_levels", "unifrom"),
        told=("did you mean uniform?",),
    ),
    Case(
        name="unknown optimizer", make=fields("--optimizer", "adamv"), told=("'adamv'; did you mean adamw?",)
    ),
    Case(
        name="unknown tracker",
        make=fields("--trackers", "tensorbord"),
        told=("--trackers tensorbord: accelerate knows no such tracker; did you mean tensorboard?",),
    ),
    Case(
        name="no condition",
        make=fields("--condition", ""),
        told=("give --data PAIRS and --condition NAME",),
        runs=True,
    ),
    Case(
        name="size off the base's grid",
        make=fields("--resolution", "61"),
        told=("resolution is 61; expected a multiple of",),
        runs=True,
    ),
    Case(name="--config: broken", make=config_file(b"{"), told=("mine.yaml: cannot be read",)),
    Case(name="--config: not there", make=config_file(None), told=("mine.yaml: cannot be read",)),
    Case(name="--config: unknown field", make=config_file(b"rnak: 3"), told=("--rnak is not a field",)),
    Case(name="style without words", make=style(), told=("give --data PICTURES and --phrase WORDS",)),
    # --- training: bases
    Case(
        name="base that is not there",
        make=fields("--base", "nowhere"),
        told=("base 'nowhere': no such folder",),
        runs=True,
    ),
    Case(
        name="base without transformer blocks",
        make=base_without_blocks,
        told=("no transformer block",),
        runs=True,
    ),
    Case(name="base without a part", make=base_without_part, told=("base': has no folder 'vae'",), runs=True),
    Case(
        name="base cut short",
        make=base_cut_short("unet"),
        told=("base/unet/diffusion_pytorch_model.safetensors is damaged or cut short", "copy it again"),
        runs=True,
    ),
    Case(
        name="base whose text encoder is cut short",
        make=base_cut_short("text_encoder"),
        told=("base/text_encoder/model.safetensors is damaged or cut short", "copy it again"),
        runs=True,
    ),
    # --- training: what is there already
    Case(
        name="checkpoint cut short",
        make=continued(damage=cut("checkpoints/*/trained.safetensors")),
        told=("step_00000002: is damaged", "remove this folder to go on from the checkpoint before it"),
        runs=True,
    ),
    Case(
        name="optimizer's state cut short",
        make=continued(damage=cut("checkpoints/*/optimizers.pt")),
        told=("step_00000002: is damaged", "remove this folder"),
        runs=True,
    ),
    Case(
        name="checkpoint of another rank",
        make=continued("--rank", "3", damage=unfinished),
        told=("holds a run with --rank 2, this one has --rank 3: choose another --out",),
        runs=True,
    ),
    Case(
        name="checkpoint of another optimizer",
        make=continued("--optimizer", "muon", damage=unfinished),
        told=("was trained with --optimizer adamw, this run has muon",),
        runs=True,
    ),
    Case(
        name="finished run of another condition",
        make=lambda p: (
            continued()(p),
            (p.data / "depth").rename(p.data / "edge"),
            p.train("--condition", "edge", steps=2),
        )[2],
        told=("holds a run with --condition depth, this one has --condition edge: choose another --out",),
        runs=True,
    ),
    Case(
        name="loss that is not finite",
        make=fields("--learning_rate", "1e38", "--steps", "6"),
        told=(
            "the loss is",
            "continue from it with a lower --learning_rate",
            "the last whole checkpoint is of step 1; the same command continues from it",
        ),
        runs=True,
    ),
    Case(
        name="disk full, writing a checkpoint",
        make=disk_full_at_checkpoint,
        told=(
            "step_00000003: cannot be written",
            "No space left on device",
            "the last whole checkpoint is of step 2; the same command continues from it",
        ),
        runs=True,
    ),
    Case(
        name="disk full, writing the cache",
        make=disk_full_at_cache,
        told=(".safetensors: cannot be written", "No space left on device"),
        runs=True,
    ),
    Case(name="--out is a file", make=out_is_a_file, told=("out: is a file; choose a folder",)),
    # --- embeddings, priors and decoder adapters
    Case(
        name="prior: empty prompt",
        make=lambda p: draw(p, "generate", " ", "--prior"),
        told=("--prior chooses the content from the prompt, which is empty",),
    ),
    Case(
        name="prior without statistics",
        make=prior_without_statistics,
        told=("this prior has no statistics (its clip_std is zero",),
        runs=True,
    ),
    Case(
        name="prior of another CLIP",
        make=prior_of_another_clip,
        told=(f"the prior was trained with {OTHER_CLIP}", "the base's image encoder is"),
        runs=True,
    ),
    Case(
        name="prior to continue, of another CLIP",
        make=continued_prior_of_another_clip,
        told=("the prior of --start_from", f"was trained with {OTHER_CLIP}", "the base's image encoder is"),
        runs=True,
    ),
    Case(
        name="decoder adapter of another CLIP",
        make=decoder_of_another_clip,
        told=(f"the decoder adapter was trained with {OTHER_CLIP}", "the base's image encoder is"),
        runs=True,
    ),
    Case(
        name="vary: a text instead of itself",
        make=vary("--text", "a thing", "--instead-of", "a thing"),
        told=("text is 'a thing' and instead_of 'a thing'", "this CLIP sees no difference"),
        runs=True,
    ),
    Case(
        name="vary: empty text",
        make=vary("--text", " "),
        told=("--text is empty: say what the picture is to become",),
    ),
    Case(
        name="vary: option without effect",
        make=vary("--fixed-noise"),
        told=("--fixed-noise has no effect without --to",),
    ),
    Case(
        name="vary: map of another shape",
        make=vary("--depth", "wide.png"),
        told=("depth: the map has", "give one of the picture's shape"),
        runs=True,
    ),
    *OF_SETS,
)
"""Every kind, in the order of the table."""
