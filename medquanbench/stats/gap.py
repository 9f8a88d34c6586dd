"""How much of what one quantized run loses another one wins back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medquanbench.stats.paired import MIN_CASES
from medquanbench.stats.resampling import RESAMPLES, central, drawings


@dataclass(frozen=True)
class Gap:
    """(other - base) / (reference - base), means over patients; 1 is all of the loss.

    share: None where the base run loses nothing. ci_low, ci_high: its 95 % interval, None with fewer than MIN_CASES
    patients or where a loss cannot be told from none: the share would then be a number divided by next to nothing.
    """

    share: float | None
    ci_low: float | None = None
    ci_high: float | None = None


def gap_closed(
    reference: ArrayLike, base: ArrayLike, other: ArrayLike, seed: int = 0, resamples: int = RESAMPLES
) -> Gap:
    """The share of the loss of a base run that another run closes.

    The interval is the percentile bootstrap of the ratio of means (Efron and Tibshirani 1993, section 13.3): patients
    are drawn whole, with their three scores. It is given where at least 97.5 % of the resamples show a loss.

    Args:
        reference, base, other: float64[n], scores of the same patients in the same order.

    Raises:
        ValueError: not three rows of as many finite numbers.
    """
    rows = [np.asarray(row, dtype=np.float64) for row in (reference, base, other)]
    if any(row.ndim != 1 or row.shape != rows[0].shape or not np.isfinite(row).all() for row in rows):
        raise ValueError(f"three rows of as many finite numbers are expected, not {[row.shape for row in rows]}")
    lost, won = rows[0] - rows[1], rows[2] - rows[1]
    if not len(lost) or lost.mean() <= 0:
        return Gap(None)
    share = float(won.mean() / lost.mean())
    if len(lost) < MIN_CASES:
        return Gap(share)
    counts = np.concatenate(list(drawings(len(lost), resamples, seed)))
    lost_means = np.einsum("rn,n->r", counts, lost)
    if central(np.sort(lost_means))[0] <= 0:
        return Gap(share)
    # Where a resample shows no loss at all, the share has no bound.
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(lost_means > 0, np.einsum("rn,n->r", counts, won) / lost_means, -np.inf)
    return Gap(share, *central(np.sort(shares)))
