"""The laws of every phantom: a card seeds each case once, a seed fixes every byte, and nothing else has a say."""

from __future__ import annotations

import hashlib
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from medquanbench.phantoms import PHANTOMS, Phantom

PARTS = ("train", "calibration", "test")
CARDS = {
    card["phantom"]: card
    for file in sorted((Path(__file__).parents[2] / "datasets").glob("*-phantom.toml"))
    for card in [tomllib.loads(file.read_text(encoding="utf-8"))]
}
KEPT = [(phantom, name) for phantom, card in CARDS.items() for name in card["sha256"]]


@cache
def volume(phantom: str, seed: int) -> Phantom:
    return PHANTOMS[phantom](seed)


def same(one: Phantom, other: Phantom) -> bool:
    return one.image.tobytes() == other.image.tobytes() and one.label.tobytes() == other.label.tobytes()


def sha256(array: np.ndarray, dtype: str) -> str:
    return hashlib.sha256(np.ascontiguousarray(array.astype(dtype)).tobytes()).hexdigest()


def test_every_phantom_has_its_card():
    assert set(CARDS) == set(PHANTOMS)


@pytest.mark.parametrize("phantom", CARDS)
def test_card_names_each_case_once_and_seeds_it(phantom):
    card = CARDS[phantom]
    names = [name for part in PARTS for name in card["split"][part]]
    assert [len(card["split"][part]) for part in PARTS] == [48, 8, 8]
    assert len(set(names)) == len(names) and set(names) == set(card["seed"])
    assert len(set(card["seed"].values())) == len(names)
    assert [sum(name in card["split"][part] for name in card["sha256"]) for part in PARTS] == [1, 1, 1]


@pytest.mark.parametrize("phantom, name", KEPT)
def test_bytes_are_those_the_card_keeps(phantom, name):
    made, card = volume(phantom, CARDS[phantom]["seed"][name]), CARDS[phantom]
    assert {"image": sha256(made.image, "<i2"), "label": sha256(made.label, "u1")} == card["sha256"][name]


@pytest.mark.parametrize("phantom", CARDS)
def test_a_seed_makes_the_same_bytes_and_another_seed_others(phantom):
    again, other = PHANTOMS[phantom](1), volume(phantom, 2)
    assert same(again, volume(phantom, 1)) and np.array_equal(again.affine, volume(phantom, 1).affine)
    assert again.image.tobytes() != other.image.tobytes() and again.label.tobytes() != other.label.tobytes()


@pytest.mark.parametrize("phantom", CARDS)
def test_global_random_state_is_neither_used_nor_moved(phantom):
    np.random.seed(5)
    first = PHANTOMS[phantom](1)
    drawn = np.random.rand()
    np.random.seed(5)
    assert drawn == np.random.rand() and same(first, volume(phantom, 1))
