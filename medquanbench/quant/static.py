"""Static scales: where the integers of a tensor lie is decided once, and holds for every input.

    low = min(low, 0),  high = max(high, 0),  S = (high - low) / (2^bits - 1),  z = round(-low / S)
    X_q = S clamp(round(X / S), -z, 2^bits - 1 - z)

Zero is always on the grid, so that padding stays exact. S and X/S are true float32 divisions, half to even.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Placed:
    """Step and bounds of a grid; float32 tensors that broadcast to the tensor they are for."""

    step: torch.Tensor
    lowest: torch.Tensor
    highest: torch.Tensor

    def quantize(self, tensor: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """A float32 tensor on the grid; in ``out`` where one of the tensor's shape is given. NaN stays NaN."""
        return torch.div(tensor, self.step, out=out).round_().clamp_(self.lowest, self.highest).mul_(self.step)


def place(low: torch.Tensor, high: torch.Tensor, bits: int) -> Placed:
    """The grid of 2^bits integers that spans low to high and holds zero; a range of nothing but zero gets step 1.

    Args:
        low, high: float32, finite, of one shape.
    """
    low, high = low.clamp(max=0.0), high.clamp(min=0.0)
    largest = float(2**bits - 1)
    step = (high - low) / low.new_full((), largest)
    step = torch.where(step > 0, step, 1.0)
    zero = torch.round(-low / step)
    return Placed(step, -zero, largest - zero)
