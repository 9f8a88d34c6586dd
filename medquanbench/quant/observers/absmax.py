"""The largest magnitude (paper Eq. 1): nothing is clipped."""

from __future__ import annotations

import torch


def absmax(tensor: torch.Tensor, shared: tuple[int, ...]) -> torch.Tensor:
    """max|X| over the shared axes, which stay with size 1. NaN and infinity come through."""
    if not shared:
        return tensor.abs()
    # aminmax would be one pass, but takes a single axis; the infinity norm is one pass and makes no copy of |X|.
    return torch.linalg.vector_norm(tensor, ord=float("inf"), dim=shared, keepdim=True)
