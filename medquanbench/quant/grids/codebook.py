"""Codebook: a grid of listed levels. Hardware looks them up; it cannot multiply their codes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from medquanbench.quant.grids.parts import parts_of


@dataclass(frozen=True)
class Codebook:
    """A value goes to the nearest level, from a midpoint to the smaller magnitude.

    Attributes:
        levels: in ascending order, at most 2^bits; they are rounded to float32.
    """

    name: str
    bits: int
    levels: tuple[float, ...]
    _thresholds: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        levels = np.float32(self.levels)
        object.__setattr__(self, "levels", tuple(levels.tolist()))
        object.__setattr__(self, "_thresholds", tuple(_thresholds(levels).tolist()))

    @property
    def largest(self) -> float:
        return max(-self.levels[0], self.levels[-1])

    def round_(self, scaled: torch.Tensor) -> torch.Tensor:
        """Move a float32 tensor to the nearest levels, in place. NaN stays NaN."""
        levels, thresholds = (scaled.new_tensor(values) for values in (self.levels, self._thresholds))
        for part in parts_of(scaled):
            nearest = levels[torch.bucketize(part.contiguous(), thresholds, out_int32=True)]
            part.copy_(torch.where(part.isnan(), part, nearest))
        return scaled


def _thresholds(levels: np.ndarray) -> np.ndarray:
    """For each pair of neighbours the largest float32 that goes to the lower one.

    A midpoint needs one bit more than float32 has, so the comparison with it is made here, in float64.
    """
    middle = (levels[:-1].astype(np.float64) + levels[1:]) / 2
    single = middle.astype(np.float32)
    above = single > middle
    # A positive midpoint goes down, to the smaller magnitude; a negative one goes up, so the threshold lies below it.
    above |= (middle < 0) & (single == middle)
    return np.where(above, np.nextafter(single, np.float32(-np.inf)), single)
