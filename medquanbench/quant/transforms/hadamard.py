"""hadamard: blocks of input channels are mixed by a Hadamard matrix, so that no channel stands out.

    x -> x H,    W -> W H,    H symmetric and orthogonal: H H = 1

on the activation at every forward, on the weight once (QuaRot, Ashkboos et al. 2024, for linear layers).
"""

from __future__ import annotations

import torch

from medquanbench.quant.layers import hold_weight, weight_groups
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.steps import Rotate
from medquanbench.quant.transforms.transform import NotDone, Rewrite, Transform, whole

USUAL_BLOCK = 32


def matrix(block: int) -> torch.Tensor:
    """Sylvester's Hadamard matrix of a power of two, divided by its root: symmetric, orthogonal, float32."""
    made = torch.ones(1, 1, dtype=torch.float64)
    while len(made) < block:
        made = torch.cat([torch.cat([made, made], 1), torch.cat([made, -made], 1)])
    return (made / block**0.5).float()


def _make(values: dict[str, float]) -> Rewrite:
    asked = int(values["block"])

    def rewrite(layer: QuantizedLayer, largest: torch.Tensor | None) -> str:
        weight = weight_groups(layer.layer, layer.kind)
        inputs = weight.shape[2]
        block = asked or min(USUAL_BLOCK, inputs & -inputs)
        if inputs % block:
            raise NotDone(f"blocks of {block} do not divide its {inputs} input channels{_of_group(layer)}")
        if block == 1:
            raise NotDone(f"no power of two divides its {inputs} input channels{_of_group(layer)}")
        turn = matrix(block)
        turned = (weight.unflatten(2, (-1, block)).transpose(-1, -2) @ turn).transpose(-1, -2)
        hold_weight(layer.layer, layer.kind, turned.flatten(2, 3))
        layer.steps.append(Rotate(turn.to(layer.layer.weight.device), layer.kind))
        return f"blocks of {block} input channels mixed"

    return rewrite


def _of_group(layer: QuantizedLayer) -> str:
    return " of a group" if layer.kind.groups > 1 else ""


def _allowed(values: dict[str, float]) -> str:
    block = values["block"]
    right = block == 0 or (whole(block) and block > 1 and int(block) & (int(block) - 1) == 0)
    return "" if right else "block is a power of two from 2 on (or 0: 32, or the largest one that divides the channels)"


hadamard = Transform(_make, {"block": 0}, _allowed)
