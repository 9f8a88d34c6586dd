"""Splits of a card: ranges, parts of splits with names, and which cases may stand twice."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from medquanbench.dataset_splits import check_splits, is_split, splits_of
from medquanbench.values import RequestError

FILE = Path("micro.toml")


def read(text: str) -> dict[str, tuple[str, ...]]:
    card = {"split": tomllib.loads(text)}
    assert is_split(card["split"])
    check_splits(card, FILE)
    return dict(splits_of(card))


def test_a_range_is_its_names():
    spelled = read('test = ["p_098", "p_099", "p_100", "p_101"]')
    assert read('test = { first = "p_098", last = "p_101" }') == spelled
    assert read('test = ["p_098", { first = "p_099", last = "p_101" }]') == spelled
    assert read('test = { first = "7", last = "7" }') == {"test": ("7",)}


def test_the_parts_of_a_named_split_come_after_the_cards_own():
    there = read('[other]\ntest = ["a"]\nfold0 = []\n[b]\nfirst = ["c"]\nlast = ["d"]')
    assert there == {"other-test": ("a",), "other-fold0": (), "b-first": ("c",), "b-last": ("d",)}
    assert list(read('test = ["a"]\n[other]\ntest = ["b"]\ntrain = ["a"]')) == ["test", "other-test", "other-train"]


def test_calibration_takes_from_what_is_no_test():
    assert read('train = ["a", "b"]\ncalibration = ["b"]\ntest = ["c"]')["calibration"] == ("b",)


@pytest.mark.parametrize(
    "text, words",
    [
        ('train = ["a"]\ntest = ["a"]', "'a' is named twice"),
        ('train = ["a"]\ncalibration = ["c"]\ntest = ["c"]', "'c' is named twice"),
        ('test = ["a", "a"]', "'a' is named twice"),
        ('train = ["a"]\ncalibration = ["b", "b"]', "'b' is named twice"),
        ('[x]\ntrain = ["a"]\ntest = ["a"]', "'a' is named twice"),
        ('[x]\ncalibration = ["a"]\ntest = ["a"]', "'a' is named twice"),
        ('test = ["p_3", { first = "p_1", last = "p_5" }]', "'p_3' is named twice"),
        ('test = { first = "p_1", last = "p_10" }', "no range leads from 'p_1' to 'p_10'"),
        ('test = { first = "p_2", last = "p_1" }', "no range leads"),
        ('test = { first = "p_1", last = "q_2" }', "no range leads"),
        ('test = { first = "a", last = "b" }', "no range leads"),
        ('test = { first = "000000000", last = "999999999" }', "no range leads"),
        ('test = ["a/b"]', "'a/b' is no case name"),
        ('"a b" = ["c"]', "'a b' cannot be the name of a split"),
        ('a-b = ["c"]\n[a]\nb = ["d"]', "'a-b' cannot be the name of a split .*there twice"),
    ],
)
def test_bad_splits(text, words):
    with pytest.raises(RequestError, match=f"the split of micro.toml: .*{words}"):
        read(text)


@pytest.mark.parametrize(
    "text", ["", "test = 1", "test = [1]", 'test = { first = "a" }', "[a]", "[a.b]", "[a.b]\nc = []", "a = [[]]"]
)
def test_what_is_no_split(text):
    assert not is_split(tomllib.loads(text))
