"""smooth: what makes channels of an input large goes into the weight (SmoothQuant, Xiao et al. 2023, Eq. 4).

    s_c = max|X_c|^alpha / max|W_c|^(1 - alpha),    X_c -> X_c / s_c,    W_c -> W_c s_c

for each input channel c, over all its kernel positions and outputs, on every kind of layer. The division goes into
what makes the input where it can (``fold``), else it is done at every forward.
"""

from __future__ import annotations

import torch

from medquanbench.quant.fold import fold
from medquanbench.quant.layers import hold_weight, weight_groups
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.steps import Divide
from medquanbench.quant.transforms.transform import NotDone, Rewrite, Transform


def _make(values: dict[str, float]) -> Rewrite:
    alpha = values["alpha"]

    def rewrite(layer: QuantizedLayer, largest: torch.Tensor | None) -> str:
        weight = weight_groups(layer.layer, layer.kind)
        if layer.kind.inputs == 1:
            raise NotDone("one input channel has nothing to be evened out with")
        groups, _, inputs, _ = weight.shape
        factors = factors_of(largest.reshape(groups, inputs), weight.abs().amax((1, 3)), alpha)
        hold_weight(layer.layer, layer.kind, weight * factors[:, None, :, None])
        layer.steps.append(Divide(factors.flatten(), layer.kind))
        return "input channels divided"  # where, and by what, folding tells

    return rewrite


def factors_of(activation: torch.Tensor, weight: torch.Tensor, alpha: float) -> torch.Tensor:
    """s of the module's equation; 1 for a channel whose activations or weights are all zero."""
    factors = activation**alpha / weight ** (1 - alpha)
    dead = (activation == 0) | (weight == 0) | ~torch.isfinite(factors) | (factors == 0)
    return torch.where(dead, 1.0, factors)


def _allowed(values: dict[str, float]) -> str:
    return (
        "" if 0 <= values["alpha"] <= 1 else "alpha is a number from 0 (all to the activation) to 1 (all to the weight)"
    )


smooth = Transform(_make, {"alpha": 0.5}, _allowed, needs_statistics=True, reads_magnitudes=True, settle=fold)
