"""Paired comparison of a quantized run with its FP32 reference over patients: interval, non-inferiority, verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_CASES = 6  # below, the bootstrap has too few distinct resamples for a 95 % interval
MIN_RESAMPLES = 39  # below, no resample lies in the outer 2.5 %
# A resample's standard error counts as at least this share of the sample's. Only samples with many (nearly) equal
# differences reach it. Without a floor, a resample of equal values has an infinite t; leaving such resamples out makes
# the interval too short: with one lost structure in 20 patients and no other change, those without it are the tail.
SE_FLOOR = 0.2
_CHUNK = 256  # resamples at a time, to bound memory
_BITS_8_MARGIN, _LOW_BITS_MARGIN = 0.002, 0.01


class Verdict(StrEnum):
    """What a comparison shows. Its text is what tables and records hold."""

    REFERENCE = "reference"  # the FP32 run itself
    NON_INFERIOR = "non-inferior"  # ci_low > -margin
    INFERIOR = "inferior"  # ci_high < -margin
    INCONCLUSIVE = "inconclusive"  # neither, or fewer than MIN_CASES cases


@dataclass(frozen=True)
class Paired:
    """A quantized run against its reference.

    n: cases compared. mean_difference: mean of quantized - FP32, None without cases. ci_low, ci_high: its 95 %
    interval. p_value: one-sided non-inferiority p at the margin. ni_bound: every larger margin would pass. The last
    four are None with fewer than MIN_CASES cases.
    """

    n: int
    mean_difference: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    ni_bound: float | None
    verdict: Verdict


def paired(differences: ArrayLike, margin: float, seed: int = 0, resamples: int = 9999) -> Paired:
    """Test a quantized run for non-inferiority to its reference.

    Studentized bootstrap of the mean difference m over patients (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, section 12.5): resample r has t_r = (m_r - m) / max(se_r, SE_FLOOR se), and speaks for the true
    mean b_r = m - t_r se. With B resamples, ci_low and ci_high are the floor((B + 1) / 40)-th smallest and largest
    b_r, and p_value = (1 + #{b_r <= -margin}) / (B + 1) for H0: true mean <= -margin; so p_value <= 0.025 if and only
    if ci_low > -margin. If all differences are equal, the interval is that point and p_value is 1 / (B + 1) or 1.

    Args:
        differences: float64[n], score of the quantized run minus score of the reference, one number a patient (not a
            scan: scans of one patient are averaged first). Their order does not matter: they are sorted first.
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
    mean = _mean(values)
    if len(values) < MIN_CASES:
        return Paired(len(values), mean, None, None, None, None, Verdict.INCONCLUSIVE)
    bounds = np.sort(_bootstrap_bounds(values, mean, seed, resamples))
    rank = (resamples + 1) // 40
    ci_low, ci_high = float(bounds[rank - 1]), float(bounds[-rank])
    p_value = (1 + int(np.count_nonzero(bounds <= -margin))) / (resamples + 1)
    return Paired(len(values), mean, ci_low, ci_high, p_value, max(0.0, -ci_low), _verdict(ci_low, ci_high, margin))


def _as_differences(differences: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"differences have shape {values.shape}; one row, a number for each patient, is expected")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(f"differences at {bad.tolist()} are NaN or infinite; leave out patients without a score first")
    return np.sort(values)


def _mean(values: NDArray[np.float64]) -> float | None:
    if values.size == 0:
        return None
    if values[0] == values[-1]:
        return float(values[0])  # a rounded mean of equal numbers need not be that number
    return float(values.mean())


def _verdict(ci_low: float, ci_high: float, margin: float) -> Verdict:
    if ci_low > -margin:
        return Verdict.NON_INFERIOR
    if ci_high < -margin:
        return Verdict.INFERIOR
    return Verdict.INCONCLUSIVE


def _bootstrap_bounds(values: NDArray[np.float64], mean: float, seed: int, resamples: int) -> NDArray[np.float64]:
    """The true mean that each resample speaks for, float64[resamples]; `values` sorted."""
    bounds = np.full(resamples, mean)
    if values[0] == values[-1]:
        return bounds
    root_n = math.sqrt(len(values))
    se = values.std(ddof=1) / root_n
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        block = bounds[start : start + _CHUNK]
        drawn = values[generator.integers(0, len(values), size=(len(block), len(values)))]
        drawn_se = np.maximum(drawn.std(axis=1, ddof=1) / root_n, SE_FLOOR * se)
        block -= (drawn.mean(axis=1) - mean) / drawn_se * se
    return bounds


def drop_pct(reference_mean: float, quantized_mean: float) -> float | None:
    """Relative loss 100 (FP32 - quantized) / FP32 in per cent, positive for a loss.

    None where it is undefined: FP32 is 0, or one of the means is NaN (no case had a score).
    """
    if reference_mean == 0 or math.isnan(reference_mean) or math.isnan(quantized_mean):
        return None
    return 100 * (reference_mean - quantized_mean) / reference_mean


def default_margin(weight_bits: int, activation_bits: int) -> float:
    """Accepted loss in mean Dice: 0.002 where weights and activations have 8 bits or more, else 0.01."""
    return _BITS_8_MARGIN if min(weight_bits, activation_bits) >= 8 else _LOW_BITS_MARGIN
