"""Scale formats: what is stored of a scale. Fewer bits for a scale leave more of the memory to the values."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp
from typing import Protocol

import torch

from medquanbench.quant.grid import Grid
from medquanbench.quant.grids.minifloat import E4M3


class ScaleFormat(Protocol):
    """How the scale of a block of values is chosen and stored.

    Attributes:
        name: as reports print it.
        bits: that one scale takes.
    """

    @property
    def name(self) -> str: ...
    @property
    def bits(self) -> int: ...

    def scale(self, largest: torch.Tensor, grid: Grid, tensor_largest: torch.Tensor) -> torch.Tensor:
        """The scale of each block, float32, in the shape of ``largest``; a positive one where the block is all zero.

        Args:
            largest: largest magnitude of each block, float32.
            grid: that the values of the block are moved onto.
            tensor_largest: largest magnitude of the whole tensor (or sample), float32; broadcasts to ``largest``.

        NaN and infinity come through as NaN or infinity, for the caller to find.
        """


@dataclass(frozen=True)
class Float32Scale:
    """S = largest / grid.largest, in float32: the largest magnitude of a block lands on the end of the grid."""

    name = "float32"
    bits = 32

    def scale(self, largest: torch.Tensor, grid: Grid, tensor_largest: torch.Tensor) -> torch.Tensor:
        """See :class:`ScaleFormat`."""
        return _one_where_zero(_quotient(largest, grid.largest))


@dataclass(frozen=True)
class PowerOfTwoScale:
    """E8M0: S = 2^(floor(log2 largest) - emax), emax the exponent of the grid's largest value; at least 2^-127.

    OCP MX v1.0, sections 5.4.1 and 6.3. A block's largest magnitude may lie beyond the grid's largest value; it
    saturates. The largest code, 2^127, cannot be exceeded from float32.
    """

    name = "e8m0"
    bits = 8

    def scale(self, largest: torch.Tensor, grid: Grid, tensor_largest: torch.Tensor) -> torch.Tensor:
        """See :class:`ScaleFormat`."""
        emax = frexp(grid.largest)[1] - 1
        # The exponent's bits of a float32 are its floor(log2), exactly; of a subnormal 0, which the clamp lifts.
        power = largest.view(torch.int32).bitwise_and(0x7F800000).view(torch.float32)
        return power.mul_(2.0**-emax).clamp_(min=2.0**-127)


@dataclass(frozen=True)
class TwoLevelScale:
    """NVFP4's: a float32 scale of the tensor, times a scale of each block that is stored as E4M3.

        S_tensor = tensor_largest / (448 grid.largest),    S = S_tensor E4M3(largest / grid.largest / S_tensor)

    NVIDIA, Pretraining Large Language Models with NVFP4 (arXiv 2509.25149), appendix on NVFP4 quantization. E4M3 rounds
    to the nearest, so a block's largest magnitude may lie beyond the grid; it saturates. Our reading where the text is
    silent: a block scale that would round to zero is stored as the smallest E4M3 value, 2^-9, which keeps the block.
    ``bits`` counts the scale of the block; the tensor's 32 bits are shared by all its values.
    """

    name = "e4m3+float32"
    bits = 8

    def scale(self, largest: torch.Tensor, grid: Grid, tensor_largest: torch.Tensor) -> torch.Tensor:
        """See :class:`ScaleFormat`."""
        of_tensor = _one_where_zero(_quotient(tensor_largest, E4M3.largest * grid.largest))
        of_block = E4M3.round_(_quotient(largest, grid.largest) / of_tensor).clamp_(min=E4M3.smallest)
        return _one_where_zero(of_block * of_tensor)


FLOAT32 = Float32Scale()
E8M0 = PowerOfTwoScale()
TWO_LEVEL = TwoLevelScale()


def _quotient(tensor: torch.Tensor, divisor: float) -> torch.Tensor:
    # By a tensor, since by a Python number torch multiplies by its reciprocal on CUDA.
    return tensor / tensor.new_full((), divisor)


def _one_where_zero(scale: torch.Tensor) -> torch.Tensor:
    return torch.where(scale == 0, 1.0, scale)
