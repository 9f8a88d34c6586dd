"""Granularity: which named axes of a tensor keep a scale of their own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Granularity:
    """The axes, by name, along which every position has its own scale; along all others scales are shared.

    ``name`` is what receipts print. The names of a tensor's axes are its layout, a tuple as long as its rank.
    """

    name: str
    axes: frozenset[str]

    def shared(self, layout: tuple[str, ...]) -> tuple[int, ...]:
        """Positions of the axes that share a scale. The scale's shape is the tensor's with 1 in these places."""
        return tuple(i for i, axis in enumerate(layout) if axis not in self.axes)


def granularity(name: str, axes: str) -> Granularity:
    """``granularity("per-channel", "n c")``: the axes as one text."""
    return Granularity(name, frozenset(axes.split()))


PER_SAMPLE = granularity("per-sample", "n")
"""One scale for all of a sample's activation: what per-tensor means for activations, and the fallback of finer ones."""

PER_WEIGHT = granularity("per-tensor", "")
"""One scale for a whole weight."""
