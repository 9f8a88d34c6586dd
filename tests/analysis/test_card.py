"""Study cards: what stands on the shelf can be read; what nobody would read is refused in one sentence."""

from __future__ import annotations

import pytest

from medquanbench import shelf
from medquanbench.analysis.card import open_card
from medquanbench.values import RequestError

SHELF = shelf.names(shelf.STUDIES, ".toml")
GOOD = """
name = "mine"
title = "Mine"
question = "Does it?"
source = "me"
baseline = "plain"
[layer]
recipe = "w4a4 per-channel"
cases = 1
windows = 1
[[row]]
name = "plain"
recipe = "w4a4 per-channel"
paper_dsc = 0.5
[[row]]
name = "one"
recipe = "w4a4 per-channel svd(rank=1,on={layer}) keep({layer})"
"""


@pytest.mark.parametrize("name", SHELF)
def test_cards_of_the_shelf_open_under_their_own_names(name):
    card = open_card(name)
    assert card.name == name and card.question.endswith("?") and card.source and card.reading
    assert len({row.text + (row.variant or "") for row in card.rows}) == len(card.rows)


def test_a_place_for_the_layer_is_filled_everywhere(tmp_path):
    (tmp_path / "mine.toml").write_text(GOOD)
    plain, one = open_card(tmp_path / "mine.toml").rows
    assert not plain.needs_layer and one.needs_layer
    assert str(one.recipe("a.b")) == "w4a4 per-channel svd(rank=1,on=a.b) keep(a.b)"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("source =", "sources =", "has no 'source'"),
        ('title = "Mine"', 'title = "Mine"\nnote = "x"', "no key 'note' in what .* may have"),
        ('title = "Mine"', "title = 3", "'title' must be a text"),
        ('name = "mine"', 'name = "a/b"', "'name' must be a name for files"),
        ('baseline = "plain"', 'baseline = "fp32"', "the baseline 'fp32' is none of its rows: plain, one"),
        ('name = "one"', 'name = "plain"', "two rows have the name 'plain'"),
        ("paper_dsc = 0.5", "paper_dsc = 5", "row 1: 'paper_dsc' must be a number from 0 to 1"),
        ("paper_dsc = 0.5", "at_most = 1", "row 1: 'at_most' must be true or false"),
        ("paper_dsc = 0.5", "at_most = true", r"'at_most' is about calib\(N\)"),
        ("paper_dsc = 0.5", "dsc = 0.5", "no key 'dsc' in what .*row 1 may have"),
        ("[layer]", "[search]\nminutes = 0\nfloat_budget_percent = 2\n[layer]", "'minutes' must be a number above 0"),
        ("[layer]", "[search]\nminutes = 1\nfloat_budget_percent = 101\n[layer]", "must be 0 to 100"),
        ("[layer]", "[search]\nminutes = 1\n[layer]", "search has no 'float_budget_percent'"),
        ("svd(rank=1", "svd(rang=1", "row 2: no parameter 'rang'"),
        ("svd(", "sdv(", "row 2: no transform 'sdv'"),
        ("per-channel svd", "per-chanel svd", "row 2: no policy 'per-chanel'"),
        ("cases = 1", "cases = 0", "layer: 'cases' must be a whole number above 0"),
        ('recipe = "w4a4 per-channel"\ncases', 'recipe = "w4a4 engine"\ncases', "a recipe with dynamic scales"),
        ("[layer]", "[layers]", "no key 'layers'"),
        ("[[row]]", "[[row]", "cannot be read"),
        ("[layer]\nrecipe = \"w4a4 per-channel\"\ncases = 1\nwindows = 1\n", "", "no table .layer. says how"),
    ],
)  # fmt: skip
def test_a_wrong_card_is_refused_with_its_place(tmp_path, old, new, words):
    assert old in GOOD
    (tmp_path / "mine.toml").write_text(GOOD.replace(old, new))
    with pytest.raises(RequestError, match=words) as told:
        open_card(tmp_path / "mine.toml")
    assert str(tmp_path / "mine.toml") in str(told.value) and "\n" not in str(told.value).split("(at")[0]


def test_an_unknown_study_lists_the_shelf():
    with pytest.raises(RequestError, match="no study 'nosuch' in .*; there is: best, best-3-bits, calibration-size"):
        open_card("nosuch")
