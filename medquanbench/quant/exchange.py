"""One layer of a quantized network held as in another one, for as long as that is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.values import RunError


@contextmanager
def held_as_in(network: nn.Module, other: nn.Module, paths: tuple[str, ...]) -> Iterator[None]:
    """Inside, these layers of a network hold weight and input as those of another one do, and the other way round.

    Args:
        other: quantized from the same float network by the same transforms.

    Raises:
        RunError: one of the paths is no quantized layer of both.
    """
    mine, theirs = (
        {module.path: module for module in root.modules() if isinstance(module, QuantizedLayer)}
        for root in (network, other)
    )
    missing = [path for path in paths if path not in mine or path not in theirs]
    if missing:
        raise RunError(f"'{missing[0]}' is no quantized layer of both networks")
    pairs = [(mine[path], theirs[path]) for path in paths]
    _exchange(pairs)
    try:
        yield
    finally:
        _exchange(pairs)


def _exchange(pairs: list[tuple[QuantizedLayer, QuantizedLayer]]) -> None:
    for one, two in pairs:
        one.layer, two.layer = two.layer, one.layer
        one.placed, two.placed = two.placed, one.placed
        one.activation, two.activation = two.activation, one.activation
