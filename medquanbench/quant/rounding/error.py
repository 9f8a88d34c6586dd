"""What a rounded weight does to the layer's output."""

from __future__ import annotations

import torch


def output_error(change: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    """d H d^T for every row d of a change of the weight: the squared error of the output, summed over its voxels.

    Args:
        change: (..., o, k).
        gram: H of the layer's input, (..., k, k).

    Returns:
        (..., o, 1).
    """
    return ((change @ gram) * change).sum(-1, keepdim=True)
