"""Taps: which inputs each position of a convolution's kernel reads, axis by axis.

Output ``y`` of a tap reads the input ``phase + step (y + shift)``; outside of the input stand zeros. A convolution's
taps share their outputs, and with a stride its inputs fall into phases. A transposed convolution's outputs fall into
families, ``stride`` of them along an axis, each of which only some taps reach; its inputs are one phase.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from random import Random

from medquanbench.quant.kind import Convolution, Kind, Linear


@dataclass(frozen=True)
class Geometry:
    """How a kernel moves over its input, an entry for each spatial axis; empty for a linear layer.

    Attributes:
        stride, dilation: as torch's.
        before, after: zeros that a convolution puts in front of its input and behind it. Of a transposed one: outputs
            that it leaves out, where ``after`` is torch's padding less its output padding and may be negative.
    """

    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()


@dataclass(frozen=True)
class AxisTap:
    """One position of the kernel along one axis, for an input of known length."""

    phase: int
    step: int
    shift: int
    family: int
    outputs: int

    def inside(self, length: int) -> slice:
        """The inputs that it reads, of an input of that length."""
        first = self.phase + self.step * max(self.shift, 0)
        last = self.phase + self.step * (self.shift + self.outputs - 1)
        return slice(first, max(min(last + 1, length), first), self.step)


Tap = tuple[AxisTap, ...]
"""One position of the kernel, an entry for each axis."""


@dataclass(frozen=True)
class Excerpt:
    """Some of a convolution's outputs: the part of the input that they read, the taps on it, and their number."""

    inside: tuple[slice, ...]
    along: list[list[AxisTap]]
    outputs: int


def taps(kind: Kind, geometry: Geometry, size: tuple[int, ...]) -> list[list[AxisTap]]:
    """The taps along each axis, for an input of that size. A linear layer has one axis, its tokens, and one tap.

    Raises:
        ValueError: the kernel is larger than the padded input.
    """
    if isinstance(kind, Linear):
        return [[AxisTap(0, 1, 0, 0, size[0])]]
    along = _transposed if kind.transposed else _plain
    return [along(*numbers) for numbers in _per_axis(kind, geometry, size)]


def outputs(kind: Kind, geometry: Geometry, size: tuple[int, ...]) -> int:
    """Number of output voxels (tokens of a linear layer), those included that no tap reaches."""
    along = _transposed_outputs if isinstance(kind, Convolution) and kind.transposed else _plain_outputs
    if isinstance(kind, Linear):
        return prod(size)
    return prod(along(*numbers) for numbers in _per_axis(kind, geometry, size))


def excerpt(along: list[list[AxisTap]], size: tuple[int, ...], most: int, random: Random) -> Excerpt:
    """A box of a convolution's outputs, at most about ``most`` of them, in the proportions of the whole."""
    counts = [axis[0].outputs for axis in along]
    part = min(1.0, (most / prod(counts)) ** (1 / len(counts)))
    axes = [
        _axis_excerpt(axis, length, random.randrange(count - kept + 1), kept)
        for axis, length, count in zip(along, size, counts)
        for kept in [max(1, round(count * part))]
    ]
    inside, taps_ = zip(*axes)
    return Excerpt(inside, list(taps_), prod(axis[0].outputs for axis in taps_))


def _axis_excerpt(axis: list[AxisTap], length: int, start: int, kept: int) -> tuple[slice, list[AxisTap]]:
    step = axis[0].step
    reads = [tap.phase + step * (tap.shift + start) for tap in axis]
    first = max(0, min(min(reads), length - 1)) // step * step
    last = max(reads) + step * (kept - 1)
    moved = start - first // step
    inside = slice(first, max(first, min(last, length - 1)) + 1)
    return inside, [replace(tap, shift=tap.shift + moved, outputs=kept) for tap in axis]


def families(along: list[list[AxisTap]]) -> list[tuple[int, ...]]:
    """Kernel positions (row-major, as in a weight) that read for the same outputs: all of them, or disjoint sets."""
    found: dict[tuple[int, ...], list[int]] = {}
    for position, tap in enumerate(product(*along)):
        found.setdefault(tuple(axis.family for axis in tap), []).append(position)
    return [tuple(positions) for positions in found.values()]


def _per_axis(kind: Convolution, geometry: Geometry, size: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return zip(size, kind.kernel, geometry.stride, geometry.dilation, geometry.before, geometry.after)


def _plain_outputs(length: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    count = (length + before + after - dilation * (kernel - 1) - 1) // stride + 1
    if count < 1:
        raise ValueError(f"a kernel of {kernel} (dilation {dilation}) does not fit into an input of {length}")
    return count


def _transposed_outputs(length: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    return (length - 1) * stride + dilation * (kernel - 1) + 1 - before - after


def _plain(length: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> list[AxisTap]:
    count = _plain_outputs(length, kernel, stride, dilation, before, after)
    reads = [position * dilation - before for position in range(kernel)]
    return [AxisTap(read % stride, stride, read // stride, 0, count) for read in reads]


def _transposed(length: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> list[AxisTap]:
    count = _transposed_outputs(length, kernel, stride, dilation, before, after)
    found = []
    for position in range(kernel):
        # Output t reads the input (t + before - position * dilation) / stride, where that is whole.
        offset = position * dilation - before
        family = offset % stride
        found.append(AxisTap(0, 1, (family - offset) // stride, family, -(-(count - family) // stride)))
    return found
