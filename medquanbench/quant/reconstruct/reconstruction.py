"""Reconstruction: how the rounding of weights is learned."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reconstruction:
    """What adaround, brecq and qdrop differ in.

    Attributes:
        steps: of descent, for each layer or block.
        blocks: whether blocks of layers are fitted as one; else every layer alone.
        drop: share of a block's input, and of what its layers read, that is left in float at random while it is fitted;
            static activation steps are then learned, too. None: activations stay float, the weights alone count.
    """

    steps: int
    blocks: bool
    drop: float | None = None
