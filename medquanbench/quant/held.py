"""How a recipe holds the tensors of a layer; and weights put on their grids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn

from medquanbench.quant.calibrate import observe
from medquanbench.quant.formats import FORMATS, Format
from medquanbench.quant.gram import LARGEST_BLOCK, Gram
from medquanbench.quant.grid import Grid, IntegerGrid
from medquanbench.quant.hardware import Hardware, Tag, hardware
from medquanbench.quant.kind import Kind
from medquanbench.quant.layers import geometry_of
from medquanbench.quant.methods import Rounding
from medquanbench.quant.policies import POLICIES
from medquanbench.quant.quantized import Activation, Held, QuantizedLayer, Watch
from medquanbench.quant.ranges import RANGES
from medquanbench.quant.spec import LayerSpec, StaticSpec, TensorSpec
from medquanbench.quant.weight import quantize_weight
from medquanbench.values import FLOAT_BITS, WEIGHT_FORMATS, Recipe, RunError, TensorNote

VOXELS = 32768
"""Outputs of a sample that are counted: at 4 bits all of a 128 x 128 x 128 map would lower the error by 1 %."""
GRAM_BYTES = 1 << 30
"""What the statistics of layers that are looked at together may take; more of them take another pass."""


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
) -> dict[str, tuple[TensorNote, str]]:
    """Put all weights on their grids; path -> what a receipt says of the weight and of its rounding.

    Raises:
        RunError: NaN or infinity in a weight; the message names the layer.
    """
    chosen = {path: weight_of(recipes[path], path, layer.kind) for path, layer in layers.items()}
    wanted = {path: layer for path, layer in layers.items() if chosen[path] is not None}
    grams: dict[str, Gram] = {}
    found: dict[str, tuple[TensorNote, str]] = {}
    for together in _within_memory(wanted.values()) if rounding.needs_inputs else [list(wanted.values())]:
        if rounding.needs_inputs:  # in the float network: none of these has been rounded yet
            grams = _grams(root, together, calibration)
        for layer in together:
            spec, gram = chosen[layer.path], grams.get(layer.path)
            try:
                folded = layer.channel_steps if isinstance(spec, TensorSpec) else None
                found[layer.path] = quantize_weight(layer.layer, layer.kind, spec, rounding, gram, folded)
            except RunError as error:
                raise RunError(f"weight of layer '{layer.path}': {error}") from None
    return found


def _grams(
    root: nn.Module, layers: list[QuantizedLayer], calibration: Iterable[torch.Tensor] | None
) -> dict[str, Gram]:
    geometries = [(layer, geometry_of(layer.layer)) for layer in layers]
    with_zeros = [(layer, geometry) for layer, geometry in geometries if geometry is not None]
    grams = {layer.path: Gram(layer.kind, geometry, most=VOXELS) for layer, geometry in with_zeros}
    seen = observe(
        root, [layer for layer, _ in with_zeros], calibration, lambda layer: _adding(grams[layer.path], layer)
    )
    return {path: gram for path, gram in grams.items() if path in seen}


def _adding(gram: Gram, layer: QuantizedLayer) -> Watch:
    steps = layer.channel_steps
    divisor = None if steps is None else steps.reshape(-1, *[1] * layer.kind.spatial_rank)
    return lambda x, layout: gram.add((x if divisor is None else x / divisor).flatten(0, 1))


def _within_memory(layers: Iterable[QuantizedLayer]) -> Iterator[list[QuantizedLayer]]:
    """Neighbouring layers whose statistics fit into memory together."""
    together: list[QuantizedLayer] = []
    taken = 0
    for layer in layers:
        rows = layer.layer.weight[0].numel() if layer.kind.groups == 1 else layer.layer.weight.numel()
        size = 4 * rows * min(rows, LARGEST_BLOCK)
        if together and taken + size > GRAM_BYTES:
            yield together
            together, taken = [], 0
        together.append(layer)
        taken += size
    if together:
        yield together
