"""Histogram: how the values of a tensor are spread, group by group, gathered input by input in a fixed memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch

BINS = 2048
_AT_ONCE = 1 << 22  # values whose places are in memory at one time


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of values in equal bins between low and high, a row a group.

    Attributes:
        low, high: float32 (groups,), smallest and largest value seen.
        counts: float64 (groups, BINS).
    """

    low: torch.Tensor
    high: torch.Tensor
    counts: torch.Tensor

    @property
    def centres(self) -> torch.Tensor:
        """The middle of each bin, float64 (groups, BINS)."""
        middle = (torch.arange(BINS, dtype=torch.float64) + 0.5) / BINS
        low, high = self.low.double()[:, None], self.high.double()[:, None]
        return low + (high - low) * middle


def empty(low: torch.Tensor, high: torch.Tensor) -> Histogram:
    """A histogram without values between known bounds."""
    return Histogram(low, high, torch.zeros(len(low), BINS, dtype=torch.float64))


def add(histogram: Histogram, group: int, values: torch.Tensor) -> None:
    """Count the values of a tensor of any shape, all within the bounds of their group."""
    low, high = histogram.low[group], histogram.high[group]
    width = (high - low).clamp(min=torch.finfo(torch.float32).tiny)
    for part in values.flatten().split(_AT_ONCE):
        place = ((part - low) * (BINS / width)).long().clamp_(0, BINS - 1)
        histogram.counts[group] += torch.bincount(place, minlength=BINS)
