"""What a branch does and what comes back, for every row of the truth table, and what is in none of them."""

from __future__ import annotations

import pytest

from unicon.branch import IMAGE, Branch, plan_branch
from unicon.call.request import Names, image_branch, read_request

P = "a picture"
NAMES = Names(adapters=("depth", "pose"), parameters={"prompt", "image", "noise"})


@pytest.mark.parametrize(
    "branch, stages",
    [
        (Branch(), ((0.0, 1.0),)),
        (Branch(noise=1.0), ((0.0, 1.0),)),
        (Branch(map=P), ((1.0, 1.0),)),
        (Branch(map=P, noise=0), ((1.0, 1.0),)),
        (Branch(map=P, hold=True), ((1.0, 1.0),)),
        (Branch(map=P, noise=0.25), ((0.75, 1.0),)),
        (Branch(map=P, noise=1), ((0.0, 1.0),)),
        (Branch(map=P, noise=0.25, hold=True), ((0.75, 0.75),)),
        (Branch(map=P, mask=P), ((0.0, 1.0),)),
        (Branch(map=P, mask=P, noise=0.5), ((0.5, 1.0),)),
        (Branch(stages=((0, 0.5), (0.5, 1))), ((0, 0.5), (0.5, 1))),
        (Branch(map=P, stages=((1, 1), (1, 1))), ((1, 1), (1, 1))),
    ],
)
def test_every_row(branch, stages):
    assert plan_branch("depth", branch, asked=False).stages == stages


@pytest.mark.parametrize(
    "branch, asked, match",
    [
        (Branch(noise=0.5), False, "depth: noise=0.5, hold=False start from a picture, but none is given"),
        (Branch(hold=True), False, "hold=True start from a picture, but none is given"),
        (
            Branch(mask=P),
            False,
            "depth: a mask says which part of a picture to keep, but no picture is given",
        ),
        (
            Branch(map=P, mask=P, hold=True),
            False,
            "masked branch runs where its mask is white; leave out hold",
        ),
        (Branch(map=P, mask=P, noise=0), False, "leave out hold and noise=0"),
        (Branch(map=P, noise=0.5, stages=((0, 1),)), False, "stages say where the branch is at every time"),
        (Branch(stages=((0.5, 1),)), False, "first stage starts at 0.5, so its picture must be given"),
        (Branch(map=P, mask=P, stages=((1, 1),)), False, "but its stages never move"),
        (Branch(stages=((1, 0),)), False, "a stage goes from one progress"),
        (Branch(map=P), True, "held, so there is nothing to generate; take 'depth' out of outputs"),
        (Branch(map=P, noise=0.3, hold=True), True, "there is nothing to generate"),
    ],
)
def test_rows_that_contradict_themselves(branch, asked, match):
    with pytest.raises(ValueError, match=match):
        plan_branch("depth", branch, asked=asked)


@pytest.mark.parametrize(
    "fields, match",
    [
        ({"noise": 1.2}, "noise must be a number from 0 to 1, got 1.2; .* 0 is clean and 1 pure noise"),
        ({"noise": -0.1}, "noise must be a number from 0 to 1"),
        ({"noise": float("nan")}, "noise must be a number from 0 to 1"),
        ({"noise": "0.5"}, "noise must be a number from 0 to 1, got '0.5'"),
        ({"weight": "1"}, "weight must be a finite number, got '1'; 0 switches it off"),
        ({"guidance_scale": True}, "guidance_scale must be a number of at least 0, got True; 1 is off"),
        ({"stages": (0, 1)}, r"stages are pairs \(from, to\) of progress, got 0"),
        ({"stages": ((0, 2),)}, "each number of stages must be a number from 0 to 1, got 2"),
        ({"weight": float("inf")}, "weight must be a finite number, got inf"),
        ({"reads": float("nan")}, "reads must be a finite number"),
        ({"mask_guidance": 2.0}, "mask_guidance=2.0 needs a mask"),
        ({"mask": P, "mask_guidance": -1.0}, "mask_guidance must be a number of at least 0, got -1.0"),
    ],
)
def test_fields_out_of_range(fields, match):
    with pytest.raises(ValueError, match=match):
        Branch(**fields)


def request(image=None, outputs=None, conditions=None, names=NAMES, guidance_scale=1.0, **keywords):
    branch = image_branch(
        image, noise=None, mask=None, prompt=None, negative_prompt=None, guidance_scale=guidance_scale
    )
    return read_request(image=branch, conditions=conditions, keywords=keywords, outputs=outputs, names=names)


@pytest.mark.parametrize(
    "asked, branches, outputs",
    [
        ({}, ["image"], ["image"]),
        ({"depth": P}, ["image", "depth"], ["image"]),
        ({"depth": None}, ["image"], ["image"]),
        ({"depth": Branch()}, ["image", "depth"], ["image", "depth"]),
        ({"image": P, "outputs": ["depth"]}, ["image", "depth"], ["depth"]),
        ({"image": P, "outputs": ["pose", "depth"]}, ["image", "depth", "pose"], ["pose", "depth"]),
        ({"outputs": ["image", "depth"]}, ["image", "depth"], ["image", "depth"]),
        ({"outputs": ["depth"]}, ["image", "depth"], ["depth"]),
        ({"depth": Branch(map=P, noise=0.4)}, ["image", "depth"], ["image", "depth"]),
        ({"depth": Branch(map=P, noise=0.4, hold=True)}, ["image", "depth"], ["image"]),
        ({"image": Branch(map=P, noise=0.6), "depth": P}, ["image", "depth"], ["image"]),
        ({"image": Branch(map=P, mask=P), "depth": P}, ["image", "depth"], ["image"]),
        ({"image": P, "depth": Branch(map=P, mask=P)}, ["image", "depth"], ["depth"]),
        ({"pose": P, "depth": P}, ["image", "depth", "pose"], ["image"]),
        ({"conditions": {"pose": P}, "depth": P}, ["image", "depth", "pose"], ["image"]),
    ],
)
def test_which_branches_run_and_come_back(asked, branches, outputs):
    found = request(**asked)
    assert list(found.branches) == branches
    assert list(found.outputs) == outputs
    assert list(found.plans) == branches


@pytest.mark.parametrize(
    "asked, match",
    [
        ({"image": P}, r"nothing runs: all pictures \(image\) are given and held"),
        ({"image": P, "depth": P}, r"nothing runs: all pictures \(image, depth\) are given and held"),
        (
            {"dept": P},
            "unknown keyword or condition 'dept', did you mean 'depth'.* loaded adapters: depth, pose",
        ),
        ({"promt": P}, "unknown keyword or condition 'promt', did you mean 'prompt'"),
        ({"zzz": P}, "unknown keyword or condition 'zzz'; loaded adapters"),
        ({"outputs": ["dpth"]}, "unknown condition 'dpth', did you mean 'depth'"),
        ({"conditions": {"image": P}}, "unknown condition 'image'"),
        ({"conditions": [P]}, "conditions is a list; give a mapping"),
        ({"conditions": {"depth": P}, "depth": P}, "'depth' is given twice"),
        ({"outputs": "depth"}, r"outputs is the text 'depth'; give a list: outputs=\['depth'\]"),
        ({"outputs": []}, "outputs is empty"),
        ({"image": P, "outputs": ["image", "depth"]}, "image: its picture is given and held"),
        (
            {"image": P, "outputs": ["depth"], "guidance_scale": 3.0},
            r"guidance_scale=3.0 guides the image, but .* held; .*depth=Branch\(guidance_scale=3.0\)",
        ),
    ],
)
def test_calls_without_a_meaning(asked, match):
    with pytest.raises(ValueError, match=match):
        request(**asked)


def test_no_adapter_is_loaded():
    with pytest.raises(ValueError, match=r"loaded adapters: none \(load one with load_adapter\)"):
        request(names=Names(adapters=(), parameters=()), depth=P)


def test_the_image_takes_the_calls_arguments_or_its_own():
    shared = {"noise": None, "mask": None, "negative_prompt": "bad", "guidance_scale": 2.0}
    main = image_branch(Branch(guidance_scale=5.0), prompt="a dog", **shared)
    assert (main.prompt, main.negative_prompt, main.guidance_scale) == ("a dog", "bad", 5.0)
    assert image_branch(Branch(prompt="a cat"), prompt=None, **shared).prompt == "a cat"
    with pytest.raises(ValueError, match="image is a Branch: put noise and mask into it"):
        image_branch(Branch(), prompt=None, **{**shared, "noise": 0.5})
    with pytest.raises(ValueError, match="image has weight=0.5, reads=1.0: these belong to a condition"):
        image_branch(Branch(weight=0.5), prompt=None, **shared)
    with pytest.raises(ValueError, match="prompt is given twice"):
        image_branch(Branch(prompt="a cat"), prompt="a dog", **shared)


def test_the_image_is_called_image():
    assert IMAGE == "image"
