"""TensorSpec and LayerSpec: how a layer's tensors are to be held."""

from __future__ import annotations

from dataclasses import dataclass

from medquanbench.quant.granularity import Granularity
from medquanbench.quant.grid import Grid
from medquanbench.quant.observers import Observer
from medquanbench.quant.ranges import Range


@dataclass(frozen=True)
class TensorSpec:
    """The grid, which axes keep a scale, and how the range behind a scale is found."""

    grid: Grid
    granularity: Granularity
    observer: Observer


@dataclass(frozen=True)
class StaticSpec:
    """An activation whose scales are found once, on calibration inputs, and hold for every sample.

    Attributes:
        bits: of an asymmetric grid, 2^bits integers that take in zero.
        granularity: which axes of an input keep a scale; no sample or position can be among them.
        range: how the range is chosen from what calibration has shown.
    """

    bits: int
    granularity: Granularity
    range: Range


@dataclass(frozen=True)
class LayerSpec:
    """What a policy decides for one layer; the bits are the recipe's.

    Attributes:
        blocks: whether a format's blocks hold the layer's tensors, where the recipe names a format.
        static: how the range of an activation is chosen where its scales come from calibration; None: they are dynamic.
    """

    weight: Granularity
    activation: Granularity
    observer: Observer
    static: Range | None = None
    blocks: bool = False
