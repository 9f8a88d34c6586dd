"""What calibration inputs show of the layers of a network: passes over the inputs that keep a few numbers a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import nn

from medquanbench.quant.histogram import Histogram, add, empty
from medquanbench.quant.joins import Joins
from medquanbench.quant.quantized import QuantizedLayer, Watch
from medquanbench.values import RequestError, RunError

Watcher = TypeVar("Watcher", bound=Watch)

NO_INPUTS = "calibration was asked for and has no inputs: at least one case is needed"
PIECE = 1 << 22
"""Values of an input that are divided at one time."""


def observe(
    root: nn.Module,
    layers: Iterable[QuantizedLayer],
    inputs: Iterable[torch.Tensor],
    make: Callable[[QuantizedLayer], Watcher],
    mode: AbstractContextManager = nullcontext(),  # noqa: B008
) -> dict[str, Watcher]:
    """Run a network on calibration inputs; each layer's own watcher is told of what that layer reads.

    Args:
        mode: entered for the first of the inputs.

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
                with nullcontext() if count else mode:
                    root(image)
                count += 1
    finally:
        for layer in layers:
            layer.watch = layer.batch.joins = None
    if not count:
        raise RequestError(NO_INPUTS)
    return {layer.path: watchers[layer.path] for layer in layers if layer.calls > before[layer.path]}


def pass_on(
    root: nn.Module,
    layers: Iterable[QuantizedLayer],
    image: torch.Tensor,
    mode: AbstractContextManager = nullcontext(),  # noqa: B008
) -> object:
    """What a network with nothing on a grid answers, in as little memory as in :func:`observe`.

    Args:
        mode: entered for the forward.
    """
    batch = next(iter(layers)).batch
    batch.joins = Joins()
    try:
        with torch.inference_mode(), mode:
            return root(image)
    finally:
        batch.joins = None


class Magnitudes:
    """The largest magnitude of each channel of a layer's inputs."""

    def __init__(self, path: str) -> None:
        self.path, self.largest = path, None

    def __call__(self, x: torch.Tensor, layout: tuple[str, ...], divisor: torch.Tensor | None) -> None:
        shared = tuple(i for i, axis in enumerate(layout) if axis != "c")
        for piece in _pieces(x, layout, divisor):
            found = torch.maximum(piece.amax(shared), piece.amin(shared).neg())
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

    def __call__(self, x: torch.Tensor, layout: tuple[str, ...], divisor: torch.Tensor | None) -> None:
        for piece in _pieces(x, layout, divisor):
            parts = piece.split(self.sections, layout.index("c"))
            low, high = torch.stack([part.min() for part in parts]), torch.stack([part.max() for part in parts])
            _check_finite(torch.stack([low, high]), self.path)
            self.low = low if self.low is None else torch.minimum(self.low, low)
            self.high = high if self.high is None else torch.maximum(self.high, high)


class Spread:
    """How a layer's inputs are spread between known bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.sections = bounds.sections
        self.histogram: Histogram = empty(bounds.low.cpu(), bounds.high.cpu())

    def __call__(self, x: torch.Tensor, layout: tuple[str, ...], divisor: torch.Tensor | None) -> None:
        for piece in _pieces(x, layout, divisor):
            for group, part in enumerate(piece.cpu().split(self.sections, layout.index("c"))):
                add(self.histogram, group, part)


def _pieces(x: torch.Tensor, layout: tuple[str, ...], divisor: torch.Tensor | None) -> Iterator[torch.Tensor]:
    """A split input, divided; piece by piece along its first axis of positions, so that no whole copy is made."""
    if divisor is None:
        yield x
        return
    axis = next((i for i, name in enumerate(layout) if name not in ("n", "k", "c")), 0)
    rows = max(1, PIECE * x.shape[axis] // x.numel())
    for piece in x.split(rows, axis):
        yield piece / divisor


def _check_finite(found: torch.Tensor, path: str) -> None:
    if not torch.isfinite(found).all():
        raise RunError(f"layer '{path}': NaN or infinity in what it reads of a calibration input")
