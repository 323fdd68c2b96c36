"""Does a table tell each picture its own text?"""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.protocols.text_table import TextTable


@pytest.mark.parametrize(
    ("names", "asked", "expected"),
    [
        (["cats/0.png", "dogs/0.png"], "out/dogs/0.png", "dogs/0.png"),
        (["cats/0", "dogs/0"], "out/cats/0.jpg", "cats/0"),
        (["0.png"], "out/cats/0.png", "0.png"),
        (["0"], "out/0_image.png", "0"),
        (["a.b"], "out/a.b.png", "a.b"),
        (["0", "cats/0"], "cats/0.png", "cats/0"),
        (["cats/0", "cats/1"], "dogs/0.png", None),
        (["0.png"], "dogs/1.png", None),
    ],
)
def test_the_fullest_name_counts(names, asked, expected):
    assert TextTable([(name, name) for name in names], "t").of(Path(asked)) == expected


def test_two_texts_of_one_name_are_refused():
    told = TextTable([("cats/0.png", "a cat"), ("0.png", "one"), ("0.png", "another")], "t.csv")
    assert told.of("cats/0.png") == "a cat"
    with pytest.raises(ValueError, match=r"t.csv: 0.png is told 2 things, such as 'another' and 'one'"):
        told.of("dogs/0.png")
