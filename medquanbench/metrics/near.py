"""Which points of two surfaces lie within a tolerance of the other: grid points only, and no distance is computed.

Each surface is drawn as bits, a bit a grid point, and spread by the ball of the tolerance, of which a column is one
shift of all bits. That costs a small part of a nanosecond a point and column, however the surfaces lie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .ball import Ball


@dataclass(frozen=True, eq=False)
class Points:
    """Points of a grid, of which there is at least one: three arrays of indices, and the box that they fill."""

    indices: tuple[NDArray, NDArray, NDArray]
    low: tuple[int, int, int]
    high: tuple[int, int, int]

    @classmethod
    def of(cls, indices: tuple[NDArray, ...]) -> Points:
        """From an index array for each of two or three axes."""
        if len(indices) == 2:
            indices = np.zeros_like(indices[0]), *indices
        return cls(indices, tuple(int(i.min()) for i in indices), tuple(int(i.max()) for i in indices))

    def __len__(self) -> int:
        return self.indices[0].size

    def inside(self, low: tuple[int, ...], high: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """Which points lie in a box, its ends included; None for all of them."""
        tests = []
        for index, own_low, own_high, least, most in zip(self.indices, self.low, self.high, low, high, strict=True):
            if own_low < least:
                tests.append(index >= least)
            if own_high > most:
                tests.append(index <= most)
        return np.logical_and.reduce(tests) if tests else None


@dataclass(frozen=True)
class _Canvas:
    """A box of grid points as a string of bits; rows and planes end in spare ones, where a shift may run over."""

    low: tuple[int, ...]
    n_planes: int
    rows: int
    row_bytes: int

    @classmethod
    def of(cls, low: tuple[int, ...], high: tuple[int, ...], reach: tuple[int, int, int]) -> _Canvas:
        planes, rows, row = (top - bottom + 1 for bottom, top in zip(low, high, strict=True))
        return cls(low, planes, rows + reach[1], -(-(row + reach[2]) // 8))

    @property
    def n_bytes(self) -> int:
        return -(-self.n_planes * self.rows * self.row_bytes // 8) * 8

    def places(self, points: Points, chosen: NDArray[np.bool_] | None) -> NDArray[np.intp]:
        """The bits of all or the chosen points."""
        i, j, k = points.indices if chosen is None else (index[chosen] for index in points.indices)
        width = self.row_bytes * 8
        if self.n_bytes * 8 >= 2**31:
            i = i.astype(np.int64)
        place = i * self.rows
        place += j
        place *= width
        place += k
        place -= (self.low[0] * self.rows + self.low[1]) * width + self.low[2]
        return place.astype(np.intp)

    def drawn(self, places: NDArray[np.intp]) -> NDArray[np.uint8]:
        points = np.zeros(self.n_bytes * 8, np.uint8)
        points[places] = 1
        return np.packbits(points, bitorder="little")


def near(points: Points, others: Points, ball: Ball) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which points have one of the others within the ball around them, and which of the others one of the points."""
    both = points, others
    found = tuple(np.zeros(len(group), bool) for group in both)
    # Only where the boxes of both, grown by the ball, overlap can anything be near.
    ends = zip(points.low, others.low, points.high, others.high, ball.reach, strict=True)
    box = [(max(min(a, b), max(a, b) - r), min(max(p, q), min(p, q) + r)) for a, b, p, q, r in ends]
    if any(bottom > top for bottom, top in box):
        return found
    low, high = zip(*box, strict=True)
    canvas, chosen = _Canvas.of(low, high, ball.reach), [group.inside(low, high) for group in both]
    places = [canvas.places(group, some) for group, some in zip(both, chosen, strict=True)]
    for own, some, there, answer in zip(places, chosen, reversed(places), found, strict=True):
        spread = _spread(canvas.drawn(there), canvas, ball)
        bits = np.take(spread, own >> 3) >> (own & 7).astype(np.uint8) & 1
        answer[... if some is None else some] = bits.view(bool)
    return found


def _spread(bits: NDArray[np.uint8], canvas: _Canvas, ball: Ball) -> NDArray[np.uint8]:
    """Every bit's ball around it. Heights ascend, so that one drawing, spread along the rows, serves them in turn."""
    spread, height = np.zeros_like(bits), 0
    for wanted, steps in ball.columns:
        while height < wanted:
            step = min(wanted - height, 2 * height + 1, 63)  # a longer step would leave gaps
            bits = _lengthened(bits.view(np.uint64), step).view(np.uint8)
            height += step
        for i, j in steps:
            shift = (i * canvas.rows + j) * canvas.row_bytes
            if shift == 0:
                spread |= bits
            elif 0 < shift < len(bits):
                spread[:-shift] |= bits[shift:]
            elif 0 < -shift < len(bits):
                spread[-shift:] |= bits[:shift]
    return spread


def _lengthened(words: NDArray[np.uint64], step: int) -> NDArray[np.uint64]:
    """The bits, and the same moved by `step` up and down."""
    here, beyond = np.uint64(step), np.uint64(64 - step)
    longer = words << here
    longer |= words >> here
    longer |= words
    longer[1:] |= words[:-1] >> beyond
    longer[:-1] |= words[1:] << beyond
    return longer
