"""How often a quantized network labels a voxel otherwise than the float network: label-flip rates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .label_maps import as_label_pair, as_spacing

BOUNDARY_MM = 3.0
_SLACK = 1e-6
Shift = tuple[int, ...]

FLIP_RATE_DEFINITION = (
    "Label-flip rate: share of voxels whose label differs from the FP32 answer's, among the voxels of the image's own "
    "grid where at least one of both answers is not background; empty where there is none."
)
FLIP_RATE_BOUNDARY_DEFINITION = (
    "Label-flip rate near boundaries: the same share among the voxels within "
    f"{BOUNDARY_MM:g} mm (Euclidean, between voxel centres, ties included) of a voxel of the FP32 answer that shares a "
    "face with another label; empty where there is none."
)


def flip_rates(
    float_answer: ArrayLike, answer: ArrayLike, spacing_mm: Sequence[float], boundary_mm: float = BOUNDARY_MM
) -> tuple[float | None, float | None]:
    """Share of labels that differ between two answers to one image: over the foreground, and near boundaries.

    Neither counts the background that both agree on: in a volume of mostly background it would drown everything.

    Args:
        float_answer, answer: integer label maps of one shape, 0 background.
        spacing_mm: voxel edge lengths, in axis order.
        boundary_mm: how far from a boundary of the float answer voxels count.

    Returns:
        (among the voxels that either answer calls foreground, among the voxels within boundary_mm of a voxel of the
        float answer with a face neighbour of another label); None where there is no such voxel.

    Raises:
        ValueError: the shapes differ, a map is not of integers, or the spacing or distance is none.
    """
    float_answer, answer = as_label_pair(float_answer, answer)
    spacing = as_spacing(spacing_mm, float_answer.ndim)
    if not boundary_mm >= 0:
        raise ValueError(f"boundary_mm is {boundary_mm}; a number of at least 0 is expected")
    differs = float_answer != answer
    n_foreground = int(np.count_nonzero(float_answer)) + int(np.count_nonzero(answer[float_answer == 0]))
    # The bound has a little slack: a spacing computed from an affine may miss the number that was meant.
    runs = _runs(np.square(spacing), boundary_mm**2 * (1 + _SLACK))
    around = _around_foreground(float_answer, runs)
    near = _near(_boundary(float_answer[around]), runs)
    n_near = int(np.count_nonzero(near))
    near &= differs[around]
    return (
        int(np.count_nonzero(differs)) / n_foreground if n_foreground else None,
        int(np.count_nonzero(near)) / n_near if n_near else None,
    )


def _runs(squares_mm2: NDArray, reach_mm2: float) -> dict[Shift, int]:
    """The ball as runs along the first axis: for each shift along the others, how many voxels a run goes either way."""
    reach = [int(np.sqrt(reach_mm2 / square)) for square in squares_mm2]
    left = {
        shift: reach_mm2 - float(np.square(shift) @ squares_mm2[1:])
        for shift in itertools.product(*(range(-r, r + 1) for r in reach[1:]))
    }
    return {shift: int(np.sqrt(room / squares_mm2[0])) for shift, room in left.items() if room >= 0}


def _around_foreground(label_map: NDArray, runs: dict[Shift, int]) -> tuple[slice, ...]:
    """The box of the foreground with all voxels that can be near its boundary."""
    pads = np.max([(length, *map(abs, shift)) for shift, length in runs.items()], axis=0) + 1
    box = []
    for axis, pad in enumerate(pads):
        held = np.flatnonzero(label_map.any(axis=tuple(a for a in range(label_map.ndim) if a != axis)))
        box.append(slice(max(held[0] - pad, 0), held[-1] + pad + 1) if held.size else slice(0))
    return tuple(box)


def _boundary(label_map: NDArray) -> NDArray[np.bool_]:
    """The voxels that share a face with a voxel of another label."""
    boundary = np.zeros(label_map.shape, bool)
    for axis in range(label_map.ndim):
        below, above = _moved(label_map.ndim, axis)
        changes = label_map[below] != label_map[above]
        boundary[below] |= changes
        boundary[above] |= changes
    return boundary


def _near(boundary: NDArray[np.bool_], runs: dict[Shift, int]) -> NDArray[np.bool_]:
    """The voxels that the ball around some boundary voxel holds: exact, the boundary moved by every offset.

    Runs of one length after the other: the boundary widened along the first axis serves all shifts with that run.
    """
    near, wide = np.zeros_like(boundary), boundary
    below, above = _moved(boundary.ndim, 0)
    for length in range(max(runs.values()) + 1):
        if length:
            narrow, wide = wide, wide.copy()
            wide[below] |= narrow[above]
            wide[above] |= narrow[below]
        for shift in (shift for shift, own in runs.items() if own == length):
            target, source = (_window(signed, boundary.shape[1:]) for signed in (shift, tuple(-s for s in shift)))
            near[:, *target] |= wide[:, *source]
    return near


def _window(shift: Shift, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Where an array that is moved by a shift still covers itself."""
    return tuple(slice(max(step, 0), max(size + min(step, 0), 0)) for step, size in zip(shift, shape))


def _moved(n_axes: int, axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """All but the last, and all but the first, along an axis: the two sides of every face."""
    rest = [slice(None)] * n_axes
    return (*rest[:axis], slice(None, -1), *rest[axis + 1 :]), (*rest[:axis], slice(1, None), *rest[axis + 1 :])
