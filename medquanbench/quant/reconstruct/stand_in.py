"""StandIn: what stands in a quantized layer's place while its rounding is learned, and lets gradients through."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call

from medquanbench.quant.layers import hold_weight, in_torchs_order, weight_groups
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.reconstruct.up_or_down import UpOrDown
from medquanbench.quant.spec import StaticSpec
from medquanbench.quant.static import Placed


class StandIn(nn.Module):
    """Computes what a quantized layer does, and lets gradients pass all rounding straight through.

    Args:
        quantized: the layer; :meth:`give_back` alone changes it. Its weight is where the rounding begins.
        weight: of that layer, up or down.
        drop: share of the input that is left in float; None: all of it. Static steps are learned unless it is None or
            they have been folded into the weight.
        random: what is left in float.
    """

    def __init__(
        self, quantized: QuantizedLayer, weight: UpOrDown, drop: float | None, random: torch.Generator
    ) -> None:
        super().__init__()
        self.quantized, self.rounding, self.drop, self.random = quantized, weight, drop, random
        self.stretch: nn.Parameter | None = None
        if drop is not None and quantized.placed is not None and quantized.channel_steps is None:
            sections = len(quantized.sections) or 1
            self.stretch = nn.Parameter(quantized.placed.new_zeros(sections))

    def __getattr__(self, name: str):
        # Networks ask their layers for weight, bias, in_features: the layer inside answers.
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__"):
                raise
            return getattr(super().__getattr__("quantized"), name)

    def forward(self, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        """As :meth:`QuantizedLayer.forward`."""
        quantized = self.quantized
        reads_image = quantized.batch.is_image(input)
        input, added = quantized.stepped(input, output_size)
        weight = in_torchs_order(quantized.layer, quantized.kind, _unfolded(self.rounding(), quantized))
        arguments = (self._held(input, reads_image),) + (() if output_size is None else (output_size,))
        output = functional_call(quantized.layer, {"weight": weight}, arguments)
        for more in added:
            output = output + more
        return output

    def give_back(self) -> None:
        """Give the quantized layer the weight on its grid and the steps that were learned."""
        quantized = self.quantized
        hold_weight(quantized.layer, quantized.kind, _unfolded(self.rounding().detach(), quantized))
        if self.stretch is not None:
            with torch.no_grad():
                quantized.fix(self._placed())

    def _held(self, x: torch.Tensor, reads_image: bool) -> torch.Tensor:
        spec = self.quantized.activation.image if reads_image else self.quantized.activation.usual
        if self.drop is None or spec is None:
            return x
        if isinstance(spec, StaticSpec):
            held = _on_static_grid(x, self._placed())
        else:
            held = x + (self.quantized.hold(x.detach(), reads_image) - x).detach()
        if self.drop == 0:
            return held
        left = torch.rand(x.shape, generator=self.random) < self.drop
        return torch.where(left.to(x.device), x, held)

    def _placed(self) -> Placed:
        placed = Placed(*self.quantized.placed)
        if self.stretch is None:
            return placed
        stretch = self.stretch.exp()
        if self.quantized.sections:
            sizes = torch.tensor(self.quantized.sections, device=stretch.device)
            stretch = stretch.repeat_interleave(sizes).reshape(placed.step.shape)
        else:
            stretch = stretch[0]
        return Placed(placed.step * stretch, placed.lowest, placed.highest)


def float_rows(original: QuantizedLayer, quantized: QuantizedLayer) -> torch.Tensor:
    """Rows (group, output, input * kernel) of the float weight, times the static steps that were folded into it."""
    weight = weight_groups(original.layer, original.kind)
    return (weight * _folded(quantized)).flatten(2)


def start_rows(quantized: QuantizedLayer) -> torch.Tensor:
    """The same of the weight as it is held now."""
    return float_rows(quantized, quantized)


def _folded(quantized: QuantizedLayer) -> torch.Tensor:
    steps, kind = quantized.channel_steps, quantized.kind
    return torch.ones(1) if steps is None else steps.reshape(kind.groups, 1, -1, 1)


def _unfolded(rows: torch.Tensor, quantized: QuantizedLayer) -> torch.Tensor:
    """Groups (group, output, input, kernel position) of rows."""
    inputs = quantized.kind.inputs // quantized.kind.groups
    return rows.unflatten(2, (inputs, -1)) / _folded(quantized).to(rows.device)


def _on_static_grid(x: torch.Tensor, placed: Placed) -> torch.Tensor:
    """On a static grid; the gradients of LSQ (Esser et al. 2020, equation 3), to the input within the grid alone."""
    scaled = x.float() / placed.step
    scaled = scaled + (scaled.round() - scaled).detach()
    return (torch.minimum(torch.maximum(scaled, placed.lowest), placed.highest) * placed.step).to(x.dtype)
