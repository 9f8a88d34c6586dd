"""What every metric asks of its label maps, and how many voxels each label has."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .encoding import encoding, numbers

# Voxels counted at a time, so that what is made of them stays small.
_CHUNK = 1 << 17


def as_label_map(label_map: ArrayLike, role: str) -> NDArray:
    """Return `label_map` as an integer array; `role` ("reference", "prediction") names it in errors.

    A boolean mask is the label map of label 1 and is accepted. ValueError for every other type: a float label map is
    the usual sign of an interpolated or unread one, and a cast would hide it.
    """
    array = np.asarray(label_map)
    if array.dtype == bool:
        return array.view(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"{role} is an array of {array.dtype}; a label map of integers is expected: round and cast first"
        )
    return array


def as_label_pair(reference: ArrayLike, prediction: ArrayLike) -> tuple[NDArray, NDArray]:
    """Return both label maps as integer arrays of one shape; ValueError otherwise."""
    reference, prediction = as_label_map(reference, "reference"), as_label_map(prediction, "prediction")
    if reference.shape != prediction.shape:
        raise ValueError(
            f"reference has shape {reference.shape} and prediction {prediction.shape}; they must be on one grid"
        )
    return reference, prediction


def as_labels(labels: Iterable[int]) -> tuple[int, ...]:
    """Return `labels` as Python integers, in the order given, repeats kept; ValueError if one is not an integer."""
    try:
        return tuple(operator.index(label) for label in labels)
    except TypeError:
        raise ValueError(f"labels must be a sequence of integers, not {labels!r}") from None


def as_spacing(spacing_mm: ArrayLike, n_axes: int) -> tuple[float, ...]:
    """Return the spacing as one positive number an axis, in mm and in the array's axis order; ValueError otherwise."""
    spacing = _as_floats(spacing_mm, "spacing_mm")
    if spacing.shape != (n_axes,):
        raise ValueError(
            f"spacing_mm is {spacing_mm!r}; {n_axes} numbers are expected, one for each axis of the label maps"
        )
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise ValueError(f"spacing_mm is {spacing_mm!r}; every spacing must be finite and greater than 0")
    return tuple(spacing.tolist())


def as_tolerances(tolerance_mm: ArrayLike, n_labels: int) -> tuple[float, ...]:
    """Return one tolerance in mm a label; a single number stands for all of them. ValueError for anything else."""
    tolerances = _as_floats(tolerance_mm, "tolerance_mm")
    if tolerances.shape not in ((), (n_labels,)):
        raise ValueError(
            f"tolerance_mm is {tolerance_mm!r}; one number, or one for each of the {n_labels} labels, is expected"
        )
    if not (np.isfinite(tolerances).all() and (tolerances >= 0).all()):
        raise ValueError(f"tolerance_mm is {tolerance_mm!r}; every tolerance must be finite and at least 0")
    return tuple(np.broadcast_to(tolerances, (n_labels,)).tolist())


def _as_floats(numbers: ArrayLike, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {numbers!r}; numbers are expected") from None


def overlap_counts(reference: NDArray, prediction: NDArray, labels: Sequence[int]) -> NDArray[np.int64]:
    """Count voxels for all labels in one pass over both maps.

    Returns int64[3, len(labels)]: voxels of the label in the reference, in the prediction, and in both at once.
    """
    sought = sorted(set(labels))
    in_reference, in_prediction = encoding(reference, sought), encoding(prediction, sought)
    counts = np.zeros((3, len(sought) + 1), dtype=np.int64)
    for lengths, r, p in _runs(reference, prediction):
        r, p = numbers(r, in_reference), numbers(p, in_prediction)
        for row, which, length in zip(counts, (r, p, r), (lengths, lengths, lengths * (r == p)), strict=True):
            row += np.bincount(which, length, len(row)).astype(np.int64)
    return counts[:, _columns(sought, labels)]


def share_of(part: NDArray[np.int64], total: NDArray[np.int64]) -> NDArray[np.float64]:
    """part / total of each label; NaN (not counted) where total is 0."""
    return np.divide(part, total, out=np.full(total.shape, np.nan), where=total > 0)


def _runs(*label_maps: NDArray) -> Iterator[tuple[NDArray, ...]]:
    """The maps, of one shape, in stretches of neighbours in memory that are alike: lengths, then each map's values.

    Structures are much longer than a voxel, so that there is far less to count than voxels.
    """
    order = "F" if label_maps[0].flags.f_contiguous else "C"
    flat = [label_map.ravel(order) for label_map in label_maps]
    for start in range(0, flat[0].size, _CHUNK):
        parts = [values[start : start + _CHUNK] for values in flat]
        changes = np.logical_or.reduce([part[1:] != part[:-1] for part in parts])
        first = np.concatenate([[0], np.flatnonzero(changes) + 1])
        yield np.diff(first, append=parts[0].size), *(part[first] for part in parts)


def volumes(label_map: ArrayLike, labels: Iterable[int]) -> NDArray[np.int64]:
    """Count the voxels of each label.

    Args:
        label_map: integer array of any shape.
        labels: label values; the answer follows their order.

    Returns:
        int64[len(labels)], in voxels. With both maps counted, a label with reference 0 and prediction > 0 is a
        hallucinated structure, one with reference > 0 and prediction 0 a lost structure.

    Raises:
        ValueError: the map is not of integers, or a label is not an integer.
    """
    array, labels = as_label_map(label_map, "label_map"), as_labels(labels)
    sought = sorted(set(labels))
    encode = encoding(array, sought)
    counts = np.zeros(len(sought) + 1, dtype=np.int64)
    for lengths, values in _runs(array):
        counts += np.bincount(numbers(values, encode), lengths, len(counts)).astype(np.int64)
    return counts[_columns(sought, labels)]


def _columns(sought: Sequence[int], labels: Sequence[int]) -> NDArray[np.intp]:
    """Where each label's count stands: column i + 1 for sought[i]."""
    return np.searchsorted(np.array(sought, dtype=object), np.array(labels, dtype=object)).astype(np.intp) + 1
