"""Correlations of an input with itself, shifted: what the Gram matrix of a convolution is made of.

For kernel positions a and b that read the lattice positions y + s_a and y + s_b of phases A and B, with D = s_b - s_a,

    sum over y of A[y + s_a] B[y + s_b]^T = sum over u in the box of a of A[u] B[u + D]^T

where the box of a is what its outputs read. The sum over all u is computed once for all pairs of one D; of it the
slabs at the borders are taken away that the box leaves out. With zeros behind every row, a shift in space is a shift
in memory: both factors are views of one buffer, and none is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import torch

from medquanbench.quant.taps import AxisTap, Tap

BUFFER_BYTES = 2**26
TILE = 2048
"""Lattice positions of one product: short enough for the cache, and many of them for several cores."""

Segment = tuple[int, int]


@dataclass(frozen=True)
class Key:
    """Phases of the two factors and the shift between them; of a key and its mirror the one with the shift ahead."""

    first: tuple[int, ...]
    second: tuple[int, ...]
    shift: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Pair:
    """Where a pair of kernel positions stands: the sums to add to (groups, c, c), as they are or transposed."""

    first: Tap
    target: torch.Tensor


class Correlator:
    """All correlations that are asked of one sample, computed together.

    Args:
        x: float32 (groups, channels, *spatial).
        along: taps along each axis.
    """

    def __init__(self, x: torch.Tensor, along: list[list[AxisTap]]) -> None:
        self.x, self.size = x, tuple(x.shape[2:])
        self.steps = tuple(axis[0].step for axis in along)
        self.positions = list(product(*along))
        self.wanted: dict[tuple[int, int], dict[Key, list[Pair]]] = {}

    def request(self, positions: tuple[int, ...], channels: slice, pairs: torch.Tensor) -> None:
        """Ask for all pairs of these positions (a before b), to be added to float32 (pairs, groups, c, c)."""
        keys = self.wanted.setdefault((channels.start, channels.stop), {})
        targets = iter(pairs)
        for place, a in enumerate(positions):
            for b in positions[place:]:
                target, first, second = next(targets), self.positions[a], self.positions[b]
                key = _key(first, second)
                mirrored = _key(second, first)
                if (key.shift, key.first) < (mirrored.shift, mirrored.first):
                    key, first, target = mirrored, second, target.mT
                keys.setdefault(key, []).append(Pair(first, target))

    def run(self) -> None:
        """Compute what was asked, and add it to where it belongs."""
        whole = {
            (channels, key): self.x.new_zeros(pairs[0].target.shape)
            for channels, keys in self.wanted.items()
            for key, pairs in keys.items()
        }
        self._add_whole(whole)
        for channels, keys in self.wanted.items():
            x = self.x[:, slice(*channels)]
            for key, pairs in keys.items():
                slabs: dict[tuple, torch.Tensor] = {}
                for pair in pairs:
                    for sign, segments in self._terms(pair.first, key):
                        value = whole[channels, key] if not any(segments) else slabs.get(segments)
                        if value is None:
                            value = slabs[segments] = self._slab(x, key, segments)
                        pair.target.add_(value, alpha=sign)

    def _bounds(self, key: Key) -> Iterator[Segment]:
        """Along each axis, the lattice positions u where both A[u] and B[u + D] lie in the input."""
        for length, step, a, b, shift in zip(self.size, self.steps, key.first, key.second, key.shift):
            first, second = -(-(length - a) // step), -(-(length - b) // step)
            yield max(0, -shift), min(first, second - shift)

    def _terms(self, tap: Tap, key: Key) -> list[tuple[int, tuple[Segment | None, ...]]]:
        """Signs and segments (None is all of an axis) whose correlations add up to that over the tap's box."""
        along = []
        for (low, high), axis in zip(self._bounds(key), tap):
            start, stop = max(axis.shift, low), min(axis.shift + axis.outputs, high)
            if stop <= start:
                return []
            if 2 * (stop - start) < high - low:  # what is left would be the small difference of large sums
                along.append([(1, (start, stop))])
            else:
                outside = [(low, start), (stop, high)]
                along.append([(1, None), *((-1, segment) for segment in outside if segment[0] < segment[1])])
        return [(prod(s for s, _ in term), tuple(segment for _, segment in term)) for term in product(*along)]

    def _slab(self, x: torch.Tensor, key: Key, segments: tuple[Segment | None, ...]) -> torch.Tensor:
        """The correlation over a box, float32 (groups, c, c), from copies of it."""
        first, second = [], []
        for bounds, segment, step, a, b, shift in zip(
            self._bounds(key), segments, self.steps, key.first, key.second, key.shift
        ):
            low, high = segment or bounds
            first.append(slice(a + step * low, a + step * (high - 1) + 1, step))
            second.append(slice(b + step * (low + shift), b + step * (high - 1 + shift) + 1, step))
        left, right = (x[(slice(None), slice(None), *box)].flatten(2) for box in (first, second))
        return torch.bmm(left, right.mT)

    def _add_whole(self, sums: dict[tuple[tuple[int, int], Key], torch.Tensor]) -> None:
        keys = {key for _, key in sums}
        phases = sorted({phase for key in keys for phase in (key.first, key.second)})
        reach = [max(abs(key.shift[axis]) for key in keys) for axis in range(len(self.size))]
        lattice = [-(-length // step) for length, step in zip(self.size, self.steps)]
        rows, others = lattice[0], [n + r for n, r in zip(lattice[1:], reach[1:])]
        strides = [prod(others[axis:]) for axis in range(len(others) + 1)]
        row = strides[0]
        tiles = max(1, rows * row // TILE)
        tile_rows = -(-rows // tiles)
        behind = sum(r * s for r, s in zip(reach, strides))
        budget = BUFFER_BYTES // (4 * prod(self.x.shape[:2]) * len(phases) * row)
        chunk = max(1, min((budget - reach[0]) // tile_rows, tiles)) * tile_rows
        buffer = self.x.new_zeros(len(phases), *self.x.shape[:2], chunk + -(-behind // row), *others)
        flat = buffer.flatten(3)
        for start in range(0, rows, chunk):
            for place, phase in enumerate(phases):
                self._fill(buffer[place], phase, start)
            for (channels, key), total in sums.items():
                ahead = sum(d * s for d, s in zip(key.shift, strides))
                left = flat[phases.index(key.first)][:, slice(*channels), : chunk * row]
                right = flat[phases.index(key.second)][:, slice(*channels), ahead : ahead + chunk * row]
                _accumulate(total, left, right, tile_rows * row)

    def _fill(self, buffer: torch.Tensor, phase: tuple[int, ...], start: int) -> None:
        """Lay a phase's rows from ``start`` on into a buffer; zeros where there are no more, and behind every row."""
        inside = tuple(slice(a, None, step) for a, step in zip(phase, self.steps))
        rows = self.x[(slice(None), slice(None), *inside)][:, :, start : start + buffer.shape[2]]
        buffer[(slice(None), slice(None), *(slice(n) for n in rows.shape[2:]))] = rows
        buffer[:, :, rows.shape[2] :] = 0


def _accumulate(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor, tile: int) -> None:
    if total.shape[0] == 1:
        # Tiles as a batch: torch spreads them over the cores, which it does not do with a long sum.
        left, right = (factor[0].unflatten(1, (-1, tile)).transpose(0, 1) for factor in (left, right))
        total += torch.bmm(left, right.mT).sum(0)
    else:
        total += torch.bmm(left, right.mT)


def _key(first: Tap, second: Tap) -> Key:
    return Key(
        tuple(axis.phase for axis in first),
        tuple(axis.phase for axis in second),
        tuple(b.shift - a.shift for a, b in zip(first, second)),
    )
