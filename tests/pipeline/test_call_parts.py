"""Does every part of a call do exactly what it says, without a network to hide in?"""

from __future__ import annotations

import torch

from adapters import ClipIdentity, DecoderAdapter, DecoderConfig
from tests.adapters.tiny import tiny_unet
from unicon import Branch
from unicon.call.batch import Batch
from unicon.call.framing import Given, known_parts
from unicon.call.likeness import LIKE, LikeSettings, Told, read_like
from unicon.call.prompts import Embeddings, branch_embeddings
from unicon.call.randomness import CallNoise
from unicon.call.request import Names, Request, read_request
from unicon.embeddings import NOISE
from unicon.pictures import Frame
from unicon.sampling.guidance import CONDITIONED, UNLIKE
from unicon.sampling.levels import add_noise
from unicon.sampling.noise import INITIAL, NoiseSource

ONE = Batch(inputs=1)


def request(image: Branch, **conditions: Branch) -> Request:
    names = Names(adapters=tuple(conditions), parameters=())
    return read_request(image=image, conditions=conditions, keywords={}, outputs=None, names=names)


# --- masks ------------------------------------------------------------------------------------------------


def test_a_latent_cell_that_is_partly_white_is_generated():
    mask = torch.zeros(1, 1, 8, 16)
    mask[..., 3, 5] = 1  # one pixel of the second cell in the first row
    asked = request(Branch(), depth=Branch(map="a map", mask="a mask", mask_guidance=1.5))
    given = Given(frame=Frame.of(8, 16, 4), pictures={}, masks={"depth": mask})
    clean = {"depth": torch.randn(2, 4, 2, 4)}
    known = known_parts(asked, given, Batch(inputs=2), clean, 4)
    assert list(known) == [1]
    assert known[1].mask[:, 0].tolist() == [[[0, 1, 0, 0], [0, 0, 0, 0]]] * 2
    assert known[1].clean is clean["depth"]
    assert known[1].weight == 1.5


# --- noise ------------------------------------------------------------------------------------------------


def test_temperature_scales_initial_and_fresh_noise_of_its_branch_alone():
    source, latents = NoiseSource.from_seed(0, 2), torch.randn(2, 4)
    noise = CallNoise(source=source, latents={"image": latents}, temperatures={"image": 0.5, "depth": 0.0})
    for step in (INITIAL, 0, 3):
        drawn = {name: source.draw(name, step, (4,)) for name in ("image", "depth", "pose")}
        own = latents if step == INITIAL else drawn["image"]
        assert torch.equal(noise.draw("image", step, (4,)), 0.5 * own)
        assert not noise.draw("depth", step, (4,)).any()
        assert torch.equal(noise.draw("pose", step, (4,)), drawn["pose"])


# --- words ------------------------------------------------------------------------------------------------


class Reader:
    """Embeds a text as its place among all that were asked for."""

    def __init__(self):
        self.known: dict[str | None, int] = {}
        self.styled: set[str | None] = set()

    def fits(self, text):
        return True

    def __call__(self, texts, device=None, *, styled=False):
        self.styled |= set(texts) if styled else set()
        rows = [self.known.setdefault(text, len(self.known)) for text in texts]
        return torch.tensor(rows).float()[:, None, None]


def test_which_words_each_branch_reads_in_which_half():
    asked = request(
        Branch(prompt=["a dog", "a cat"], negative_prompt="bad", guidance_scale=3.0),
        depth=Branch(negative_prompt="flat", guidance_scale=2.0),
        pose=Branch(prompt="standing", negative_prompt="unread"),
    )
    batch, reader = Batch(inputs=2, images_per_input=2), Reader()
    found = branch_embeddings(
        asked, batch, {"depth": "depth: ", "pose": "pose: "}, Embeddings(prompted=None, unprompted=None),
        reader=reader, device=torch.device("cpu"), phrases=["in ink"],
    )  # fmt: skip
    words = {number: text for text, number in reader.known.items()}
    told = [[[words[int(n)] for n in branch.flatten()] for branch in half] for half in found]
    depth = ["depth: a dog", "depth: a dog", "depth: a cat", "depth: a cat"]
    image = ["a dog, in ink", "a dog, in ink", "a cat, in ink", "a cat, in ink"]
    # The pose is unguided, so the image's unprompted half reads it as it is.
    assert told == [
        [["bad"] * 4, ["depth: flat"] * 4, ["pose: standing"] * 4],
        [image, depth, ["pose: standing"] * 4],
    ]
    assert reader.styled == {"bad", *image}


def test_embeddings_of_the_users_own_are_the_images():
    asked = request(Branch(guidance_scale=3.0), depth=Branch(prompt="a dog"))
    own = Embeddings(prompted=torch.full((1, 1, 1), 7.0), unprompted=torch.full((1, 1, 1), -7.0))
    found = branch_embeddings(
        asked, Batch(inputs=2), {"depth": ""}, own, reader=Reader(), device=torch.device("cpu")
    )
    assert found[:, 0].flatten().tolist() == [-7, -7, 7, 7]
    assert not (found[:, 1].abs() == 7).any()


# --- what it is to look like ------------------------------------------------------------------------------


def decoder(**changes) -> DecoderAdapter:
    clip = ClipIdentity(name="ViT-tiny/8", width=6, weights=(0.5,))
    made = DecoderAdapter.for_unet(
        tiny_unet(), DecoderConfig(clip=clip, num_tokens=3, token_width=8, **changes)
    )
    made.set_statistics(torch.full((6,), 0.1), torch.full((6,), 0.5))
    return made


def test_what_is_told_is_normalised_then_noised_by_its_own_noise():
    z, source = torch.randn(2, 6), NoiseSource.from_seed(0, 2)
    plain = Told.of(z, LikeSettings(), decoder(), source)
    torch.testing.assert_close(plain.z, (z - 0.1) / 0.5)
    noised = Told.of(z, LikeSettings(noise_level=400), decoder(), source)
    level = NOISE.at_timestep(torch.full((2,), 400.0))
    torch.testing.assert_close(noised.z, add_noise(plain.z, source.draw(LIKE, INITIAL, (6,)), level))
    said = noised.likeness([CONDITIONED, UNLIKE], [0, 1], [])
    assert said.noise_level.tolist() == [[400, 400], [400, 400]]
    assert said.given.tolist() == [[True, True], [False, False]]
    assert torch.equal(said.z, noised.z.expand(2, 2, 6))


def test_who_is_told():
    source = NoiseSource.from_seed(0, 1)
    for on_conditions in (False, True):
        told = Told.of(
            torch.randn(1, 6), LikeSettings(scale=0.25), decoder(on_conditions=on_conditions), source
        )
        said = told.likeness([CONDITIONED], [0, 1, 2], [2])
        assert said.branches == ((0, 1) if on_conditions else (0,))
        assert said.weight == 0.25
        assert told.likeness([CONDITIONED], [0], [0]) is None, "a clean image has nothing to decode"
    nothing = Told.nothing(1, LikeSettings(), decoder(), torch.device("cpu"))
    assert not nothing.likeness([CONDITIONED], [0], []).given.any()


def test_pictures_of_one_call_are_seen_one_by_one_as_unit_vectors():
    pictures = [torch.full((3, 4, 4), 0.25), torch.full((3, 2, 6), 0.75)]
    found = read_like(
        pictures, 2, lambda all_of_them: torch.tensor([[float(p.mean()) * 8, 6.0] for p in all_of_them])
    )
    torch.testing.assert_close(
        found, torch.tensor([[2.0, 6.0], [6.0, 6.0]]) / torch.tensor([[40.0], [72.0]]).sqrt()
    )


def test_a_list_of_generators_serves_every_member_of_an_ensemble():
    first, second = (torch.Generator() for _ in range(2))
    assert Batch(inputs=2, members=2).generators([first, second]) == [first, first, second, second]
    assert ONE.generators([first]) == [first]
