"""How a recipe holds the tensors of a layer; and weights put on their grids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from medquanbench.quant.formats import FORMATS, Format
from medquanbench.quant.gram import Gram
from medquanbench.quant.grid import Grid, IntegerGrid
from medquanbench.quant.hardware import Hardware, Tag, hardware
from medquanbench.quant.kind import Kind
from medquanbench.quant.methods import Rounding
from medquanbench.quant.moments import passes
from medquanbench.quant.policies import POLICIES
from medquanbench.quant.quantized import Activation, Held, QuantizedLayer
from medquanbench.quant.ranges import RANGES
from medquanbench.quant.spec import LayerSpec, StaticSpec, TensorSpec
from medquanbench.quant.weight import OnGrid, quantize_weight
from medquanbench.values import FLOAT_BITS, WEIGHT_FORMATS, Recipe, RunError


def spec_of(recipe: Recipe, path: str, kind: Kind) -> LayerSpec:
    """What the recipe's policy decides for a layer."""
    return POLICIES[recipe.policy](path, kind)


def weight_of(recipe: Recipe, path: str, kind: Kind) -> TensorSpec | Format | None:
    """How a layer's weight is held; None: in float. A format of weights holds them in blocks under any policy."""
    if recipe.weight_bits == FLOAT_BITS:
        return None
    spec, format = spec_of(recipe, path, kind), FORMATS.get(recipe.format)
    if format is not None and POLICIES["block"](path, kind).blocks:
        return format
    grid: Grid = IntegerGrid(recipe.weight_bits) if format is None else format.grid
    return TensorSpec(grid, spec.weight, spec.observer)


def activation_of(recipe: Recipe, path: str, kind: Kind) -> Activation:
    """How a layer's input is held, as any tensor and where it is the image."""
    spec = spec_of(recipe, path, kind)
    format = None if recipe.format in WEIGHT_FORMATS else FORMATS.get(recipe.format)

    def held(bits: int) -> Held | None:
        if bits == FLOAT_BITS:
            return None
        if spec.static is not None:
            return StaticSpec(bits, spec.activation, RANGES[recipe.observer] if recipe.observer else spec.static)
        own = format if format is not None and bits == format.grid.bits else None
        if own is not None and spec.blocks:
            return own
        return TensorSpec(IntegerGrid(bits) if own is None else own.grid, spec.activation, spec.observer)

    return Activation(held(recipe.activation_bits), held(recipe.input_bits or recipe.activation_bits))


def hardware_of(recipe: Recipe, layer: QuantizedLayer) -> Hardware:
    """What could run a layer's product as the recipe holds its tensors, whatever enters it beside the image."""
    weight = weight_of(recipe, layer.path, layer.kind)
    activation = activation_of(recipe, layer.path, layer.kind).usual
    found = hardware(layer.kind, weight, activation, isinstance(activation, StaticSpec))
    if layer.sections and found.tag is Tag.GEMM:
        return Hardware(
            found.tag, f"{found.reason}; a product for each of {len(layer.sections)} sections of channels, then a sum"
        )
    return found


def hold_weights(
    root: nn.Module,
    layers: Mapping[str, QuantizedLayer],
    recipes: Mapping[str, Recipe],
    rounding: Rounding,
    calibration: Iterable[torch.Tensor] | None,
) -> dict[str, OnGrid]:
    """Put all weights on their grids; path -> where it lies now.

    Raises:
        RunError: NaN or infinity in a weight; the message names the layer.
    """
    chosen = {path: weight_of(recipes[path], path, layer.kind) for path, layer in layers.items()}
    wanted = [layer for path, layer in layers.items() if chosen[path] is not None]
    found: dict[str, OnGrid] = {}
    if not rounding.needs_inputs:
        return {layer.path: _on_grid(layer, chosen[layer.path], rounding) for layer in wanted}
    aside: list[tuple[QuantizedLayer, torch.Tensor, torch.Tensor | None]] = []
    for shown in passes(root, wanted, calibration):
        for layer in shown.layers:
            float_, gram = (layer.layer.weight, layer.layer.bias), shown.grams.pop(layer.path, None)
            found[layer.path] = _on_grid(layer, chosen[layer.path], rounding, gram, layer.path in shown.normed)
            if not shown.is_last:  # later passes, too, are of the float network
                aside.append((layer, layer.layer.weight, layer.layer.bias))
                layer.layer.weight, layer.layer.bias = float_
    for layer, weight, bias in aside:
        layer.layer.weight, layer.layer.bias = weight, bias
    return found


def _on_grid(
    layer: QuantizedLayer,
    spec: TensorSpec | Format,
    rounding: Rounding,
    gram: Gram | None = None,
    is_normed: bool = False,
) -> OnGrid:
    folded = layer.channel_steps if isinstance(spec, TensorSpec) else None
    try:
        return quantize_weight(layer.layer, layer.kind, spec, rounding, gram, folded, is_normed)
    except RunError as error:
        raise RunError(f"weight of layer '{layer.path}': {error}") from None
