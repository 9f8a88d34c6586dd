"""Static scales of activations, found on calibration inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from medquanbench.quant.calibrate import Bounds, Spread, observe
from medquanbench.quant.quantized import Activation, QuantizedLayer
from medquanbench.quant.spec import StaticSpec
from medquanbench.quant.static import Placed, place


def fix_scales(
    root: nn.Module,
    layers: Mapping[str, QuantizedLayer],
    planned: Mapping[str, Activation],
    calibration: Iterable[torch.Tensor] | None,
) -> None:
    """Give layers with static scales the grid for what they read of the calibration inputs, in the float network.

    A layer that no input reaches gets none: it fails if it is ever called. One that reads the image, and nothing else,
    is held as the recipe holds the image.

    Args:
        layers, planned: by path.
    """
    wanted = {path: spec for path in layers if (spec := _static(planned[path])) is not None}
    if not wanted:
        return
    chosen = [layers[path] for path in wanted]
    bounds = observe(root, chosen, calibration, lambda layer: Bounds(layer.path, _sections(layer, wanted[layer.path])))
    reached = [layer for layer in chosen if layer.path in bounds]
    spread = observe(root, reached, calibration, lambda layer: Spread(bounds[layer.path]))
    for layer in reached:
        image_alone = layer.reads_image and not layer.reads_other
        spec = planned[layer.path].image if image_alone else planned[layer.path].usual
        if isinstance(spec, StaticSpec):
            low, high = spec.range(spread[layer.path].histogram, spec.bits)
            layer.fix(_shaped(place(low, high, spec.bits), bounds[layer.path].sections, layer))


def _static(activation: Activation) -> StaticSpec | None:
    return next((spec for spec in (activation.usual, activation.image) if isinstance(spec, StaticSpec)), None)


def _sections(layer: QuantizedLayer, spec: StaticSpec) -> tuple[int, ...]:
    """How many neighbouring channels share a scale: one where channels keep their own, else a branch, else all."""
    return (1,) * layer.kind.inputs if "c" in spec.granularity.axes else layer.sections or (layer.kind.inputs,)


def _shaped(placed: Placed, sections: tuple[int, ...], layer: QuantizedLayer) -> Placed:
    """The grid of each section as one that broadcasts to an input: an entry a channel, or one for all."""
    sizes = torch.tensor(sections)
    shape = (-1, *[1] * layer.kind.spatial_rank)
    device = layer.layer.weight.device
    parts = (part.repeat_interleave(sizes).reshape(shape) for part in (placed.step, placed.lowest, placed.highest))
    return Placed(*(part.to(device) if len(sections) > 1 else part.flatten()[0].to(device) for part in parts))
