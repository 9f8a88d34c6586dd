"""What a card must hold (the sentences: tests/bad_input)."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from medquanbench import shelf
from medquanbench.dataset_card import check_card, leaves_root
from medquanbench.values import RequestError
from tests.conftest import CARD

SHIPPED = sorted(shelf.shelf(shelf.DATASETS).glob("*.toml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_cards_are_right_and_lack_nothing(file):
    check_card(tomllib.loads(file.read_text()), file)


@pytest.mark.parametrize("key", sorted(set(tomllib.loads(CARD)) - {"layout"}))
@pytest.mark.parametrize("value", [None, 1.5, True, {"a": 1}, [], [[]], ""])
def test_every_key_is_needed_and_of_one_kind(key, value):
    card = tomllib.loads(CARD)
    check_card(card, Path("micro.toml"))
    card.pop(key)
    if value is not None:
        card[key] = value
    with pytest.raises(RequestError, match=f"the dataset card micro.toml.* '{key}'"):
        check_card(card, Path("micro.toml"))


FULL = """
background = [7]
description = "d"
citation = "c"
reference = "r"
[[layout]]
name = "a"
below = ["."]
image = ["i/{case}.nii", "j/{case}.nii"]
label = ["l/{case}.nii", "m/{case}/{structure}.nii"]
[split]
train = { first = "t1", last = "t2" }
test = ["m1", { first = "m2", last = "m3" }]
[split.theirs]
test = ["t1"]
[patient]
m1 = "anna"
[label_map]
low = "high"
[access]
steps = "ask"
[[download]]
file = "a.zip"
url = "https://a.b/c"
bytes = 1
md5 = "0123456789abcdef0123456789abcdef"
[[label]]
index = 1
name = "low"
tolerance_mm = 1.0
stored = 2
tolerance_source = "own"
"""


def places(value: object) -> list[tuple]:
    """The way to each value in nested tables and lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way for key, below in inner for way in [(key,), *((key, *rest) for rest in places(below))]]


@pytest.mark.parametrize(
    "odd", [None, 0, -1, 1.5, float("nan"), True, "", "x y", "{case}", [], [[]], {}, {"a": 1}, [{}]]
)
def test_whatever_stands_in_a_card_is_right_or_a_sentence(odd):
    """A full card with one odd value, or without one, at every place: never another error."""
    text, wrong = CARD.split("[layout]")[0] + FULL, 0
    check_card(tomllib.loads(text), Path("full.toml"))
    for *parents, key in places(tomllib.loads(text)):
        card = tomllib.loads(text)
        inner = card
        for parent in parents:
            inner = inner[parent]
        if odd is None:
            del inner[key]
        else:
            inner[key] = odd
        try:
            check_card(card, Path("full.toml"))
        except RequestError as error:
            wrong += 1
            assert "full.toml" in str(error)
    assert wrong > 15


@pytest.mark.parametrize(
    "path, leaves",
    [
        ("a/b", False),
        ("a..b/c", False),
        ("./a", False),
        ("../a", True),
        ("a/../../b", True),
        ("/a", True),
        ("a\\..\\b", True),
    ],
)
def test_paths_that_leave_the_data_root(path, leaves):
    assert leaves_root(path) == leaves
