"""Clipping: the scale of a row of the weight that makes its rounding error least."""

from __future__ import annotations

import torch

from medquanbench.quant.grid import Grid
from medquanbench.quant.rounding.nearest import nearest

SMALLEST = 0.3
STEPS = 100


@torch.no_grad()
def clipped_scale(
    weight: torch.Tensor, grid: Grid, importance: torch.Tensor | None = None, smallest: float = SMALLEST
) -> torch.Tensor:
    """The best of ``STEPS`` scales between a fraction of max|w| / largest and all of it, row by row.

    Best is the least sum over columns of importance * (w - q)^2. The largest scale is among them, so that the error is
    never above that of absmax; it also wins ties. A row of nothing but zeros gets 1.

    Args:
        weight: float32 (..., o, k).
        grid: the values of weight / scale.
        importance: float32, broadcasts to the weight: the diagonal of H, say (k,). None counts every column the same.
        smallest: fraction, in (0, 1].

    Returns:
        float32 (..., o, 1).
    """
    whole = weight.abs().amax(-1, keepdim=True) / weight.new_full((), grid.largest)
    whole = torch.where(whole > 0, whole, 1.0)
    best, least = whole, _error(weight, whole, grid, importance)
    for fraction in torch.linspace(1, smallest, STEPS)[1:].tolist():
        scale = whole * fraction
        scale = torch.where(scale > 0, scale, whole)  # the smallest of floats has no fraction
        error = _error(weight, scale, grid, importance)
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return best


def _error(weight: torch.Tensor, scale: torch.Tensor, grid: Grid, importance: torch.Tensor | None) -> torch.Tensor:
    error = (nearest(weight, scale, grid) - weight).square_()
    return (error if importance is None else error.mul_(importance)).sum(-1, keepdim=True)
