"""TensorSpec and LayerSpec: how a layer's tensors are to be held."""

from __future__ import annotations

from dataclasses import dataclass

from medquanbench.quant.granularity import Granularity
from medquanbench.quant.grid import IntegerGrid
from medquanbench.quant.observers import Observer


@dataclass(frozen=True)
class TensorSpec:
    """The grid, which axes keep a scale, and how the range behind a scale is found."""

    grid: IntegerGrid
    granularity: Granularity
    observer: Observer


@dataclass(frozen=True)
class LayerSpec:
    """What a policy decides for one layer; the bits are the recipe's."""

    weight: Granularity
    activation: Granularity
    observer: Observer
