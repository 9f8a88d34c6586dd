"""What calibration inputs show of the layers of a network: passes over the inputs that keep a few numbers a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import nn

from medquanbench.quant.histogram import Histogram, add, empty
from medquanbench.quant.joins import Joins
from medquanbench.quant.quantized import QuantizedLayer, Watch
from medquanbench.values import RequestError, RunError

Watcher = TypeVar("Watcher", bound=Watch)


def observe(
    root: nn.Module,
    layers: Iterable[QuantizedLayer],
    inputs: Iterable[torch.Tensor],
    make: Callable[[QuantizedLayer], Watcher],
) -> dict[str, Watcher]:
    """Run a network on calibration inputs; each layer's own watcher is told of what that layer reads.

    Returns:
        path -> watcher, of the layers that ran.

    Raises:
        RequestError: there are no inputs.
    """
    layers = tuple(layers)
    watchers, count = {layer.path: make(layer) for layer in layers}, 0
    before, joins = {layer.path: layer.calls for layer in layers}, Joins()
    try:
        for layer in layers:
            layer.watch, layer.batch.joins = watchers[layer.path], joins
        with torch.inference_mode(), joins:
            for image in inputs:
                root(image)
                count += 1
    finally:
        for layer in layers:
            layer.watch = layer.batch.joins = None
    if not count:
        raise RequestError("calibration was asked for and has no inputs: at least one case is needed")
    return {layer.path: watchers[layer.path] for layer in layers if layer.calls > before[layer.path]}


class Magnitudes:
    """The largest magnitude of each channel of a layer's inputs."""

    def __init__(self, path: str) -> None:
        self.path, self.largest = path, None

    def __call__(self, x: torch.Tensor, layout: tuple[str, ...]) -> None:
        shared = tuple(i for i, axis in enumerate(layout) if axis != "c")
        found = torch.maximum(x.amax(shared), x.amin(shared).neg())
        _check_finite(found, self.path)
        self.largest = found if self.largest is None else torch.maximum(self.largest, found)


class Bounds:
    """The smallest and the largest value of a layer's inputs, for each section of its channels.

    Args:
        sections: how many neighbouring channels each has.
    """

    def __init__(self, path: str, sections: tuple[int, ...]) -> None:
        self.path, self.sections = path, sections
        self.low = self.high = None

    def __call__(self, x: torch.Tensor, layout: tuple[str, ...]) -> None:
        parts = x.split(self.sections, layout.index("c"))
        low, high = torch.stack([part.min() for part in parts]), torch.stack([part.max() for part in parts])
        _check_finite(torch.stack([low, high]), self.path)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)


class Spread:
    """How a layer's inputs are spread between known bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.sections = bounds.sections
        self.histogram: Histogram = empty(bounds.low.cpu(), bounds.high.cpu())

    def __call__(self, x: torch.Tensor, layout: tuple[str, ...]) -> None:
        for group, part in enumerate(x.cpu().split(self.sections, layout.index("c"))):
            add(self.histogram, group, part)


def _check_finite(found: torch.Tensor, path: str) -> None:
    if not torch.isfinite(found).all():
        raise RunError(f"layer '{path}': NaN or infinity in what it reads of a calibration input")
