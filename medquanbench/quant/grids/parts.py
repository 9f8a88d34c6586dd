"""A large tensor in parts, so that what is computed from it on the way stays in the processor's cache."""

from __future__ import annotations

import torch

_VALUES = 2**16  # of float32: 256 KiB, and as much for what is computed from them


def parts_of(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Views that together are the tensor; the tensor itself where parts would not be faster.

    Fresh memory for an intermediate result of a whole activation costs more than the arithmetic: ten times on CPU.
    """
    if torch.compiler.is_compiling() or tensor.device.type != "cpu" or not tensor.is_contiguous():
        return (tensor,)
    return tensor.view(-1).split(_VALUES)
