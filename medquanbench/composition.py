"""What a network is made of: parameters, multiply-adds and activations by kind, as values (floor 2).

The counting is in composition_count.py; nothing here loads torch, so that the report can be made without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

KINDS = (
    "conv", "conv grouped", "conv depthwise", "conv_transpose", "linear", "attention product", "norm", "other",
    "never run",
)  # fmt: skip
"""In the order of tables. A product of two activations is an attention product; one with a weight is linear. ``other``:
all else that writes a tensor (activation functions, sums, copies, interpolation) or reads a parameter (embeddings).
``never run``: parameters that the forward pass does not read."""
CONVOLUTIONS = KINDS[:4]
_COUNTED = KINDS[:7]  # as layers: what else reads a parameter or writes a tensor is none


@dataclass(frozen=True)
class Layer:
    """One place of a network where something of one kind runs.

    Attributes:
        path: path of the module in which it runs, "" for the network itself.
        kind: one of KINDS.
        kernel: edges of a convolution's kernel; empty for all other kinds.
        parameters: numbers of its parameters; one that is read in several places counts at the first.
        multiply_adds: of one forward pass.
        activations: numbers that its output holds, of one forward pass.
    """

    path: str
    kind: str
    kernel: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activations: int


@dataclass(frozen=True)
class Row:
    """All layers of one kind and kernel."""

    kind: str
    kernel: tuple[int, ...]
    layers: int
    parameters: int
    multiply_adds: int
    activations: int

    @property
    def kernel_text(self) -> str:
        """``3x3x3``; empty where there is no kernel."""
        return "x".join(map(str, self.kernel))


@dataclass(frozen=True)
class Composition:
    """A network's layers, counted for one window of a number of voxels and channels."""

    window: tuple[int, ...]
    channels: int
    layers: tuple[Layer, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The layers by kind and kernel: kinds as in KINDS, of a kind the larger kernels first."""
        found: dict[tuple[str, tuple[int, ...]], list[Layer]] = {}
        for layer in self.layers:
            found.setdefault((layer.kind, layer.kernel), []).append(layer)
        order = sorted(found, key=lambda key: (KINDS.index(key[0]), -prod(key[1]), key[1]))
        return tuple(_row(*key, found[key]) for key in order)

    @property
    def total(self) -> Row:
        """The sum over all rows."""
        return _row("total", (), self.layers)

    def share(self, *kinds: str) -> float:
        """The part of the multiply-adds that layers of these kinds do, 0 to 1; 0 where nothing is multiplied."""
        total = self.total.multiply_adds
        return sum(row.multiply_adds for row in self.rows if row.kind in kinds) / total if total else 0.0


def _row(kind: str, kernel: tuple[int, ...], layers: Sequence[Layer]) -> Row:
    return Row(
        kind,
        kernel,
        sum(layer.kind in _COUNTED for layer in layers),
        sum(layer.parameters for layer in layers),
        sum(layer.multiply_adds for layer in layers),
        sum(layer.activations for layer in layers),
    )


@dataclass(frozen=True)
class Profile:
    """The composition of one variant of a bundle; ``note`` says what else must be known of it."""

    bundle: str
    variant: str
    note: str
    composition: Composition


def by_size(profiles: Iterable[Profile]) -> list[Profile]:
    """Bundle by bundle, the smaller networks first."""
    return sorted(profiles, key=lambda one: (one.bundle, one.composition.total.parameters, one.variant))
