"""Bias correction: a rounded weight shifts the mean of each output channel, and the bias can take that back.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 3.2. Behind the
layer an instance norm takes the mean away with or without it; see ``Centre``.
"""

from __future__ import annotations

import torch


def bias_shift(weight: torch.Tensor, rounded: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """What to add to the bias, so that each channel's mean over the calibration inputs is that of the float weight.

    Args:
        weight, rounded: rows of each group, (groups, o, k).
        mean: the mean patch, (groups, k): ``Gram.mean()``.

    Returns:
        float32 (groups * o,), in the order of the layer's outputs.
    """
    return ((weight.double() - rounded.double()) @ mean.double()[..., None]).flatten().float()
