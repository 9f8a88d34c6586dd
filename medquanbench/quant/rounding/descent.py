"""Coordinate descent: a rounded weight, improved one column at a time.

QuantEase (Behdin et al. 2023), equation 6. With all other columns held, d H d^T is least for column j at

    q_j + ((w - q) H)_j / H_jj

and the nearest value of the grid to it is the best there is. All rows go at once.
"""

from __future__ import annotations

import torch

from medquanbench.quant.grid import Grid
from medquanbench.quant.rounding.error import output_error
from medquanbench.quant.rounding.gptq import DAMP, LAZY

SWEEPS = 3
"""On inputs that were not seen, more were no better (W4 and W2, convolutions of the nnU-Net demo)."""


@torch.no_grad()
def descend(
    weight: torch.Tensor,
    rounded: torch.Tensor,
    gram: torch.Tensor,
    scale: torch.Tensor,
    grid: Grid,
    damp: float = DAMP,
    sweeps: int = SWEEPS,
) -> torch.Tensor:
    """A rounded weight whose error d H d^T is nowhere larger; float32 (..., o, k), as all but ``gram`` (..., k, k).

    What is minimised has ``damp`` times the mean of H's diagonal on the diagonal, so that directions in which no input
    was seen stay where they were. A row that is not better without it stays as it came. Columns that the inputs never
    reach stay too.

    Args:
        rounded: where to begin: on the grid times the scale.
        scale: float32, (..., o, 1) or (..., o, k).
        sweeps: times that all columns are visited, unless a sweep changes nothing.
    """
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    ridge = damp * diagonal.mean(-1, keepdim=True)
    steps, best = scale.expand(weight.shape).mT.contiguous(), rounded.mT.clone(memory_format=torch.contiguous_format)
    for _ in range(sweeps):
        change = weight.mT - best
        slope = gram @ change + ridge[..., None] * change
        if not _sweep(best, slope, gram, ridge, steps, grid):
            break
    better = output_error(weight - best.mT, gram) < output_error(weight - rounded, gram)
    return torch.where(better, best.mT, rounded)


def _sweep(
    best: torch.Tensor, slope: torch.Tensor, gram: torch.Tensor, ridge: torch.Tensor, scale: torch.Tensor, grid: Grid
) -> bool:
    """Visit every column once: columns stand as rows, (..., k, o). Changes ``best`` and ``slope``; False if nothing."""
    moved = False
    for start in range(0, best.shape[-2], LAZY):
        stop = min(start + LAZY, best.shape[-2])
        before = best[..., start:stop, :].clone()
        for column in range(start, stop):
            curvature = gram[..., column, column] + ridge[..., 0]
            old, step = best[..., column, :], scale[..., column, :]
            aim = old + slope[..., column, :] / curvature[..., None]
            new = torch.where((gram[..., column, column] > 0)[..., None], grid.round_(aim / step) * step, old)
            difference = new - old
            best[..., column, :] = new
            slope[..., start:stop, :] -= gram[..., start:stop, column, None] * difference[..., None, :]
            slope[..., column, :] -= ridge * difference
        change = best[..., start:stop, :] - before
        if change.any():
            moved = True
            slope[..., stop:, :] -= gram[..., stop:, start:stop] @ change
    return moved
