"""absmax: all that was seen; nothing is clipped."""

import torch

from medquanbench.quant.histogram import Histogram


def absmax(values: Histogram, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest and the largest value."""
    return values.low, values.high
