"""What counts as a loss: relative to FP32, and how much of it is accepted."""

from __future__ import annotations

import math

_BITS_8_MARGIN, _LOW_BITS_MARGIN = 0.002, 0.01


def drop_pct(reference_mean: float, quantized_mean: float) -> float | None:
    """Relative loss 100 (FP32 - quantized) / FP32 in per cent, positive for a loss.

    None where it is undefined: FP32 is 0, or one of the means is NaN (no case had a score).
    """
    if reference_mean == 0 or math.isnan(reference_mean) or math.isnan(quantized_mean):
        return None
    return 100 * (reference_mean - quantized_mean) / reference_mean


def default_margin(weight_bits: int, activation_bits: int) -> float:
    """Accepted loss of a mean score: 0.002 where weights and activations have 8 bits or more, else 0.01."""
    return _BITS_8_MARGIN if min(weight_bits, activation_bits) >= 8 else _LOW_BITS_MARGIN
