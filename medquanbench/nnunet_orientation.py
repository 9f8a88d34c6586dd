"""How nnU-Net's readers turn a NIfTI file's array, and the grid that its network works on (floor 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from medquanbench.images import Grid

_RAS = axcodes2ornt("RAS")


def _as_stored(properties: dict[str, Any]) -> np.ndarray:
    return axcodes2ornt("RAS")  # no axis moved, none turned


def _nibabel_to_ras(properties: dict[str, Any]) -> np.ndarray:
    return io_orientation(properties["nibabel_stuff"]["original_affine"])


def _itk_to_ras(properties: dict[str, Any]) -> np.ndarray:
    # ITK's letters mean what nibabel's do: where an axis goes to.
    return ornt_transform(axcodes2ornt(properties["sitk_stuff"]["original_orientation"]), _RAS)


TURNS: dict[str, Callable[[dict[str, Any]], np.ndarray]] = {
    "SimpleITKIO": _as_stored,
    "SimpleITKIOWithReorient": _itk_to_ras,
    "NibabelIO": _as_stored,
    "NibabelIOWithReorient": _nibabel_to_ras,
}
"""nnU-Net's readers of NIfTI: (what a reader notes of an image) -> nibabel's orientation from the file's array
(x, y, z) to the reader's, whose axes nnU-Net then takes in reverse."""


def inverse(turn: np.ndarray) -> np.ndarray:
    """The orientation that takes an array back."""
    back = np.empty_like(turn)
    for axis, (to, flip) in enumerate(turn):
        back[int(to)] = axis, flip
    return back


def network_grid(
    image: Grid,
    turn: np.ndarray,
    transpose_forward: Sequence[int],
    box: Sequence[Sequence[int]],
    cropped: Sequence[int],
    shape: Sequence[int],
) -> Grid:
    """The grid of a preprocessed image, its axes in the network's order.

    nnU-Net reverses the reader's axes, transposes them, cuts out a box and resamples that to a shape so that the outer
    faces of the first and last voxels stay where they were.

    Args:
        image: grid of the file.
        turn: orientation from the file's array to the reader's.
        box: first and end voxel of each axis, after the transposition.
        cropped: shape of the box.
        shape: shape after resampling.
    """
    to_reader = np.zeros((4, 4))
    to_reader[3, 3] = 1
    for axis, source in enumerate(transpose_forward):
        scale = cropped[axis] / shape[axis]
        to_reader[2 - source, axis] = scale
        to_reader[2 - source, 3] = box[axis][0] + 0.5 * scale - 0.5
    affine = image.affine @ inv_ornt_aff(turn, image.shape) @ to_reader
    return Grid(tuple(int(size) for size in shape), affine)
