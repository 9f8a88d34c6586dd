"""svd: the part of a weight of low rank is computed in float beside it, and the rest alone is quantized.

SVDQuant (Li et al. 2024) for linear layers; a convolution's branch is one of rank r and a 1x1x1 one. The branch reads
the activation before it is quantized.
"""

from __future__ import annotations

import torch

from medquanbench.quant.layers import hold_weight, low_rank, weight_groups
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.transforms.transform import NotDone, Rewrite, Transform, whole


def _make(values: dict[str, float]) -> Rewrite:
    rank = int(values["rank"])

    def rewrite(layer: QuantizedLayer, largest: torch.Tensor | None) -> str:
        _, outputs, inputs, kernel = weight_groups(layer.layer, layer.kind).shape
        transposed = getattr(layer.kind, "transposed", False)
        full = min(inputs, outputs * kernel) if transposed else min(outputs, inputs * kernel)
        if rank >= full:
            raise NotDone(f"rank {rank} is not below the {full} that its weight can have")
        branch, rest = low_rank(layer.layer, layer.kind, rank)
        hold_weight(layer.layer, layer.kind, rest)
        layer.steps.append(branch)
        more = sum(parameter.numel() for parameter in branch.parameters())
        return f"a float branch of rank {rank} with {more} parameters"

    return rewrite


def _allowed(values: dict[str, float]) -> str:
    return "" if whole(values["rank"]) else "rank is a whole number above 0"


svd = Transform(_make, {"rank": 4}, _allowed)
