"""Grid: the values that a tensor may land on once it has been divided by its scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


class Grid(Protocol):
    """A set of values around zero, for a tensor that was divided by its scale. Those in use are frozen dataclasses.

    Attributes:
        name: ``int4``, ``e2m1``, ``nf4``: as reports print it.
        bits: that one value takes.
        largest: the largest magnitude on the grid.
    """

    @property
    def name(self) -> str: ...
    @property
    def bits(self) -> int: ...
    @property
    def largest(self) -> float: ...

    def round_(self, scaled: torch.Tensor) -> torch.Tensor:
        """Move a float32 tensor to the nearest values of the grid, in place; beyond the largest it is clamped.

        Ties go where the grid's specification sends them. NaN stays NaN.
        """


@dataclass(frozen=True)
class IntegerGrid:
    """The symmetric integers -(2^(bits-1)-1) .. 2^(bits-1)-1 (paper Eq. 1): 15 values at 4 bits, 255 at 8."""

    bits: int

    @property
    def name(self) -> str:
        return f"int{self.bits}"

    @property
    def largest(self) -> int:
        """The largest integer of the grid: 7 at 4 bits, 127 at 8."""
        return 2 ** (self.bits - 1) - 1

    def round_(self, scaled: torch.Tensor) -> torch.Tensor:
        """Move a float32 tensor onto the grid, in place: half to even, then clamped."""
        return scaled.round_().clamp_(-self.largest, self.largest)
