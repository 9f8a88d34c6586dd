"""The laws of the paired comparison, and values a person can check by hand."""

import dataclasses
import json
import math

import numpy as np
import pytest

from medquanbench.stats import MIN_CASES, Paired, Verdict, default_margin, drop_pct, paired


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
    """True mean exactly at -margin: at most a few per cent may pass. A t-interval passes about 7 % here."""
    generator = np.random.default_rng(6)
    samples = -generator.exponential(1.0, size=(400, 20))
    passed = sum(
        paired(s, margin=1.0, seed=i, resamples=499).verdict is Verdict.NON_INFERIOR for i, s in enumerate(samples)
    )
    assert passed / 400 <= 0.06


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


@pytest.mark.parametrize(
    ("value", "p_value", "ni_bound", "verdict"),
    [
        (0.0, 1 / 10000, 0.0, Verdict.NON_INFERIOR),
        (0.1, 1 / 10000, 0.0, Verdict.NON_INFERIOR),
        (-0.009, 1 / 10000, 0.009, Verdict.NON_INFERIOR),
        (-0.01, 1.0, 0.01, Verdict.INCONCLUSIVE),  # exactly at the margin: neither above nor below it
        (-0.1, 1.0, 0.1, Verdict.INFERIOR),
    ],
)
def test_equal_differences_are_their_own_interval(value, p_value, ni_bound, verdict):
    expected = Paired(7, value, value, value, p_value, ni_bound, verdict)
    assert paired([value] * 7, margin=0.01) == expected


def test_one_lost_structure_among_equal_cases_widens_the_interval_below_the_mean():
    """19 patients unchanged, one loses 0.4: mean -0.02 and standard error 0.02.

    36 % of the resamples miss the one patient. They are 0.02 above the mean with no spread, so their standard error is
    the floor, a fifth of 0.02, and they speak for a mean of -0.02 - 5 * 0.02 = -0.12.
    92.5 % draw the patient at most twice, 98.4 % at most three times: three times sets the upper end. Their mean is
    0.04 lower, their standard error 0.4 sqrt(0.15 * 0.85 / 19), so they speak for -0.02 + 0.04 * 0.02 / 0.03277.
    """
    answer = paired([0.0] * 19 + [-0.4], margin=0.05)
    assert answer.mean_difference == pytest.approx(-0.02)
    assert answer.ci_low == pytest.approx(-0.12)
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
    assert paired([0.25] * MIN_CASES, margin=0.01).verdict is Verdict.NON_INFERIOR


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


def test_drop_is_relative_and_positive_for_a_loss():
    assert drop_pct(0.8, 0.6) == pytest.approx(25.0)
    assert drop_pct(0.5, 0.6) == pytest.approx(-20.0)
    assert drop_pct(0.5, 0.0) == 100.0
    assert drop_pct(0.0, 0.6) is None
    assert drop_pct(math.nan, 0.6) is None
    assert drop_pct(0.6, math.nan) is None


@pytest.mark.parametrize(
    ("weight_bits", "activation_bits", "margin"),
    [(8, 8, 0.002), (16, 8, 0.002), (4, 8, 0.01), (8, 4, 0.01), (7, 16, 0.01)],
)
def test_default_margin(weight_bits, activation_bits, margin):
    assert default_margin(weight_bits, activation_bits) == margin
