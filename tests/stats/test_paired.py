"""The laws of the paired comparison, and values a person can check by hand."""

import dataclasses
import json
import math

import numpy as np
import pytest

from medquanbench.stats import LEVEL, MIN_CASES, Paired, Verdict, paired


def random_samples(count, seed=0):
    """Differences of several kinds: smooth, skewed, rounded (many ties), nearly all zero."""
    generator = np.random.default_rng(seed)
    for i in range(count):
        n = int(generator.integers(MIN_CASES, 40))
        kinds = (
            generator.normal(-0.005, 0.01, n),
            -generator.exponential(0.01, n),
            np.round(generator.normal(-0.005, 0.01, n), 2),
            np.where(generator.random(n) < 0.1, -0.05, 0.0),
        )
        yield kinds[i % len(kinds)]


def test_coverage_of_the_interval_on_normal_samples():
    generator = np.random.default_rng(5)
    samples = generator.normal(0.3, 2.0, size=(300, 20))
    answers = [paired(sample, margin=1.0, seed=i, resamples=499) for i, sample in enumerate(samples)]
    covered = sum(a.ci_low <= 0.3 <= a.ci_high for a in answers)
    assert 0.91 <= covered / 300 <= 0.98


def test_false_non_inferiority_stays_near_its_level_on_skewed_losses():
    """True mean exactly at -margin: at most 5 % may pass. A t-interval passes about 7 % here."""
    generator = np.random.default_rng(6)
    samples = -generator.exponential(1.0, size=(400, 20))
    passed = sum(
        paired(s, margin=1.0, seed=i, resamples=499).verdict is Verdict.NON_INFERIOR for i, s in enumerate(samples)
    )
    assert passed / 400 <= 0.05


@pytest.mark.parametrize("resamples", [39, 199, 500, 999])
def test_p_and_interval_agree_and_so_does_the_verdict(resamples):
    seen = set()
    for i, sample in enumerate(random_samples(120)):
        free = paired(sample, margin=0.01, seed=i, resamples=resamples)
        margins = {0.002, 0.01}
        if free.ci_low < 0:  # the tie itself, and its two neighbours
            margins |= {-free.ci_low, math.nextafter(-free.ci_low, 0), math.nextafter(-free.ci_low, 1)}
        for margin in margins:
            answer = paired(sample, margin=margin, seed=i, resamples=resamples)
            assert (answer.p_value <= 0.025) == (answer.ci_low > -margin)
            assert (answer.verdict is Verdict.NON_INFERIOR) == (answer.ci_low > -margin)
            assert (answer.verdict is Verdict.INFERIOR) == (answer.ci_high < -margin)
            seen.add(answer.verdict)
    assert seen == {Verdict.NON_INFERIOR, Verdict.INFERIOR, Verdict.INCONCLUSIVE}


def test_ni_bound_is_the_smallest_margin_that_passes():
    for sample in random_samples(40, seed=1):
        bound = paired(sample, margin=0.01, resamples=199).ni_bound
        assert paired(sample, margin=bound + 1e-12, resamples=199).verdict is Verdict.NON_INFERIOR
        if bound > 0:
            assert paired(sample, margin=bound, resamples=199).verdict is not Verdict.NON_INFERIOR


def test_p_falls_as_the_margin_grows_and_the_interval_does_not_move():
    order = (Verdict.INFERIOR, Verdict.INCONCLUSIVE, Verdict.NON_INFERIOR)
    for sample in random_samples(20, seed=2):
        answers = [paired(sample, margin, resamples=199) for margin in np.linspace(1e-4, 0.05, 30)]
        p_values = [a.p_value for a in answers]
        assert p_values == sorted(p_values, reverse=True)
        ranks = [order.index(a.verdict) for a in answers]
        assert ranks == sorted(ranks)
        assert len({(a.ci_low, a.ci_high, a.ni_bound) for a in answers}) == 1


def test_the_interval_moves_and_stretches_with_the_differences():
    for sample in random_samples(40, seed=3):
        if np.ptp(sample) == 0:
            continue  # no spread to stretch: such an interval is in units of the score
        plain = paired(sample, margin=0.01, resamples=199)
        moved = paired(3 * sample + 0.25, margin=0.01, resamples=199)
        for name in ("mean_difference", "ci_low", "ci_high"):
            assert getattr(moved, name) == pytest.approx(3 * getattr(plain, name) + 0.25, abs=1e-12)


def test_the_order_of_the_cases_does_not_matter():
    generator = np.random.default_rng(4)
    for sample in random_samples(20, seed=4):
        assert paired(sample, 0.01, resamples=199) == paired(generator.permutation(sample), 0.01, resamples=199)


def test_one_seed_one_answer_and_another_seed_another():
    sample = np.random.default_rng(7).normal(size=30)
    assert paired(sample, 0.1, seed=3) == paired(sample, 0.1, seed=3)
    assert paired(sample, 0.1, seed=3).ci_low != paired(sample, 0.1, seed=4).ci_low


def test_the_input_is_left_as_it_was():
    sample = np.array([0.3, 0.1, 0.2, 0.0, 0.4, 0.6])
    paired(sample, 0.1, resamples=99)
    assert sample.tolist() == [0.3, 0.1, 0.2, 0.0, 0.4, 0.6]


@pytest.mark.parametrize("value", [0.0, 0.1, -0.01])
@pytest.mark.parametrize("n", [6, 20, 400])
def test_equal_differences_leave_room_for_the_loss_that_n_patients_may_miss(value, n):
    """Where 1 - 0.025^(1/n) of all patients lose everything, n patients without such a loss are a 2.5 % chance."""
    answer = paired([value] * n, margin=0.05)
    share = value - answer.ci_low
    assert (1 - share) ** n == pytest.approx(LEVEL)
    assert answer.ci_high - value == pytest.approx(share)
    assert answer.p_value == pytest.approx((1 - value - 0.05) ** n)  # as many lose everything as makes the mean -0.05


def test_nothing_lost_in_few_patients_is_inconclusive_and_in_many_is_not():
    """At a margin of 0.01, (1 - 0.01)^n falls below 0.025 from 368 patients on."""
    assert paired([0.0] * 20, 0.01).verdict is Verdict.INCONCLUSIVE
    assert paired([0.0] * 367, 0.01).verdict is Verdict.INCONCLUSIVE
    assert paired([0.0] * 368, 0.01).verdict is Verdict.NON_INFERIOR
    assert paired([-0.5] * 20, 0.01).verdict is Verdict.INFERIOR


@pytest.mark.parametrize("n", [6, 15, 60])
def test_p_and_interval_of_equal_differences_agree_at_the_tie_itself(n):
    bound = -paired([0.0] * n, 0.01).ci_low
    for margin in (bound, math.nextafter(bound, 0), math.nextafter(bound, 1)):
        answer = paired([0.0] * n, margin)
        assert (answer.p_value <= LEVEL) == (answer.ci_low > -margin)


def test_one_lost_structure_among_equal_cases_widens_the_interval_below_the_mean():
    """19 patients unchanged, one loses 0.4: mean -0.02 and standard error 0.02.

    The cautious sample has one who loses 0.8, too: 21 patients, mean -1.2 / 21. 12 % of its resamples miss both. They
    are 1.2 / 21 above the mean with no spread, so their standard error is the floor, a fifth of the sample's, and they
    speak for a mean of -1.2 / 21 - 5 * 1.2 / 21. (Without that second patient, for -0.02 - 5 * 0.02.)
    92.5 % draw the patient at most twice, 98.4 % at most three times: three times sets the upper end. Their mean is
    0.04 lower, their standard error 0.4 sqrt(0.15 * 0.85 / 19), so they speak for -0.02 + 0.04 * 0.02 / 0.03277.
    """
    answer = paired([0.0] * 19 + [-0.4], margin=0.05)
    assert answer.mean_difference == pytest.approx(-0.02)
    assert answer.ci_low == pytest.approx(-6 * 1.2 / 21)
    assert answer.ci_high == pytest.approx(0.004416, abs=1e-5)
    assert answer.verdict is Verdict.INCONCLUSIVE


def test_rounding_noise_among_the_differences_changes_next_to_nothing():
    clean = np.array([0.0] * 19 + [-0.4])
    noise = np.random.default_rng(8).normal(0, 1e-17, 20)
    first, second = paired(clean, 0.05), paired(clean + noise, 0.05)
    assert second.ci_low == pytest.approx(first.ci_low, abs=1e-9)
    assert second.ci_high == pytest.approx(first.ci_high, abs=1e-9)


@pytest.mark.parametrize("n", range(MIN_CASES))
def test_too_few_cases_are_inconclusive(n):
    answer = paired([-0.25] * n, margin=0.01)
    assert answer == Paired(n, -0.25 if n else None, None, None, None, None, Verdict.INCONCLUSIVE)
    assert paired(0.25 + 0.01 * np.arange(MIN_CASES), margin=0.01).verdict is Verdict.NON_INFERIOR


@pytest.mark.parametrize("margin", [0, -0.01, math.nan, math.inf])
@pytest.mark.parametrize("n", [2, 10])
def test_a_margin_must_be_positive_and_finite(margin, n):
    with pytest.raises(ValueError, match="margin"):
        paired([0.1] * n, margin)


def test_differences_must_be_one_row_of_numbers():
    with pytest.raises(ValueError, match=r"\[1, 3\]"):
        paired([0.0, math.nan, 0.1, math.inf], 0.01)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        paired(np.zeros((2, 3)), 0.01)
    with pytest.raises(ValueError, match="38"):
        paired(np.zeros(9), 0.01, resamples=38)


def test_what_comes_back_prints_and_serialises_plainly():
    answer = paired(np.random.default_rng(9).normal(size=8), 0.01, resamples=99)
    text = json.dumps(dataclasses.asdict(answer))
    assert json.loads(text)["verdict"] == str(answer.verdict) == answer.verdict.value
    assert f"{Verdict.REFERENCE}" == "reference"
