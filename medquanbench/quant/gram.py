"""Gram: the second moments of what a layer multiplies its weight with, gathered input by input.

    H = sum over output voxels of x x^T,    x in R^(inputs of a group * kernel): the patch that the output reads

A row w of the weight that becomes w + d changes the layer's output by d x, in the sum of squares by d H d^T. No matrix
of patches is made: an entry of H for the kernel positions a and b depends on their distance b - a alone, but for the
border, so that 63 products of the input with a shifted view of itself do for the 729 pairs of a 3 x 3 x 3 kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random

import torch

from medquanbench.quant.correlate import Correlator
from medquanbench.quant.kind import Convolution, Kind, Linear
from medquanbench.quant.taps import AxisTap, Geometry, excerpt, families, outputs, taps
from medquanbench.values import RunError

LARGEST_BLOCK = 4096
"""Rows of H that are held together: 64 MiB in float32."""


class Centre(Enum):
    """What is taken from the layer's output before its error counts.

    NOTHING: the error is that of the output.
    MEAN: its mean over all that was seen, which bias correction makes up for exactly (``rounding.bias_shift``).
    SAMPLE_MEANS: its mean over each sample, to which an instance norm behind the layer is blind. Such a norm divides by
        the channel's deviation too; that is a factor of the whole row, and moves no minimum of a row's error.
    """

    NOTHING = "nothing"
    MEAN = "mean"
    SAMPLE_MEANS = "sample-means"


@dataclass(frozen=True, eq=False)
class Block:
    """Columns of the weight, and the part of H that belongs to them; the same columns in every group.

    Attributes:
        columns: int64 (n,), ascending; column ``i * kernel + position`` of a group's rows (o, i * kernel).
        gram: float32 (groups, n, n).
    """

    columns: torch.Tensor
    gram: torch.Tensor


class Gram:
    """H of one layer. It is exact to float32 rounding within blocks, and zero between them.

    A transposed convolution's outputs fall into families that read through disjoint kernel positions: blocks of their
    own, with nothing left out. A block of more than ``largest`` rows is cut along the input channels, into parts as
    equal as can be; what two parts have in common is then left out.

    Args:
        kind, geometry: of the layer.
        largest: rows of a block.
        most: of a convolution, outputs of one sample that count: more than these, and a box of about so many is drawn
            from them, the same one in every run. None counts all. What a box reads is exact, padding and all, but the
            means that ``Centre`` takes away are then the boxes'. Transposed and linear layers count all.
    """

    def __init__(
        self,
        kind: Kind,
        geometry: Geometry = Geometry(),  # noqa: B008
        largest: int = LARGEST_BLOCK,
        most: int | None = None,
    ) -> None:
        self.kind, self.geometry = kind, geometry
        self.voxels = 0
        self._largest, self._most, self._random = largest, most, Random(0)
        self._inputs = kind.inputs // kind.groups
        self._plan: list[tuple[tuple[int, ...], slice]] = []  # kernel positions and channels of each part of H
        self._parts: list[_Part] = []
        self._waiting: list[_Sample] = []
        self._samples: list[tuple[torch.Tensor, int]] = []  # sum of a sample's patches (groups, i * kernel), and count

    @property
    def held_bytes(self) -> int:
        """Memory that it takes: of H, or of the inputs while these are less."""
        pairs = sum(4 * part.pairs.numel() for part in self._parts)
        return pairs + sum(sample.bytes for sample in self._waiting)

    def add(self, x: torch.Tensor, divisors: tuple[torch.Tensor, ...] = ()) -> None:
        """Add a layer's input: ``(n, c, *spatial)`` of a convolution, unpadded; ``(..., c)`` of a linear one.

        Samples stand on the leading axis of a convolution's input; all tokens of a linear layer's are one sample.

        Args:
            divisors: by which each channel is divided first, one after the other: c values each, of any shape.
        """
        x = x.detach().float()
        linear = isinstance(self.kind, Linear)
        spatial = [1] if linear else [1] * (x.dim() - 2)
        by = [divisor.reshape(self.kind.groups, self._inputs, *spatial) for divisor in divisors]
        for sample in [x.reshape(-1, x.shape[-1]).T] if linear else x:
            if sample.numel():
                self._add_sample(sample.unflatten(0, (self.kind.groups, self._inputs)), by)

    def _add_sample(self, x: torch.Tensor, divisors: list[torch.Tensor]) -> None:
        size = tuple(x.shape[2:])
        along = taps(self.kind, self.geometry, size)
        count = outputs(self.kind, self.geometry, size)
        if not self._plan:
            self._plan = [
                (positions, channels)
                for positions in families(along)
                for channels in _cut(self._inputs, len(positions), self._largest)
            ]
        if self._most is not None and count > self._most and self._can_be_cut:
            part = excerpt(along, size, self._most, self._random)
            x, along, count = x[(..., *part.inside)], part.along, part.outputs
        for divisor in divisors:
            x = x / divisor
        self._samples.append((_sums(x, along).flatten(1), count))
        self.voxels += count
        self._keep(_Sample(x, along))

    def _keep(self, sample: _Sample) -> None:
        """Add a sample to H; or put it aside, as long as inputs take less memory than H: of deep layers, most do."""
        rows = sum(len(positions) * (len(positions) + 1) * _length(channels) ** 2 for positions, channels in self._plan)
        most = 2 * self.kind.groups * rows  # in bytes: half of all pairs, four bytes each
        if self._parts or self.held_bytes + sample.bytes > most:
            self._settle(sample.x)
            self._accumulate(sample)
        else:
            self._waiting.append(_Sample(sample.x.clone(memory_format=torch.contiguous_format), sample.along))

    def _settle(self, like: torch.Tensor) -> None:
        """Make H of the inputs that were put aside."""
        if not self._parts:
            self._parts = [
                _Part(positions, channels, _zeros(len(positions), like, channels)) for positions, channels in self._plan
            ]
        waiting, self._waiting = self._waiting, []
        for sample in waiting:
            self._accumulate(sample)

    def _accumulate(self, sample: _Sample) -> None:
        correlator = Correlator(sample.x, sample.along)
        for part in self._parts:
            correlator.request(part.positions, part.channels, part.pairs)
        correlator.run()

    @property
    def _can_be_cut(self) -> bool:
        return isinstance(self.kind, Convolution) and not self.kind.transposed

    def mean(self) -> torch.Tensor:
        """The mean patch over all output voxels, float64 (groups, i * kernel)."""
        self._check()
        return sum(total for total, _ in self._samples) / self.voxels

    def blocks(self, centre: Centre = Centre.NOTHING) -> Iterator[Block]:
        """H block by block, each made when it is asked for.

        Args:
            centre: subtract n m m^T, of all n outputs with their mean patch m, or of every sample's. Then d H d^T is
                the squared error of the output less its mean. A transposed convolution's families have their mean in
                common, which couples their blocks; that is left out.

        Raises:
            RunError: nothing has been added, or it held NaN or infinity.
        """
        self._check()
        if self._waiting:
            self._settle(self._waiting[0].x)
        kernel = self._samples[0][0].shape[1] // self._inputs
        means = self._mean_rows(centre)
        for part in self._parts:
            channels = torch.arange(part.channels.start, part.channels.stop)
            columns = (channels[:, None] * kernel + torch.tensor(part.positions)).flatten()
            gram = part.assembled()
            if means is not None:
                rows = means[..., columns]
                gram.baddbmm_(rows.mT, rows, alpha=-1)
            yield Block(columns, gram)

    def _mean_rows(self, centre: Centre) -> torch.Tensor | None:
        """Rows whose squares are what is subtracted: float32 (groups, samples or 1, i * kernel)."""
        if centre is Centre.NOTHING:
            return None
        if centre is Centre.MEAN:
            return (self.mean() * self.voxels**0.5)[:, None].float()
        return torch.stack([total / count**0.5 for total, count in self._samples], 1).float()

    def _check(self) -> None:
        if not self.voxels:
            raise RunError("no input of the layer has been seen, so there are no statistics to round its weight by")
        if not all(torch.isfinite(total).all() for total, _ in self._samples):
            raise RunError("NaN or infinity in what the layer reads of the calibration cases")


@dataclass(frozen=True, eq=False)
class _Sample:
    """What counts of one sample, float32 (groups, channels, *spatial), and the taps on it."""

    x: torch.Tensor
    along: list[list[AxisTap]]

    @property
    def bytes(self) -> int:
        return 4 * self.x.numel()


@dataclass(frozen=True, eq=False)
class _Part:
    """Sums of products for each pair of kernel positions: float32 (pairs, groups, c, c), first position's rows."""

    positions: tuple[int, ...]
    channels: slice
    pairs: torch.Tensor

    def assembled(self) -> torch.Tensor:
        """float32 (groups, n, n), channels slowest."""
        count, (_, groups, inputs, _) = len(self.positions), self.pairs.shape
        gram = self.pairs.new_empty(groups, inputs, count, inputs, count)
        first, second = torch.triu_indices(count, count)
        for value, a, b in zip(self.pairs, first.tolist(), second.tolist()):
            gram[:, :, a, :, b] = value
            gram[:, :, b, :, a] = value.mT
        return gram.reshape(groups, inputs * count, inputs * count)


def _zeros(positions: int, x: torch.Tensor, channels: slice) -> torch.Tensor:
    inputs = _length(channels)
    return torch.zeros(positions * (positions + 1) // 2, x.shape[0], inputs, inputs, device=x.device)


def _length(channels: slice) -> int:
    return channels.stop - channels.start


def _cut(inputs: int, positions: int, largest: int) -> list[slice]:
    parts = min(-(-inputs * positions // largest), inputs)
    edges = [inputs * part // parts for part in range(parts + 1)]
    return [slice(*edge) for edge in zip(edges, edges[1:])]


def _sums(x: torch.Tensor, along: list[list[AxisTap]]) -> torch.Tensor:
    """Sum over the outputs of what each tap reads: (groups, channels, *kernel) from (groups, channels, *spatial)."""
    if not along:
        return x
    length = x.shape[-1]
    # The first axis is summed in float32, since torch would copy all of the input for float64.
    return torch.stack([_sums(x[..., tap.inside(length)].sum(-1).double(), along[:-1]) for tap in along[-1]], -1)
