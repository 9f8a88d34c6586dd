"""Holm's adjustment by hand and by its law, and the claim about every label."""

import itertools

import numpy as np
import pytest

from medquanbench.stats import RESAMPLES, holm, largest_p, resamples_for


def test_a_family_of_four_by_hand():
    """Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04; the last may not be below the third."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def test_a_member_that_could_not_be_tested_makes_the_family_no_smaller():
    assert holm([0.01, None, 0.02]) == (0.03, None, 0.04)
    assert holm([]) == () and holm([None]) == (None,)


def test_adjusted_p_are_between_p_and_1_and_keep_the_order():
    generator = np.random.default_rng(0)
    for size in range(1, 30):
        p = np.round(generator.random(size) ** 3, 2).tolist()  # rounded: with ties
        adjusted = holm(p)
        assert all(before <= after <= 1 for before, after in zip(p, adjusted))
        assert [adjusted[i] for i in np.argsort(p, kind="stable")] == sorted(adjusted)
        assert all((a == b) <= (x == y) for (a, x), (b, y) in itertools.combinations(zip(p, adjusted), 2))


def test_rejecting_is_stepping_down():
    """Holm's own words: from the smallest on, compare with alpha / (m - i) and stop at the first that is larger."""
    generator = np.random.default_rng(1)
    for _ in range(200):
        p, alpha = (generator.random(6) ** 4).tolist(), 0.025
        rejected = set()
        for done, i in enumerate(sorted(range(6), key=p.__getitem__)):
            if p[i] > alpha / (6 - done):
                break
            rejected.add(i)
        assert {i for i, adjusted in enumerate(holm(p)) if adjusted <= alpha} == rejected


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_a_p_must_be_one(bad):
    with pytest.raises(ValueError, match="not from 0 to 1"):
        holm([0.5, bad])


def test_every_label_passes_where_the_worst_does():
    assert largest_p([0.01, 0.02, 0.0001]) == 0.02
    assert largest_p([0.01, None]) is None and largest_p([]) is None


@pytest.mark.parametrize("family", [1, 6, 78, 702])
def test_a_large_family_has_resamples_enough_to_be_significant(family):
    smallest = 1 / (resamples_for(family) + 1)
    assert holm([smallest] * family)[0] <= 0.025 and resamples_for(family) >= RESAMPLES
