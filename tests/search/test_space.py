"""What may be chosen: every answer is a recipe that quant knows."""

import pytest

from medquanbench.quant import METHODS, TRANSFORMS
from medquanbench.quant.ranges import RANGES
from medquanbench.quant.rewriting import check_terms
from medquanbench.search.space import FIRST, LEARNED, OBSERVERS, ORDER, PLAIN, POLICY, QUESTIONS, SELDOM, TERMS
from medquanbench.values import Recipe

REQUEST = Recipe.parse("w4a4 best keep(head) at8(stem) input(8)")


def test_the_two_to_begin_with():
    assert str(PLAIN.recipe(REQUEST, 3)) == f"w4a4 {POLICY} keep(head) at8(stem) calib(3) input(8)"
    assert str(FIRST.recipe(REQUEST, 3)) == (
        f"w4a4 {POLICY} smooth+branches+clip keep(head) at8(stem) calib(3) input(8)"
    )


def test_every_answer_is_asked_for_but_the_one_to_begin_with_or_all_together():
    asked: dict[str, set[str]] = {LEARNED: set(QUESTIONS[LEARNED].answers)}
    for question in (*ORDER, *SELDOM):
        assert not asked.get(question.name, set()) & set(question.answers), "twice"
        asked.setdefault(question.name, set()).update(question.answers)
    assert set(asked) == set(QUESTIONS)
    assert all(set(QUESTIONS[name].answers) - answers <= {FIRST.answer(name)} for name, answers in asked.items())


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_answer_is_known_and_makes_a_recipe_of_its_own(question):
    recipes = [FIRST.answered(question, answer).recipe(REQUEST, 8) for answer in QUESTIONS[question].answers]
    assert len(set(recipes)) == len(recipes)
    for recipe in recipes:
        check_terms(recipe)
        assert Recipe.parse(str(recipe)) == recipe


def test_all_observers_are_asked_of_and_all_terms_exist():
    assert set(OBSERVERS.answers) == set(RANGES)
    names = {word.partition("(")[0] for one in TERMS for text in one.answers for word in text.split("+") if word}
    assert names <= {*TRANSFORMS, *METHODS}


def test_an_answer_changes_one_thing():
    other = FIRST.answered("smoothing", "")
    assert other.answer("smoothing") == "" and FIRST.answer("smoothing") == "smooth"
    assert all(other.answer(name) == FIRST.answer(name) for name in QUESTIONS if name != "smoothing")
    assert FIRST.answered("range of activations", "entropy").recipe(REQUEST, 8).observer == "entropy"
