"""Kind: what a layer computes, and the named axes of the tensors that it multiplies.

Activations: ``n k c d h w`` for convolutions of three spatial axes (``n k c h w``, ``n k c l`` below), ``n k l c`` for
linear layers, with ``l`` as often as there are axes between. ``n`` counts samples; ``k`` is what else stands on the
leading axis (1, or the windows of a shifted-window network, sample slowest).
Weights: convolution ``o i p q r``, linear ``o i``, transposed convolution ``g i o p q r``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

SPATIAL = {1: ("l",), 2: ("h", "w"), 3: ("d", "h", "w")}
KERNEL = {1: ("p",), 2: ("p", "q"), 3: ("p", "q", "r")}


@dataclass(frozen=True)
class Linear:
    """``y = x W^T + b`` over the last axis of the input."""

    inputs: int
    outputs: int

    spatial_rank = 0
    groups = 1
    pointwise = False

    def activation_layout(self, rank: int) -> tuple[str, ...]:
        """Axes of an input of this rank once its leading axis is split into samples and the rest."""
        return ("n", "k", *("l" for _ in range(rank - 2)), "c")

    @property
    def weight_layout(self) -> tuple[str, ...]:
        return ("o", "i")

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.outputs, self.inputs)

    def __str__(self) -> str:
        return "linear"


@dataclass(frozen=True)
class Convolution:
    """A convolution, or a transposed one, over one to three spatial axes."""

    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    groups: int = 1
    transposed: bool = False

    @property
    def spatial_rank(self) -> int:
        return len(self.kernel)

    @property
    def pointwise(self) -> bool:
        """True where the kernel is 1 on every axis."""
        return prod(self.kernel) == 1

    def activation_layout(self, rank: int) -> tuple[str, ...]:
        """Axes of an input of this rank once its leading axis is split into samples and the rest."""
        return ("n", "k", "c", *SPATIAL[rank - 2])

    @property
    def weight_layout(self) -> tuple[str, ...]:
        return (("g", "i", "o") if self.transposed else ("o", "i")) + KERNEL[self.spatial_rank]

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight as in its layout; torch holds a transposed one as (g*i, o, ...)."""
        if self.transposed:
            return (self.groups, self.inputs // self.groups, self.outputs // self.groups, *self.kernel)
        return (self.outputs, self.inputs // self.groups, *self.kernel)

    def __str__(self) -> str:
        words = ["conv_transpose" if self.transposed else "conv", "x".join(map(str, self.kernel))]
        if self.groups > 1:
            words.append("depthwise" if self.groups == self.inputs else f"groups={self.groups}")
        return " ".join(words)


Kind = Linear | Convolution


def channel_axis(kind: Kind) -> int:
    """Position of the channels in an input, from the end, so that it holds with and without a batch axis."""
    return -(kind.spatial_rank + 1)
