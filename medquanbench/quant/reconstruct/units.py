"""Units: the blocks and layers of a network whose rounding is learned, each as one, found by one look at a forward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn

from medquanbench.quant.kind import Convolution
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.reconstruct.trace import Call, parts, same, trace

LARGEST = 4
"""Layers of a block: an attention block with its two projections and its MLP, a residual block with its shortcut."""
CROP = 32768
"""Voxels of a block's input that are looked at together, where its layers look at neighbours alone."""
WORK = 3 * 10**8
"""Multiply-adds of one look at a block, where a crop can make them fewer."""
VALUES = 2**20
"""Values that one look takes in, or gives, likewise."""
_MULTIPLE = 4
_AT_EACH_PLACE = frozenset(
    "instance_norm group_norm batch_norm relu relu_ leaky_relu leaky_relu_ prelu gelu silu elu sigmoid hardswish "
    "dropout dropout2d dropout3d add add_ __add__ __iadd__ __radd__ sub __sub__ mul mul_ __mul__ __imul__ __rmul__ div "
    "__truediv__ cat concat __get__ dim size numel is_contiguous contiguous".split()
)
"""Functions that look at each place for itself, or at all of a channel as norms do: to them a crop is a small map."""


@dataclass(frozen=True, eq=False)
class Unit:
    """A block or a layer: a module that makes one tensor of another one.

    Attributes:
        path: its first name.
        layers: paths of the layers in it whose weights are on a grid.
        order: of its first call.
        calls: in one forward; a block has one.
        rest: what else it is called with, the same for every input.
        crop: extents of the part of its input that is looked at; None: all of it.
        values: that one look takes in, and that it gives.
        work: multiply-adds of one look.
        whole_work: of all of a forward.
        normed: whether an instance norm reads what it answers.
    """

    path: str
    layers: tuple[str, ...]
    order: int
    calls: int
    rest: tuple[tuple, dict[str, Any]]
    crop: tuple[int, ...] | None
    values: tuple[int, int]
    work: int
    whole_work: int
    normed: bool

    def answer(self, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """What the unit's module, of whichever network, makes of an input."""
        return module(x, *self.rest[0], **self.rest[1])


def find_units(root: nn.Module, image: torch.Tensor, learned: frozenset[str], blocks: bool) -> list[Unit]:
    """The largest blocks of at most ``LARGEST`` layers and what layers are left, in the order in which they run.

    A block is a module of one tensor in and one out, called once in a forward, all of whose layers run in that call,
    once each. What else it is called with (an attention mask) must be the same for another image.

    Args:
        root: a float network of quantized layers; it is run twice.
        learned: paths of layers whose weights are on a grid.
        blocks: False: layers alone.
    """
    seen, other = trace(root, image), trace(root, image.flip(-1))

    def fits(path: str, inner: list[str]) -> bool:
        call = seen.get(path)
        if call is None or path not in other or call.shape is None or not call.answers:
            return False
        return same(call.rest, other[path].rest) and bool(set(inner) & learned)

    def is_block(path: str, inner: list[str]) -> bool:
        alone = all(seen[name].count == 1 and path in seen[name].inside for name in inner)
        return fits(path, inner) and seen[path].count == 1 and len(set(inner) & learned) <= LARGEST and alone

    def walk(path: str, module: nn.Module) -> Iterator[Unit]:
        layers = {name: part for name, part in parts(module, path) if isinstance(part, QuantizedLayer)}
        # A layer with several names goes by its first, which may lie outside of this module.
        inner = [part.path for part in layers.values() if part.path in seen]
        if isinstance(module, QuantizedLayer):
            if module.path == path and fits(path, inner):
                yield _unit(path, seen[path], {path: module}, learned)
        elif blocks and inner and is_block(path, inner):
            yield _unit(path, seen[path], layers, learned)
        else:
            for name, child in module.named_children():
                yield from walk(f"{path}.{name}" if path else name, child)

    found = {unit.path: unit for unit in walk("", root)}
    return sorted(found.values(), key=lambda unit: unit.order)


def _unit(path: str, call: Call, layers: dict[str, QuantizedLayer], learned: frozenset[str]) -> Unit:
    crop = _crop(call, [layer for layer in layers.values() if layer.path in learned])
    part = prod(crop) / prod(call.shape[2:]) if crop else 1.0
    own = tuple(layer.path for layer in layers.values() if layer.path in learned)
    work, made = (int(number * part / call.count) for number in (call.work, call.made))
    values = int(prod(call.shape) * part), made
    return Unit(path, own, call.order, call.count, call.rest, crop, values, max(1, work), call.work, call.normed)


def _crop(call: Call, layers: list[QuantizedLayer]) -> tuple[int, ...] | None:
    """The extents of a crop; None where all of the input is small enough, or a crop would be no input of that kind."""
    size = call.shape[2:]
    at_each_place = all(
        isinstance(layer.kind, Convolution) and layer.kind.spatial_rank == len(size) for layer in layers
    )
    if not size or not at_each_place or call.rest != ((), {}) or not call.functions <= _AT_EACH_PLACE:
        return None
    values = max(prod(call.shape), call.made / call.count)
    share = min(CROP / prod(size), VALUES / values, WORK * call.count / max(1, call.work))
    part = share ** (1 / len(size))
    if part >= 1:
        return None
    crop = tuple(min(n, max(_MULTIPLE, int(n * part) // _MULTIPLE * _MULTIPLE)) for n in size)
    return None if crop == size else crop
