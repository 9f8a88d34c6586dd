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
