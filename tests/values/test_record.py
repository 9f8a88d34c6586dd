"""Means of a record, worked by hand."""

import pytest

from medquanbench.values import CaseResult, Presence, Receipt, Recipe, Record, Run, Target

RUN = Run("b", "demo", "w", "d", "test", True, ("a", "b", "c"), Recipe.parse("fp32"), 0, "k")


def record(details: tuple[tuple[float | None, ...], ...], of_cases: tuple[float | None, ...]) -> Record:
    cases = tuple(
        CaseResult(
            name,
            (1.0, 1.0, 1.0),
            tuple(Target(i, str(i), Presence.BOTH, 1, 1, (), (value,)) for i, value in enumerate(values)),
            None,
            0.0,
            (of_case,),
        )
        for name, values, of_case in zip("abc", details, of_cases)
    )
    return Record(RUN, (), cases, Receipt("fp32", ()), ("ece",), ("flip_rate",))


def test_a_detail_is_averaged_over_targets_that_have_it_and_then_over_cases():
    """Case a: (0.1 + 0.3) / 2 = 0.2; case b has none; case c: 0.6. Not the mean of all three values, 1/3."""
    found = record(((0.1, None, 0.3), (None, None), (0.6,)), (0.5, None, 0.1))
    assert found.detail_mean("ece") == pytest.approx(0.4)
    assert found.detail_mean("flip_rate") == pytest.approx(0.3)


def test_a_detail_that_was_never_measured_has_no_mean():
    assert record(((None,), (), (None,)), (None,) * 3).detail_mean("ece") is None
    assert record(((None,), (), (None,)), (None,) * 3).detail_mean("flip_rate") is None
