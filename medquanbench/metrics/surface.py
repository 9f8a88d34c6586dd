"""The surfaces of all labels of a map, found in one scan of it.

A surface element sits on a corner of the voxel grid: where of the eight voxels around it (in 2-D four) some carry the
label and some do not. Voxels beyond the array carry no label, so the array's edge closes a structure that it cuts.
The scan goes slab by slab, so that its temporary arrays stay small whatever the size of the map.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .encoding import Encoding, encoding

# Voxels of a slab: few enough for it and its temporary arrays to stay in a cache, many enough to be worth the calls.
_SLAB = 1 << 20


@dataclass(frozen=True)
class Walk:
    """How a scan walks through a label map: as a 3-D array whose last axis is the densest in memory.

    shape: voxels on each axis of the walk; a 2-D map has one plane. axes: for each axis of the map the axis of the
    walk.
    """

    shape: tuple[int, int, int]
    axes: tuple[int, ...]

    @classmethod
    def through(cls, label_map: NDArray) -> Walk:
        """The walk that suits the memory layout of a 2-D or 3-D map."""
        dense_last = sorted(range(label_map.ndim), key=lambda axis: -abs(label_map.strides[axis]))
        first = 3 - label_map.ndim
        axes = tuple(dense_last.index(axis) + first for axis in range(label_map.ndim))
        return cls((1,) * first + tuple(label_map.shape[axis] for axis in dense_last), axes)

    def view(self, label_map: NDArray) -> NDArray:
        """The map as the walk sees it."""
        return label_map.transpose(np.argsort(self.axes)).reshape(self.shape)

    @property
    def corners(self) -> tuple[int, int, int]:
        """Voxel corners on each axis of the walk: one more than voxels, but on the missing axis of a 2-D map."""
        planes, rows, row = self.shape
        return planes + (0 in self.axes), rows + 1, row + 1


@dataclass(frozen=True, eq=False)
class Surfaces:
    """The surface elements of every label of one map.

    places: flat index of each element in a grid that is `grid` large on the axes of the walk. codes: which of the
    voxels around carry the label, a bit each (see surfel_area), uint8, as long as places. starts: label i, in the order
    asked for, owns the elements from starts[i] to starts[i + 1]. axes: as of the walk.
    """

    places: NDArray
    codes: NDArray[np.uint8]
    starts: NDArray[np.int64]
    grid: tuple[int, int, int]
    axes: tuple[int, ...]

    def codes_of(self, i: int) -> NDArray[np.uint8]:
        """The neighbour codes of label i."""
        return self.codes[self.starts[i] : self.starts[i + 1]]

    def indices_of(self, i: int) -> tuple[NDArray, ...]:
        """Where the elements of label i are: an index array for each axis of the map."""
        places = self.places[self.starts[i] : self.starts[i + 1]]
        line = places // self.grid[2]
        plane = line // self.grid[1]
        walked = plane, line - plane * self.grid[1], places - line * self.grid[2]
        return tuple(walked[axis] for axis in self.axes)


def both_surfaces(
    find: Callable[[NDArray, Sequence[int]], Surfaces], reference: NDArray, prediction: NDArray, labels: Iterable[int]
) -> tuple[Surfaces, Surfaces]:
    """The surfaces of both maps, label by label in ascending order, repeats left out; ValueError if the maps are 1-D.

    find: `corner_surfaces` or `boundary_voxels`.
    """
    if reference.ndim not in (2, 3):
        raise ValueError(f"the label maps have shape {reference.shape}; a surface is defined in 2-D and 3-D")
    sought = sorted(set(labels))
    return find(reference, sought), find(prediction, sought)


def corner_surfaces(label_map: NDArray, sought: Sequence[int]) -> Surfaces:
    """Find the surface of every label of `sought`, which is sorted and without repeats, in a 2-D or 3-D map."""
    walk, encode = Walk.through(label_map), encoding(label_map, sought)
    found = [
        _by_label(list(_peel(*slab)), walk.corners, encode, len(sought))
        for slab in _mixed_corners(walk.view(label_map), walk, encode)
    ]
    return _joined(found, walk.corners, walk.axes, len(sought))


def boundary_voxels(label_map: NDArray, sought: Sequence[int]) -> Surfaces:
    """Find the voxels of every label of `sought` that share a face with another value or with the array's edge.

    Their places are on the grid of voxels; their neighbour codes are 0.
    """
    walk, encode = Walk.through(label_map), encoding(label_map, sought)
    view, (n_planes, n_rows, row) = walk.view(label_map), walk.shape
    per_slab = max(1, _SLAB // max(1, n_rows * row))
    found = []
    for first in range(0, n_planes, per_slab):
        n, low = min(per_slab, n_planes - first), max(first - 1, 0)
        padded = np.zeros((n + 2, n_rows + 2, row + 2), encode.code_type)
        slab = view[low : first + n + 1]
        encode(slab, padded[low - first + 1 :][: len(slab), 1:-1, 1:-1])
        edge = _on_edge(padded, walk.axes)
        places = np.flatnonzero(edge) + first * n_rows * row
        labels = padded[1:-1, 1:-1, 1:-1][edge]
        found.append(_by_label([(places, labels, np.zeros(len(labels), np.uint8))], walk.shape, encode, len(sought)))
    return _joined(found, walk.shape, walk.axes, len(sought))


def _on_edge(padded: NDArray, axes: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which inner voxels with a label have another value before or behind them on one of the axes."""
    inner = [slice(1, -1)] * 3
    own = padded[tuple(inner)]
    edge = np.zeros(own.shape, bool)
    for axis in axes:
        for step in (slice(None, -2), slice(2, None)):
            edge |= own != padded[(*inner[:axis], step, *inner[axis + 1 :])]
    return edge & (own != 0)


def _mixed_corners(label_map: NDArray, walk: Walk, encode: Encoding) -> Iterator[tuple[int, NDArray[np.intp], NDArray]]:
    """Slab by slab: its first corner, the corners in it whose voxels differ, and those voxels' codes, a row each.

    Every row and plane of the walk ends in one element without label, which serves as the voxel beyond both ends.
    """
    n_planes, n_rows, row = walk.corners
    plane, deep = n_rows * row, 0 in walk.axes
    shifts = _shifts(walk.axes, (plane, row, 1))
    per_slab = max(1, _SLAB // plane)
    ahead = row + 1
    flat = np.zeros(ahead + (per_slab + deep) * plane, encode.code_type)
    planes = flat[ahead:].reshape(-1, n_rows, row)
    for first in range(0, n_planes, per_slab):
        n = min(per_slab, n_planes - first)
        if deep:
            planes[0] = planes[-1]
        slab = label_map[first : first + n]
        encode(slab, planes[deep : deep + len(slab), :-1, :-1])
        planes[deep + len(slab) :] = 0
        corners = np.flatnonzero(_mixed(flat, ahead, row, plane if deep else 0)[: n * plane])
        if corners.size:
            voxels = flat[ahead + deep * plane - shifts[0] :]
            yield first * plane, corners, np.stack([np.take(voxels[shifts[0] - shift :], corners) for shift in shifts])


def _shifts(axes: tuple[int, ...], strides: tuple[int, int, int]) -> list[int]:
    """How far before a corner each of its voxels stands, in the order of the code's bits, the highest first."""
    return [
        sum(strides[axis] * back for axis, back in zip(axes, step, strict=True))
        for step in itertools.product((1, 0), repeat=len(axes))
    ]


def _mixed(flat: NDArray, ahead: int, row: int, plane: int) -> NDArray[np.bool_]:
    """Which corners see different codes around them; `plane` 0: in their own plane alone."""
    here = flat[ahead:]
    along_row = here != flat[ahead - 1 : -1]
    mixed = here != flat[ahead - row : -row]
    mixed |= along_row
    mixed[row:] |= along_row[:-row]
    if not plane:
        return mixed
    across = np.not_equal(here[plane:], here[:-plane], out=along_row[plane:])
    across |= mixed[plane:]
    across |= mixed[:-plane]
    return across


def _peel(first: int, corners: NDArray[np.intp], voxels: NDArray) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
    """Take the labels of every corner off, the largest first: places, label codes and neighbour codes of each round."""
    largest = voxels.max(axis=0)
    while corners.size:
        own = voxels == largest
        yield corners + first, largest, _neighbour_codes(own.view(np.uint8))
        voxels = voxels * ~own
        largest = voxels.max(axis=0)
        left = np.flatnonzero(largest > 0)
        corners, largest, voxels = corners[left], largest[left], voxels.take(left, axis=1)


def _neighbour_codes(own: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The rows as the bits of one number, the first row the highest: in pairs, then pairs of pairs, and so on."""
    bits = 1
    while len(own) > 1:
        high, own = own[0::2], own[1::2]
        for _ in range(bits):
            high = high + high
        own = high | own
        bits *= 2
    return own[0]


_Found = tuple[NDArray, NDArray[np.uint8], NDArray[np.int64]]


def _by_label(
    parts: list[tuple[NDArray, NDArray, NDArray]], grid: tuple[int, int, int], encode: Encoding, n_sought: int
) -> _Found:
    """A slab's places and neighbour codes sorted by label, and how many each label has; first what nobody asked for."""
    places, labels, codes = (np.concatenate(group) for group in zip(*parts, strict=True))
    labels = encode.number[labels]
    order = np.argsort(labels, kind="stable")
    return places.astype(_place_type(grid))[order], codes[order], np.bincount(labels, minlength=n_sought + 1)


def _joined(found: list[_Found], grid: tuple[int, int, int], axes: tuple[int, ...], n_sought: int) -> Surfaces:
    counts = np.array([slab[2] for slab in found], np.int64).reshape(-1, n_sought + 1)
    ends = counts.cumsum(axis=1)
    pieces = [(slab, slice(ends[slab, i], ends[slab, i + 1])) for i, slab in np.argwhere(counts[:, 1:].T).tolist()]
    places, codes = (
        np.concatenate([np.zeros(0, kind), *(found[slab][part][piece] for slab, piece in pieces)])
        for part, kind in enumerate((_place_type(grid), np.uint8))
    )
    starts = np.concatenate([[0], counts[:, 1:].sum(axis=0).cumsum()])
    return Surfaces(places, codes, starts, grid, axes)


def _place_type(grid: tuple[int, int, int]) -> type[np.signedinteger]:
    return np.int32 if np.prod(grid, dtype=np.int64) < 2**31 else np.int64
