"""Second moments of what the layers of a network read of calibration inputs, in passes that fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from medquanbench.quant.calibrate import observe
from medquanbench.quant.flow import Flow
from medquanbench.quant.gram import Gram
from medquanbench.quant.layers import geometry_of
from medquanbench.quant.quantized import QuantizedLayer

VOXELS = 32768
"""Outputs of a sample that are counted: at 4 bits all of a 128 x 128 x 128 map would lower the error by 1 %."""
GRAM_BYTES = 1 << 29
"""What the statistics of layers may take together; layers for which nothing is left wait for another pass."""


@dataclass(frozen=True, eq=False)
class Pass:
    """What one pass over the calibration inputs has shown.

    Attributes:
        layers: that it was about, in the network's order.
        grams: path -> statistics, of those that an input reached and that pad with zeros. Whoever takes one out frees
            it with that.
        normed: layers whose answer an instance norm reads, and nothing else.
        is_last: no other pass follows.
    """

    layers: tuple[QuantizedLayer, ...]
    grams: dict[str, Gram]
    normed: frozenset[str]
    is_last: bool


def passes(root: nn.Module, layers: Iterable[QuantizedLayer], calibration: Iterable[torch.Tensor]) -> Iterator[Pass]:
    """Run the network as often as memory asks for; the network must be the same in all passes."""
    waiting, flow = list(layers), Flow(root)
    mode: AbstractContextManager = flow
    while waiting:
        held = _Held(waiting)
        chosen = [layer for layer in waiting if layer.path in held.grams]
        reached = set(observe(root, chosen, calibration, held.watch, mode))
        mode = nullcontext()
        done = tuple(layer for layer in waiting if layer.path not in held.dropped)
        waiting = [layer for layer in waiting if layer.path in held.dropped]
        for path in set(held.grams) - reached:
            del held.grams[path]
        yield Pass(done, held.grams, flow.normed(), not waiting)


class _Held:
    """The statistics of one pass. Beyond ``GRAM_BYTES`` the last layers are dropped; the first is always kept."""

    def __init__(self, layers: list[QuantizedLayer]) -> None:
        self.grams: dict[str, Gram] = {}
        self.dropped: set[str] = set()
        self._bytes: dict[str, int] = {}
        for layer in layers:
            geometry = geometry_of(layer.layer)
            if geometry is not None:
                self.grams[layer.path] = Gram(layer.kind, geometry, most=VOXELS)

    def watch(self, layer: QuantizedLayer):
        steps = layer.channel_steps
        folded = None if steps is None else steps.reshape(-1, *[1] * layer.kind.spatial_rank)

        def add(x: torch.Tensor, layout: tuple[str, ...], divisor: torch.Tensor | None) -> None:
            gram = self.grams.get(layer.path)
            if gram is not None:
                gram.add(x.flatten(0, 1), tuple(by for by in (divisor, folded) if by is not None))
                self._bytes[layer.path] = gram.held_bytes
                self._drop()

        return add

    def _drop(self) -> None:
        while len(self._bytes) > 1 and sum(self._bytes.values()) > GRAM_BYTES:
            last = next(path for path in reversed(self.grams) if path in self._bytes)
            del self.grams[last], self._bytes[last]
            self.dropped.add(last)
