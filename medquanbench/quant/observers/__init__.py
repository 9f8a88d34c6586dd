"""Observers: how the range behind a scale is found. One file and one line here for each."""

from collections.abc import Callable

import torch

from medquanbench.quant.observers.absmax import absmax

Observer = Callable[[torch.Tensor, tuple[int, ...]], torch.Tensor]
"""(tensor, positions of the axes that share a scale) -> largest magnitude to represent, those axes kept with size 1."""

OBSERVERS: dict[str, Observer] = {"absmax": absmax}
