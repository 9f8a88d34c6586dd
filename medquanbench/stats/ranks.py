"""Whether anything changed at all: Wilcoxon's signed-rank test."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import wilcoxon

from medquanbench.stats.paired import MIN_CASES
from medquanbench.stats.resampling import EQUAL


def wilcoxon_p(differences: ArrayLike) -> float | None:
    """Two-sided p of Wilcoxon's signed-rank test, zeros ranked and left out (Pratt, JASA 1959;54:655).

    It asks whether the differences lie around 0, not whether a loss is small, and no verdict hangs on it. Differences
    below 1e-9 are zeros: rounding.

    Args:
        differences: float64[n], one a patient.

    Returns:
        p; None with fewer than MIN_CASES patients; 1 where all differences are zero.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < MIN_CASES:
        return None
    values = np.where(np.abs(values) <= EQUAL, 0.0, values)
    if not values.any():
        return 1.0
    return float(wilcoxon(values, zero_method="pratt", alternative="two-sided").pvalue)
