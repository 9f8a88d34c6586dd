"""What a recipe costs: multiply-adds by the bits of their factors, and bits a weight (floor 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from medquanbench.bundle import Bundle
from medquanbench.composition_count import composition
from medquanbench.values import Cost, Line, Receipt, Share, State


def multiply_adds(network: torch.nn.Module, bundle: Bundle) -> dict[str, int]:
    """Path of a layer -> its multiply-adds in one window."""
    found: dict[str, int] = {}
    for layer in composition(network, bundle.window.size, bundle.channels).layers:
        found[layer.path] = found.get(layer.path, 0) + layer.multiply_adds
    return found


def cost(receipt: Receipt, plain: Receipt, products: Mapping[str, int]) -> Cost:
    """The cost of a recipe by its receipt, which a forward has been noted in.

    Args:
        plain: the receipt of the recipe with all layers alike, for comparison.
    """
    sums: dict[str, int] = {}
    for line in _running(receipt):
        sums[_bits(line)] = sums.get(_bits(line), 0) + products.get(line.path, 0)
    total = sum(sums.values()) or 1
    shares = tuple(Share(bits, count / total) for bits, count in sorted(sums.items(), key=lambda item: -item[1]))
    return Cost(shares, weight_bits(receipt), weight_bits(plain))


def weight_bits(receipt: Receipt) -> float:
    """Mean bits a weight of the layers that run, scales included."""
    lines = _running(receipt)
    count = sum(line.parameters for line in lines) or 1
    return math.fsum(line.parameters * line.weight.effective_bits for line in lines) / count


def _running(receipt: Receipt) -> list[Line]:
    return [line for line in receipt.lines if line.state in (State.QUANTIZED, State.KEPT)]


def _bits(line: Line) -> str:
    if line.state is State.KEPT:
        return "float"
    return f"W{line.weight.bits}A{line.activation.bits}"
