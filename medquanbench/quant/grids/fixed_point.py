"""Fixed point: integers that stand for multiples of a power of two, as the INT8 element of OCP's MX formats."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class FixedPoint:
    """The multiples of 2^-fraction_bits that ``bits`` hold, symmetric around zero.

    The lowest two's-complement code (-2 for MX INT8) stays unused, which the MX specification allows so that the grid
    is symmetric and the error has no bias towards negative values.
    """

    bits: int
    fraction_bits: int

    @property
    def name(self) -> str:
        return f"int{self.bits}"

    @property
    def largest(self) -> float:
        """The largest value: 127/64 = 1.984375 for MX INT8."""
        return (2 ** (self.bits - 1) - 1) / 2**self.fraction_bits

    def round_(self, scaled: torch.Tensor) -> torch.Tensor:
        """Move a float32 tensor onto the grid, in place: half to even, then clamped."""
        steps = 2.0**self.fraction_bits
        return scaled.clamp_(-self.largest, self.largest).mul_(steps).round_().div_(steps)


MX_INT8 = FixedPoint(8, 6)
"""OCP MX v1.0, section 5.3.4: 8 bits, two's complement, an implied scale of 2^-6."""
