"""Which layers are worth more bits: each held at 8 bits alone, judged, and chosen by what it gains a cost (floor 4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from medquanbench.quant import held_as_in
from medquanbench.search.judge import Judge
from medquanbench.values import LayerGain, Receipt, State

WEIGHT_BITS = 0.05
"""Bits of weights that raised layers may add, as part of all: the other side of the float budget."""
WINDOWS = 6
"""On which single layers are judged."""
NOISE = 0.01
"""A gain below this part of the divergence is none: of many layers some always seem to gain a little."""


def layer_gains(
    low: torch.nn.Module,
    high: torch.nn.Module,
    receipt: Receipt,
    products: Mapping[str, int],
    budget: float,
    judge: Judge,
    goes_on: Callable[[int, int], bool],
) -> tuple[LayerGain, ...]:
    """The gain of every layer that a budget could pay, the largest first, those chosen marked.

    The cheapest are judged first: where time ends before the layers do, it went where a gain costs least.

    A layer that reads the image is left out unless the image is at 8 bits already: ``input(8)`` is the word for that.

    Args:
        low, high: one recipe, and the same with all layers at 8 bits.
        budget: part of the multiply-adds, 0 to 1.
        goes_on: asked before each layer, with how many are done and how many there are; False ends it.
    """
    lines = [line for line in receipt.lines if line.state is State.QUANTIZED]
    total = sum(products.get(line.path, 0) for line in lines) or 1
    weights = sum(line.parameters for line in lines) or 1
    bits = {line.path: max(8 - line.weight.bits, 0) / line.weight.bits for line in lines}
    open_ = [
        LayerGain(line.path, 0.0, products.get(line.path, 0) / total, line.parameters / weights, False)
        for line in lines
        if not (line.reads_image and line.activation.bits < 8)
    ]
    open_ = sorted(
        (layer for layer in open_ if _taken(layer, budget, bits) <= 1), key=lambda one: _taken(one, budget, bits)
    )
    start, found = judge.verdict(low, WINDOWS).divergence, []
    for number, layer in enumerate(open_):
        if not goes_on(number, len(open_)):
            break
        with held_as_in(low, high, (layer.path,)):
            gain = start - judge.verdict(low, WINDOWS).divergence
        found.append(replace(layer, gain=gain))
    return _marked(found, budget, bits, NOISE * start)


def _taken(layer: LayerGain, budget: float, bits: Mapping[str, float]) -> float:
    """The part of what may be spent that a layer at 8 bits takes: of multiply-adds or of bits, the larger."""
    return max(layer.multiply_adds / budget, layer.weights * bits[layer.path] / WEIGHT_BITS)


def _marked(
    layers: Sequence[LayerGain], budget: float, bits: Mapping[str, float], noise: float = 0.0
) -> tuple[LayerGain, ...]:
    """The layers, those raised that gain most together: of all that are filled up from one layer on, the best set."""

    def filled(first: LayerGain) -> list[LayerGain]:
        chosen: list[LayerGain] = []
        for layer in (first, *(other for other in by_worth if other is not first)):
            more = [*chosen, layer]
            products = math.fsum(one.multiply_adds for one in more)
            weights = math.fsum(one.weights * bits[one.path] for one in more)
            chosen = more if products <= budget and weights <= WEIGHT_BITS else chosen
        return chosen

    by_worth = sorted(
        (one for one in layers if one.gain > noise), key=lambda one: -one.gain / max(_taken(one, budget, bits), 1e-9)
    )
    best = max(map(filled, by_worth), key=lambda chosen: math.fsum(one.gain for one in chosen), default=[])
    raised = {layer.path for layer in best}
    marked = (replace(layer, raised=layer.path in raised) for layer in layers)
    return tuple(sorted(marked, key=lambda layer: -layer.gain))
