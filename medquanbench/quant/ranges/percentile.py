"""percentile: all but one value in ten thousand on either side."""

import torch

from medquanbench.quant.histogram import BINS, Histogram

TAIL = 1e-4


def percentile(values: Histogram, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The bounds outside of which lie at most ``TAIL`` of the values each, to the width of a bin."""
    share = values.counts.cumsum(1) / values.counts.sum(1, keepdim=True).clamp(min=1)
    first = (share <= TAIL).sum(1)  # bins that may be left out at the lower end
    last = (share < 1 - TAIL).sum(1) + 1
    width = (values.high.double() - values.low.double()) / BINS
    low, high = values.low.double() + first * width, values.low.double() + last * width
    return low.float(), torch.minimum(high.float(), values.high)
