"""The interval of a mean score over patients (floor 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medquanbench.stats import MIN_CASES, RESAMPLES, patient_means
from medquanbench.stats.resampling import bootstrap_means, central

_SEED = 0


@dataclass(frozen=True)
class Interval:
    """The 95 % interval of a mean, within 0 and 1."""

    low: float
    high: float


def interval(scores: Sequence[float | None], patients: Sequence[str]) -> Interval | None:
    """The studentized bootstrap interval of the mean over patients; scans of one patient are averaged first.

    Args:
        scores: from 0 to 1, a value a scan; None where a scan does not count.
        patients: whose scan it is.

    Returns:
        None with fewer than MIN_CASES patients, and where all are equal: then no resample tells of a spread.
    """
    counted = [(score, patient) for score, patient in zip(scores, patients, strict=True) if score is not None]
    means = np.sort(patient_means([score for score, _ in counted], [patient for _, patient in counted]))
    if len(means) < MIN_CASES or means[-1] - means[0] < 1e-12:
        return None
    low, high = central(bootstrap_means(means, _SEED, RESAMPLES))
    return Interval(max(0.0, low), min(1.0, high))
