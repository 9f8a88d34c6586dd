"""The share of a loss that is won back: exact where it is the same for all, and an interval that holds the truth."""

import numpy as np
import pytest

from medquanbench.stats import MIN_CASES, Gap, gap_closed, mean_gap_closed


def scores(n: int, seed: int = 0):
    random = np.random.default_rng(seed)
    reference = random.uniform(0.7, 0.9, n)
    return reference, reference - random.uniform(0.05, 0.3, n)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0, 1.5, -0.5])
def test_the_same_share_of_everybody_has_no_spread(share):
    reference, base = scores(20)
    found = gap_closed(reference, base, base + share * (reference - base))
    assert (found.share, found.ci_low, found.ci_high) == pytest.approx((share,) * 3)


def test_the_share_is_that_of_the_means():
    found = gap_closed([1.0, 0.8], [0.5, 0.7], [0.6, 0.8])
    assert found == Gap(pytest.approx(0.2 / 0.6))  # two patients: no interval


def test_the_interval_holds_the_truth_as_often_as_it_says():
    held = 0
    for seed in range(200):
        reference, base = scores(30, seed)
        won = np.random.default_rng(1000 + seed).normal(0.6, 0.3, 30)
        found = gap_closed(reference, base, base + won * (reference - base), resamples=999)
        held += found.ci_low <= 0.6 <= found.ci_high
    assert held >= 180


def test_nothing_lost_has_no_share_and_a_doubtful_loss_no_interval():
    reference, base = scores(12)
    assert gap_closed(base, reference, reference) == Gap(None)
    doubtful = np.where(np.arange(12) % 2, 0.1, -0.09)
    found = gap_closed(reference, reference - doubtful, reference)
    assert found.share == pytest.approx(1) and found.ci_low is None


def test_order_and_few_patients():
    reference, base = scores(MIN_CASES)
    other = base + 0.1
    found = gap_closed(reference, base, other)
    assert found.ci_low < found.share < found.ci_high
    assert gap_closed(reference[1:], base[1:], other[1:]).ci_low is None


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="three rows"):
        gap_closed([0.1], [0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="three rows"):
        gap_closed([np.nan], [0.1], [0.1])


def test_the_mean_over_networks_is_that_of_their_shares():
    networks = [(*scores(20, seed), scores(20, seed)[1] + 0.05) for seed in (1, 2, 3)]
    found, apart = mean_gap_closed(networks), [gap_closed(*network) for network in networks]
    assert found.share == pytest.approx(np.mean([one.share for one in apart]))
    assert mean_gap_closed(networks[:1]) == apart[0]
    # The same network thrice has the spread of one: patients are drawn for all networks at once.
    thrice = mean_gap_closed(networks[:1] * 3)
    assert (thrice.share, thrice.ci_low, thrice.ci_high) == pytest.approx(
        (apart[0].share, apart[0].ci_low, apart[0].ci_high)
    )
    assert found.ci_high - found.ci_low < max(one.ci_high - one.ci_low for one in apart)


def test_one_network_without_a_loss_leaves_no_mean():
    reference, base = scores(12)
    assert mean_gap_closed([(reference, base, reference), (base, reference, base)]) == Gap(None)
    with pytest.raises(ValueError, match="of each network"):
        mean_gap_closed([(reference, base, reference), (reference[1:], base[1:], reference[1:])])
    with pytest.raises(ValueError, match="of each network"):
        mean_gap_closed([])
