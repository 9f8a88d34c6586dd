"""asymmetric: activations on a grid that spans what they hold, from their smallest to their largest value.

Half of a symmetric grid is lost on what a ReLU-like function has left one-sided. Static scales are asymmetric anyway.
"""

from __future__ import annotations

import torch

from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.transforms.transform import NotDone, Rewrite, Transform


def _make(values: dict[str, float]) -> Rewrite:
    def rewrite(layer: QuantizedLayer, largest: torch.Tensor | None) -> str:
        if layer.static:
            raise NotDone("its static grid is asymmetric already")
        layer.asymmetric = True
        return "its input on an asymmetric grid"

    return rewrite


asymmetric = Transform(_make, {}, lambda values: "")
