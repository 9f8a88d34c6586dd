"""branches: a layer that reads a concatenation (a skip connection) gets a scale for each of its parts."""

from __future__ import annotations

import torch

from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.transforms.transform import NotDone, Rewrite, Transform


def _make(values: dict[str, float]) -> Rewrite:
    def rewrite(layer: QuantizedLayer, largest: torch.Tensor | None) -> str:
        if not layer.joined:
            raise NotDone("it reads no concatenation of channels")
        if layer.own_channels:
            raise NotDone("its input channels have scales of their own")
        layer.sections = layer.joined
        return f"branches of {' and '.join(map(str, layer.sections))} channels"

    return rewrite


branches = Transform(_make, {}, lambda values: "", needs_statistics=True)
