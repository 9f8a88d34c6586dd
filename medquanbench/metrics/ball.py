"""The grid points within a distance of a grid point, as columns along the last of three axes."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A ball with more steps than this on an axis is no longer cheap to move about.
_LONGEST = 16
# Two different sums of squares of spacings may lie this close; what is closer is one distance in two roundings.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Ball:
    """All steps between grid points that are no longer than a tolerance.

    reach: steps on each axis. columns: for each height, ascending, the steps (on the first and the second
    axis) beside which every step from -height to height on the third lies within.
    """

    reach: tuple[int, int, int]
    columns: tuple[tuple[int, tuple[tuple[int, int], ...]], ...]


@functools.lru_cache(maxsize=1024)
def balls(tolerance_mm: float, spacing_mm: tuple[float, ...]) -> tuple[Ball, ...]:
    """The ball of a tolerance, as float64 computes distances: sqrt of the squares, summed in the axes' order.

    One distance can be reached by several steps (3, 4, 0 is as long as 5, 0, 0), whose roundings may fall on both sides
    of the tolerance. Then there are two balls, without and with all of them. No ball at all if it is large.

    spacing_mm: one number an axis; without a third one, the ball's first axis has no steps.
    """
    if any(tolerance_mm / spacing > _LONGEST for spacing in spacing_mm):
        return ()
    lengths = step_lengths([int(tolerance_mm / spacing) + 2 for spacing in spacing_mm], spacing_mm)
    lengths = lengths[(None,) * (3 - lengths.ndim)]
    within = lengths <= tolerance_mm
    close = np.abs(lengths - tolerance_mm) <= ROUNDING * tolerance_mm
    if tolerance_mm == 0 or within[close].all() or not within[close].any():
        return (_ball(within),)
    return _ball(within & ~close), _ball(within | close)


def step_lengths(counts: list[int], spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """The length of the step (i, j, k) for i, j, k from 0 to below counts."""
    squares = np.zeros(())
    for count, spacing in zip(counts, spacing_mm, strict=True):
        squares = squares[..., None] + (np.arange(count) * spacing) ** 2
    return np.sqrt(squares)


def _ball(within: NDArray[np.bool_]) -> Ball:
    heights = within.sum(axis=2) - 1
    at: dict[int, list[tuple[int, int]]] = {}
    for i, j in np.argwhere(heights >= 0).tolist():
        for step in {(i, j), (-i, j), (i, -j), (-i, -j)}:
            at.setdefault(int(heights[i, j]), []).append(step)
    used = np.argwhere(within)
    reach = tuple(used.max(axis=0).tolist()) if len(used) else (0, 0, 0)
    return Ball(reach, tuple((height, tuple(sorted(at[height]))) for height in sorted(at)))
