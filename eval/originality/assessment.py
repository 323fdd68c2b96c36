"""What is known about every generated picture of a set, beside a training set?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from eval.features import FeatureSet
from eval.manifold.features import check_neighbours
from eval.manifold.manifold import Manifold
from eval.originality.copies import Judgement, check_level, judge
from eval.originality.nearest import Nearest, meaning_within, nearest_meaning, nearest_of, paired_meaning
from eval.originality.sight import Sight
from eval.pictures import Pictures
from eval.rarity import Rarity


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One generated picture."""

    name: str
    rarity: float | None
    """None outside the manifold."""
    realism: float
    """Above 1: in a ball of the denser half of the reals; inf: the features of a training picture."""
    training: Nearest
    prompt: str | None
    """Or what else its group goes by; None where nothing is known of groups."""
    same_prompt: Nearest | None
    """The nearest other output of the same prompt; None where there is none."""
    reference: Nearest | None
    """The picture that was given for it."""
    truncation: float | None

    @property
    def is_copy(self) -> bool:
        """Of a training picture."""
        return self.training.is_copy

    @property
    def is_repeat(self) -> bool:
        """Of another output of the same prompt."""
        return self.same_prompt is not None and self.same_prompt.is_copy


@dataclass(frozen=True, kw_only=True, slots=True)
class References:
    """Pictures that were given, one for each output."""

    pictures: Pictures
    places: np.ndarray
    """(M,) int64: which of them each output was given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assessment:
    """All generated pictures, and by what they were judged."""

    rows: tuple[Row, ...]
    rarity: Rarity
    meaning: Judgement
    look: Judgement | None
    """None where the training set is a file of features."""
    precision: float
    recall: float | None
    """None where generated pictures are too few for it."""
    coverage: float

    @property
    def num_copies(self) -> int:
        return sum(row.is_copy for row in self.rows)

    @property
    def num_repeats(self) -> int:
        return sum(row.is_repeat for row in self.rows)

    @property
    def prompts(self) -> dict[str, list[Row]]:
        """Outputs by prompt, of prompts with several; those that repeat themselves most come first."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            if row.same_prompt is not None:
                found.setdefault(str(row.prompt), []).append(row)
        share = {prompt: np.mean([row.is_repeat for row in rows]) for prompt, rows in found.items()}
        return {prompt: found[prompt] for prompt in sorted(found, key=lambda prompt: -share[prompt])}


def assess(
    generated: Pictures,
    training: Pictures | FeatureSet,
    extractor: Callable[[Pictures], FeatureSet],
    *,
    k: int = 3,
    level: float = 0.01,
    truncation: Mapping[str, float] | None = None,
    prompts: Sequence[str | None] | None = None,
    references: References | None = None,
    sight: Sight | None = None,
) -> Assessment:
    """Rarity, realism and what is nearest, by meaning (the extractor) and by look (`sight`).

    `truncation` gives psi by name where it is known, `prompts` (M,) what outputs belong together by, None
    where nothing is known. Where `training` is features of the same extractor, nothing is judged by look.
    Raises ValueError for too few pictures for k or the level, and for features of another extractor.
    """
    # Before anything is embedded, which may take hours.
    check_level(len(training), level)
    check_neighbours(len(training), (k,), "the training set")
    if prompts is not None and len(prompts) != len(generated):
        raise ValueError(f"there are {len(prompts)} prompts for {len(generated)} pictures; give one for each")
    asked = _Asked(groups=groups_of(prompts or ()), references=references, level=level)
    made = extractor(generated)
    real = training if isinstance(training, FeatureSet) else extractor(training)
    manifold = Manifold(real.values, (k,))
    found = manifold.compare(made.values, recall=len(made) > k)[0]
    assert found.realism is not None
    meaning = _by_meaning(made, real, None if references is None else extractor(references.pictures), asked)
    look = None
    if not isinstance(training, FeatureSet):
        look = _by_look(sight or Sight(), generated, training, asked)
    nearest = nearest_of(meaning.training, look and look.training, real.names)
    siblings = nearest_of(meaning.same_prompt, look and look.same_prompt, generated.names)
    given: list[Nearest | None] = [None] * len(made)
    if references is not None and meaning.reference is not None:
        given = nearest_of(meaning.reference, look and look.reference, references.pictures.names)
    psis, rows = truncation or {}, []
    for n, name in enumerate(generated.names):
        of_training = nearest[n]
        assert of_training is not None
        rows.append(
            Row(
                name=name, rarity=None if np.isnan(found.rarity[n]) else float(found.rarity[n]),
                realism=float(found.realism[n]), training=of_training, prompt=prompts[n] if prompts else None,
                same_prompt=siblings[n], reference=given[n], truncation=psis.get(name),
            )
        )  # fmt: skip
    return Assessment(
        rows=tuple(rows), meaning=meaning.training, look=look and look.training, coverage=found.coverage,
        rarity=Rarity(scores=found.rarity, radii=manifold.radii[0], k=k, features=made.source),
        precision=found.precision, recall=found.recall,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """What is compared beside the training set."""

    groups: list[np.ndarray]
    references: References | None
    level: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Space:
    """The verdicts in one space."""

    training: Judgement
    same_prompt: Judgement
    reference: Judgement | None


def _by_meaning(made: FeatureSet, real: FeatureSet, given: FeatureSet | None, asked: _Asked) -> _Space:
    own = nearest_meaning(real.values, real.values, same=True)[0]
    scaled = partial(judge, own=own, level=asked.level)
    reference = None
    if given is not None and asked.references is not None:
        places = asked.references.places
        reference = scaled(paired_meaning(made.values, given.values[places]), places)
    return _Space(
        training=scaled(*nearest_meaning(made.values, real.values)),
        same_prompt=scaled(*meaning_within(made.values, asked.groups)), reference=reference,
    )  # fmt: skip


def _by_look(sight: Sight, generated: Pictures, training: Pictures, asked: _Asked) -> _Space:
    scaled = partial(judge, own=sight.nearest(training, training)[0], level=asked.level)
    reference = None
    if (given := asked.references) is not None:
        reference = scaled(sight.paired(generated, given.pictures, given.places), given.places)
    return _Space(
        training=scaled(*sight.nearest(generated, training)),
        same_prompt=scaled(*sight.nearest_within(generated, asked.groups)), reference=reference,
    )  # fmt: skip


def groups_of(prompts: Sequence[str | None]) -> list[np.ndarray]:
    """Places of the outputs of each prompt that has several."""
    found: dict[str, list[int]] = {}
    for place, prompt in enumerate(prompts):
        if prompt is not None:
            found.setdefault(prompt, []).append(place)
    return [np.array(group) for group in found.values() if len(group) > 1]
