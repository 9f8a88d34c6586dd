"""The signed-rank test against counting all signs, and its zeros."""

import itertools
import math

import numpy as np
import pytest

from medquanbench.stats import MIN_CASES, wilcoxon_p


def by_counting(differences: np.ndarray) -> float:
    """Two-sided p: among all 2^n ways to set the signs, those whose rank sum is as far from its mean."""
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    middle = ranks.sum() / 2
    seen = abs(ranks[differences > 0].sum() - middle)
    signs = itertools.product((0, 1), repeat=len(ranks))
    return float(np.mean([abs(np.dot(sign, ranks) - middle) >= seen for sign in signs]))


@pytest.mark.parametrize("n", [6, 9, 11])
def test_it_is_exact_without_ties(n):
    for seed in range(5):
        differences = np.random.default_rng(seed).normal(0.4, 1, n)
        assert wilcoxon_p(differences) == pytest.approx(by_counting(differences))


def test_zeros_count_as_pratt_has_them():
    """Pratt ranks the zeros before he leaves them out, so that the smallest loss of 30 with 10 zeros has rank 11."""
    losses = -np.arange(1, 21) / 1000
    differences = np.r_[np.zeros(10), losses]
    ranks = np.arange(11, 31)
    z = ranks.sum() / 2 / math.sqrt((30 * 31 * 61 - 10 * 11 * 21) / 24)
    normal_tail = math.erfc(z / math.sqrt(2))
    assert wilcoxon_p(differences) == pytest.approx(normal_tail, rel=1e-4)


def test_nothing_changed_is_no_evidence():
    assert wilcoxon_p(np.zeros(8)) == 1.0 == wilcoxon_p(np.full(8, 1e-17))


@pytest.mark.parametrize("n", range(MIN_CASES))
def test_too_few_patients_have_no_p(n):
    assert wilcoxon_p(np.ones(n)) is None


def test_a_gain_is_as_significant_as_the_same_loss():
    differences = np.random.default_rng(4).exponential(size=25)
    assert wilcoxon_p(differences) == wilcoxon_p(-differences) < 0.001
