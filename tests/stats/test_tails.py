"""The worst of the cases, by hand."""

import pytest

from medquanbench.stats import is_collapsed, lost_much, percentile_5


@pytest.mark.parametrize(("n", "rank"), [(1, 1), (19, 1), (20, 1), (21, 2), (40, 2), (41, 3), (100, 5)])
def test_the_5th_percentile_is_a_case_of_the_sample(n, rank):
    values = [float(i) for i in range(n, 0, -1)]  # the smallest is 1
    assert percentile_5(values) == rank


def test_at_least_a_twentieth_lies_at_or_below_and_no_smaller_value_has_that():
    values = [0.1, -0.3, 0.0, 0.0, -0.3] * 13
    found = percentile_5(values)
    assert sum(v <= found for v in values) >= len(values) / 20 > sum(v < found for v in values)


def test_no_cases_have_no_percentile():
    assert percentile_5([]) is None


def test_a_loss_of_exactly_the_limit_is_not_more_than_it():
    assert lost_much([-0.05, -0.0501, 0.3, -1.0]) == 2


@pytest.mark.parametrize(
    ("reference", "score", "collapsed"),
    [
        (0.5, 0.09, True),
        (0.9, 0.0, True),
        (0.9, 0.1, False),
        (0.49, 0.0, False),
        (None, 0.0, False),
        (0.9, None, False),
    ],
)
def test_a_structure_collapses_that_was_found_and_is_gone(reference, score, collapsed):
    assert is_collapsed(reference, score) is collapsed
