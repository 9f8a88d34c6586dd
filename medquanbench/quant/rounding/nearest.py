"""Rounding to nearest."""

from __future__ import annotations

import torch

from medquanbench.quant.grid import Grid


def nearest(weight: torch.Tensor, scale: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Each value of a float32 tensor moved to the nearest of the grid times the scale, which broadcasts to it."""
    return grid.round_(weight / scale) * scale
