"""Ranges: which part of what calibration has shown a static grid spans. One file and one line here for each."""

from collections.abc import Callable

import torch

from medquanbench.quant.histogram import Histogram
from medquanbench.quant.ranges.absmax import absmax
from medquanbench.quant.ranges.entropy import entropy
from medquanbench.quant.ranges.mse import mse
from medquanbench.quant.ranges.percentile import percentile

Range = Callable[[Histogram, int], tuple[torch.Tensor, torch.Tensor]]
"""(values, bits) -> float32 (low, high), an entry a group."""

RANGES: dict[str, Range] = {"absmax": absmax, "percentile": percentile, "mse": mse, "entropy": entropy}
