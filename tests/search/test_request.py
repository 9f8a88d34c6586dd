"""From `w4a4 best` to a recipe: on which cases, what is refused, what is found again."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest

from medquanbench import evaluate, open_bundle, open_dataset
from medquanbench.search import Terms, resolved
from medquanbench.search.search import Search
from medquanbench.search.space import QUESTIONS
from medquanbench.values import Recipe, RequestError


@pytest.fixture
def bundle(micro_bundle):
    return open_bundle(micro_bundle, weights="demo-micro")


@pytest.fixture
def dataset(micro_data):
    return open_dataset(micro_data / "micro.toml", root=micro_data)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDQUANBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def few_questions(monkeypatch):
    monkeypatch.setattr("medquanbench.search.search.ORDER", (QUESTIONS["scales of weights"],))
    monkeypatch.setattr("medquanbench.search.search.SELDOM", ())
    monkeypatch.setattr("medquanbench.search.search._LEARNED_COSTS", 1e12)


def ask(bundle, dataset, *texts, **terms):
    return resolved(bundle, dataset, [Recipe.parse(text) for text in texts], Terms(**{"calibrated": 1, **terms}))


def test_recipes_that_are_given_stay_as_they_are(bundle, dataset):
    recipes, choices = ask(bundle, dataset, "w4a4 adaptive", "fp32")
    assert list(map(str, recipes)) == ["w4a4 adaptive", "fp32"] and choices == ()


def test_it_is_fitted_on_the_first_cases_and_judged_on_others_of_the_lists(bundle, dataset):
    recipes, (choice,) = ask(bundle, dataset, "w4a4 adaptive", "w4a4 best input(8)")
    assert str(recipes[0]) == "w4a4 adaptive" and recipes[1] == choice.recipe
    assert (choice.fitted, choice.judged, choice.windows) == (("c1",), ("t1",), 2)
    assert str(choice.request) == "w4a4 best calib(1) input(8)"
    assert choice.recipe.input_bits == 8 and choice.recipe.calibration == 1
    # One input channel: there is nothing to be smoothed, and that is told.
    assert any("'smooth' changes none of 1 layers" in trial.problem for trial in choice.trials)


def test_the_same_request_is_found_again_and_another_is_not(bundle, dataset, monkeypatch):
    first = ask(bundle, dataset, "w4a4 best")
    begun = []
    monkeypatch.setattr(Search, "choice", lambda self: begun.append(str(self.request)) or first[1][0])
    assert ask(bundle, dataset, "w4a4 best") == first and begun == []
    for terms in ({"seed": 1}, {"budget_min": 11.0}, {"float_budget": 0.02}):
        ask(bundle, dataset, "w4a4 best", **terms)
    ask(replace(bundle, weights_sha256="0" * 64), dataset, "w4a4 best")
    assert len(begun) == 4


def test_two_requests_that_find_one_recipe_make_one_row(bundle, dataset):
    chosen = str(ask(bundle, dataset, "w4a4 best")[1][0].recipe)
    for given in (chosen, chosen.replace(" calib(1)", "")):
        recipes, choices = ask(bundle, dataset, given, "w4a4 best")
        assert list(map(str, recipes)) == [given] and len(choices) == 1


@pytest.mark.parametrize(
    ("text", "terms", "message"),
    [
        ("w4a4 best smooth", {}, "best finds transforms, rounding and ranges by itself; leave out smooth"),
        ("w4a4 best calib(1,entropy)", {}, "leave out entropy"),
        ("w4a4 best nf4", {}, "leave out nf4"),
        ("w4a16 best", {}, "best is found for 2 to 8 bits of weights and of activations"),
        ("w4a4 best", {"budget_min": 0.0}, "the search is given 0 minutes"),
        ("w4a4 best", {"budget_min": float("nan")}, "the search is given nan minutes"),
        ("w4a4 best", {"float_budget": 1.5}, "the float budget is 150%"),
        ("w4a4 best", {"float_budget": -0.01}, "the float budget is -1%"),
        ("w4a4 best", {"float_budget": float("nan")}, "the float budget is nan%"),
        ("w4a4 best keep(nowhere)", {}, "keep\\(nowhere\\) matches none of 1 layers"),
        ("w4a4 best", {"calibrated": 2}, "judged on other patients .*: 2 cases are calibrated on"),
        ("w4a4 best", {"calibrated": 3}, "3 calibration cases are needed"),
    ],
)
def test_what_is_refused_before_anything_is_searched(bundle, dataset, monkeypatch, text, terms, message):
    monkeypatch.setattr(Search, "choice", lambda self: pytest.fail("it has searched"))
    with pytest.raises(RequestError, match=message):
        ask(bundle, dataset, text, **terms)


def test_a_wrong_row_is_told_before_another_is_searched(bundle, dataset, monkeypatch):
    monkeypatch.setattr(Search, "choice", lambda self: pytest.fail("it has searched"))
    with pytest.raises(RequestError, match="no policy 'adaptiv'"):
        ask(bundle, dataset, "w4a4 best", "w4a4 adaptiv")


def test_the_choice_stands_in_record_report_and_table(bundle, dataset, tmp_path):
    study = evaluate(bundle, dataset, ["w4a4 best calib(1)"], cases=2, out=tmp_path / "out")
    recipe = str(study.records[1].run.recipe)
    assert " engine" in recipe and "best" not in recipe
    with open(tmp_path / "out" / "best.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["recipe"] for row in rows if row["chosen"]] == [recipe]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "What the search chose" in page and "w4a4 best calib(1)" in page
    assert any("stands for" in note and recipe in note for note in study.report.notes)
    again = evaluate(bundle, dataset, ["w4a4 best calib(1)"], cases=2, out=tmp_path / "out")
    assert again.key == study.key
    # The recipe written out is another study: nothing was searched for it.
    assert evaluate(bundle, dataset, [recipe], cases=2).key != study.key
