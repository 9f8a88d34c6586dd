"""The studentized bootstrap of a mean, and the patient who might have been in the sample and was not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 9999
MIN_RESAMPLES = 39  # below, no resample lies in the outer 2.5 %
# A resample's standard error counts as at least this share of the sample's. Only samples with many (nearly) equal
# differences reach it. Without a floor, a resample of equal values has an infinite t; leaving such resamples out makes
# the interval too short: with one lost structure in 20 patients and no other change, those without it are the tail.
SE_FLOOR = 0.2
EQUAL = 1e-9  # differences that differ by less are equal: the rest is rounding
FEW_PATIENTS = 16  # below, the patient added in the cautious sample lies beyond the worst that was seen
_BLOCK = 1024  # resamples at a time, to bound memory
_KEPT = 4_000_000  # counts of a resampling that are kept for the next sample of the same size: 32 MB


def bootstrap_means(values: NDArray[np.float64], seed: int, resamples: int) -> NDArray[np.float64]:
    """The true mean that each resample speaks for (Efron and Tibshirani 1993, section 12.5).

    Resample r has t_r = (m_r - m) / max(se_r, SE_FLOOR se), and speaks for the true mean m - t_r se.

    Args:
        values: float64[n], not all equal; the same values in another order are another sample.
        seed: of the resampling; the same seed, n and number of resamples draw the same patients.

    Returns:
        float64[resamples], sorted.
    """
    n, mean = len(values), values.mean()
    centred = values - mean
    squares = centred * centred
    se = math.sqrt(squares.sum() / (n - 1) / n)
    spoken = []
    for counts in drawings(n, resamples, seed):
        # einsum and not @: a sum in the same order with any number of threads.
        shift = np.einsum("rn,n->r", counts, centred) / n
        variance = np.einsum("rn,n->r", counts, squares) / n - shift * shift
        drawn_se = np.sqrt(np.maximum(variance, 0) / (n - 1))
        spoken.append(mean - shift / np.maximum(drawn_se, SE_FLOOR * se) * se)
    return np.sort(np.concatenate(spoken))


def central(means: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the 95 % interval of B sorted means: the floor((B + 1) / 40)-th smallest and largest."""
    rank = (len(means) + 1) // 40
    return float(means[rank - 1]), float(means[-rank])


def with_unseen_loss(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cautious sample: one more patient, as far below the median as the worst, or farther.

    Losses are skewed: most samples miss the rarest and largest, their mean is too good and their spread too small. The
    added patient is FEW_PATIENTS / n times as far below the median as the worst where there are fewer than FEW_PATIENTS
    patients, and at least twice as far where more than half of the differences are equal: few then show what a loss is.
    """
    n, middle, worst = len(values), np.median(values), values.min()
    unchanged = np.count_nonzero(np.abs(values - middle) <= EQUAL)
    reach = max(1.0, FEW_PATIENTS / n, 2.0 if 2 * unchanged > n else 1.0)
    return np.concatenate([[worst - (reach - 1) * (middle - worst)], values])


def drawings(n: int, resamples: int, seed: int) -> Iterable[NDArray[np.float64]]:
    """How often each of n patients is drawn in each resample, float64[up to _BLOCK, n] at a time."""
    return _kept(n, resamples, seed) if n * resamples <= _KEPT else _drawn(n, resamples, seed)


@lru_cache(maxsize=4)
def _kept(n: int, resamples: int, seed: int) -> tuple[NDArray[np.float64], ...]:
    return tuple(_drawn(n, resamples, seed))


def _drawn(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _BLOCK):
        rows = min(_BLOCK, resamples - start)
        drawn = generator.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
