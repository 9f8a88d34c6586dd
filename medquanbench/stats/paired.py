"""Paired comparison of a quantized run with its FP32 reference over patients: interval, non-inferiority, verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medquanbench.stats.resampling import EQUAL, MIN_RESAMPLES, RESAMPLES, bootstrap_means, central, with_unseen_loss

MIN_CASES = 6  # below, the bootstrap has too few distinct resamples for a 95 % interval
LEVEL = 0.025  # one-sided
_SCORE = 1.0  # what a patient can lose at most, DSC and NSD being fractions


class Verdict(StrEnum):
    """What a comparison shows. Its text is what tables and records hold."""

    REFERENCE = "reference"  # the FP32 run itself
    NON_INFERIOR = "non-inferior"  # ci_low > -margin
    INFERIOR = "inferior"  # ci_high < -margin
    INCONCLUSIVE = "inconclusive"  # neither, or fewer than MIN_CASES cases


@dataclass(frozen=True)
class Paired:
    """A quantized run against its reference.

    n: patients compared. mean_difference: mean of quantized - FP32, None without patients. ci_low, ci_high: its 95 %
    interval. p_value: one-sided non-inferiority p at the margin. ni_bound: every larger margin would pass. The last
    four are None with fewer than MIN_CASES patients.
    """

    n: int
    mean_difference: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    ni_bound: float | None
    verdict: Verdict


def paired(differences: ArrayLike, margin: float, seed: int = 0, resamples: int = RESAMPLES) -> Paired:
    """Test a quantized run for non-inferiority to its reference.

    Each of the B resamples of the studentized bootstrap (``bootstrap_means``) speaks for a true mean b_r. ci_high is
    the floor((B + 1) / 40)-th largest b_r, ci_low the floor((B + 1) / 40)-th smallest; and p = (1 + #{b_r <= -margin})
    / (B + 1) for H0: true mean <= -margin. ci_low and p are computed from the sample and from the cautious sample
    (``with_unseen_loss``), and the worse of both counts, because samples of rare or skewed losses look too good. So
    p_value <= 0.025 if and only if ci_low > -margin.

    Equal differences show no spread: what is not seen in n patients may still happen to up to 1 - 0.025^(1/n) of all
    (exact binomial, the rule of three). The interval is then that share of a whole score to both sides, and p_value the
    probability to see no such patient if there are as many as it takes to lose the margin.

    Args:
        differences: float64[n], score of the quantized run minus score of the reference, scores from 0 to 1, one number
            a patient (not a scan: see ``patient_means``). Their order does not matter: they are sorted first.
        margin: the loss that is still accepted, in units of the score; greater than 0.
        seed: of the resampling; the same seed gives the same answer.
        resamples: B, at least MIN_RESAMPLES.

    Raises:
        ValueError: differences not one row of finite numbers, margin not positive and finite, too few resamples.
    """
    values = _as_differences(differences)
    if not (math.isfinite(margin) and margin > 0):
        raise ValueError(f"margin is {margin!r}; a finite number greater than 0 is expected")
    if resamples < MIN_RESAMPLES:
        raise ValueError(f"resamples is {resamples!r}; at least {MIN_RESAMPLES} are needed for a 95 % interval")
    n, mean = len(values), _mean(values)
    if mean is None or n < MIN_CASES:
        return Paired(n, mean, None, None, None, None, Verdict.INCONCLUSIVE)
    compare = _unchanging if _all_equal(values) else _bootstrapped
    ci_low, ci_high, p_value = compare(values, mean, margin, seed, resamples)
    return Paired(n, mean, ci_low, ci_high, p_value, max(0.0, -ci_low), _verdict(ci_low, ci_high, margin))


def _as_differences(differences: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"differences have shape {values.shape}; one row, a number for each patient, is expected")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(f"differences at {bad.tolist()} are NaN or infinite; leave out patients without a score first")
    return np.sort(values)


def _all_equal(values: NDArray[np.float64]) -> bool:
    return bool(values[-1] - values[0] <= EQUAL)


def _mean(values: NDArray[np.float64]) -> float | None:
    if values.size == 0:
        return None
    if values[0] == values[-1]:
        return float(values[0])  # a rounded mean of equal numbers need not be that number
    return float(values.mean())


def _bootstrapped(
    values: NDArray[np.float64], mean: float, margin: float, seed: int, resamples: int
) -> tuple[float, float, float]:
    seen = bootstrap_means(values, seed, resamples)
    cautious = bootstrap_means(with_unseen_loss(values), seed, resamples)
    (seen_low, ci_high), (cautious_low, _) = central(seen), central(cautious)
    ci_low = min(seen_low, cautious_low)
    below = max(int(np.searchsorted(means, -margin, side="right")) for means in (seen, cautious))
    return ci_low, ci_high, (1 + below) / (resamples + 1)


def _unchanging(
    values: NDArray[np.float64], mean: float, margin: float, seed: int, resamples: int
) -> tuple[float, float, float]:
    """Interval and p where all differences are equal; both are exact, nothing is drawn."""
    n = len(values)
    unseen = 1 - LEVEL ** (1 / n)
    ci_low, ci_high = mean - unseen * _SCORE, mean + unseen * _SCORE
    share = min(max((mean + margin) / _SCORE, 0.0), 1.0)  # of patients who lose everything: a mean loss of the margin
    p_value = (1 - share) ** n
    # Both say the same but for rounding; p must not disagree with the interval at the last digit.
    return ci_low, ci_high, min(p_value, LEVEL) if ci_low > -margin else max(p_value, math.nextafter(LEVEL, 1))


def _verdict(ci_low: float, ci_high: float, margin: float) -> Verdict:
    if ci_low > -margin:
        return Verdict.NON_INFERIOR
    if ci_high < -margin:
        return Verdict.INFERIOR
    return Verdict.INCONCLUSIVE
