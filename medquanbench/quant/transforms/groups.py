"""groups: a scale for every so many neighbouring input channels of an activation, instead of one for all."""

from __future__ import annotations

import torch

from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.transforms.transform import NotDone, Rewrite, Transform, whole


def _make(values: dict[str, float]) -> Rewrite:
    size = int(values["size"])

    def rewrite(layer: QuantizedLayer, largest: torch.Tensor | None) -> str:
        if layer.own_channels:
            raise NotDone("its input channels have scales of their own")
        if layer.kind.inputs <= size:
            raise NotDone(f"its {layer.kind.inputs} input channels are one group of {size}")
        # Groups end where a branch ends: what `branches` has told apart stays apart.
        layer.sections = tuple(part for branch in layer.sections or (layer.kind.inputs,) for part in _cut(branch, size))
        return f"{len(layer.sections)} groups of at most {size} input channels"

    return rewrite


def _cut(channels: int, size: int) -> list[int]:
    return [min(size, channels - start) for start in range(0, channels, size)]


def _allowed(values: dict[str, float]) -> str:
    right = whole(values["size"]) and values["size"] > 1
    return "" if right else "size is a whole number above 1: one channel alone is per-channel"


groups = Transform(_make, {"size": 16}, _allowed)
