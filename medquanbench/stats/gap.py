"""How much of what one quantized run loses another one wins back."""

from __future__ import annotations

from collections.abc import Sequence
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
    return mean_gap_closed([(reference, base, other)], seed, resamples)


def mean_gap_closed(
    networks: Sequence[tuple[ArrayLike, ArrayLike, ArrayLike]], seed: int = 0, resamples: int = RESAMPLES
) -> Gap:
    """The mean over networks of the share that each closes, with patients drawn for all networks at once.

    Networks are no sample here: the interval is about other patients, and the same networks.

    Args:
        networks: of each (reference, base, other) as in :func:`gap_closed`, all of the same patients.

    Raises:
        ValueError: no networks, or not as many finite numbers everywhere.
    """
    rows = [[np.asarray(row, dtype=np.float64) for row in network] for network in networks]
    shapes = {row.shape for network in rows for row in network}
    finite = all(np.isfinite(row).all() for network in rows for row in network)
    if len(shapes) != 1 or len(*shapes) != 1 or not finite or any(len(network) != 3 for network in rows):
        raise ValueError(f"three rows of as many finite numbers are expected of each network, not {sorted(shapes)}")
    scores = np.stack([np.stack(network) for network in rows])  # (networks, 3, patients)
    lost, won = scores[:, 0] - scores[:, 1], scores[:, 2] - scores[:, 1]
    if not lost.shape[1] or (lost.mean(1) <= 0).any():
        return Gap(None)
    share = float((won.mean(1) / lost.mean(1)).mean())
    if lost.shape[1] < MIN_CASES:
        return Gap(share)
    counts = np.concatenate(list(drawings(lost.shape[1], resamples, seed)))
    lost_means = np.einsum("rn,kn->kr", counts, lost)
    if any(central(np.sort(means))[0] <= 0 for means in lost_means):
        return Gap(share)
    # Where a resample shows no loss at all, the share has no bound.
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(lost_means > 0, np.einsum("rn,kn->kr", counts, won) / lost_means, -np.inf).mean(0)
    return Gap(share, *central(np.sort(shares)))
