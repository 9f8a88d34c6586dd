"""What every metric asks of its label maps, and how many voxels each label has."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Voxels counted at a time: np.bincount widens its input to 64 bits, 8 bytes a voxel for a whole volume.
_CHUNK = 1 << 18


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


def label_codes(label_map: NDArray, sought: Sequence[int]) -> NDArray:
    """Renumber a label map: `sought[i]` becomes i + 1, every other value 0.

    `sought` is sorted and without repeats. The answer has the map's shape and the smallest unsigned type that holds
    len(sought), so that counting does not depend on how large or how sparse the labels are.
    """
    code_type = np.min_scalar_type(len(sought))
    if label_map.dtype.itemsize > 2:
        if label_map.size and not (label_map.min() >= -(2**15) and label_map.max() < 2**15):
            return _codes_by_search(label_map, sought, code_type)
        label_map = label_map.astype(np.int16)
    limits = np.iinfo(label_map.dtype)
    table = np.zeros(limits.max - limits.min + 1, dtype=code_type)
    for code, label in enumerate(sought, start=1):
        if limits.min <= label <= limits.max:
            table[label] = code  # a negative label counts from the table's end, and so does the same voxel value below
    return table[label_map]


def _codes_by_search(label_map: NDArray, sought: Sequence[int], code_type: np.dtype) -> NDArray:
    limits = np.iinfo(label_map.dtype)
    present = [(label, code) for code, label in enumerate(sought, start=1) if limits.min <= label <= limits.max]
    if not present:
        return np.zeros(label_map.shape, dtype=code_type)
    values = np.array([label for label, _ in present], dtype=label_map.dtype)
    codes = np.array([code for _, code in present], dtype=code_type)
    place = np.minimum(np.searchsorted(values, label_map), len(values) - 1)
    return np.where(values[place] == label_map, codes[place], codes.dtype.type(0))


def overlap_counts(reference: NDArray, prediction: NDArray, labels: Sequence[int]) -> NDArray[np.int64]:
    """Count voxels for all labels in one pass over both maps.

    Returns int64[3, len(labels)]: voxels of the label in the reference, in the prediction, and in both at once.
    """
    sought = sorted(set(labels))
    n_codes = len(sought) + 1
    reference_codes, prediction_codes = label_codes(reference, sought).ravel(), label_codes(prediction, sought).ravel()
    counts = np.zeros((3, n_codes), dtype=np.int64)
    for start in range(0, reference_codes.size, _CHUNK):
        r, p = reference_codes[start : start + _CHUNK], prediction_codes[start : start + _CHUNK]
        counts[0] += np.bincount(r, minlength=n_codes)
        counts[1] += np.bincount(p, minlength=n_codes)
        counts[2] += np.bincount(r[r == p], minlength=n_codes)
    return counts[:, _columns(sought, labels)]


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
    codes = label_codes(array, sought).ravel()
    counts = np.zeros(len(sought) + 1, dtype=np.int64)
    for start in range(0, codes.size, _CHUNK):
        counts += np.bincount(codes[start : start + _CHUNK], minlength=len(counts))
    return counts[_columns(sought, labels)]


def _columns(sought: Sequence[int], labels: Sequence[int]) -> NDArray[np.intp]:
    """Where each label's count stands: column i + 1 for sought[i]."""
    return np.searchsorted(np.array(sought, dtype=object), np.array(labels, dtype=object)).astype(np.intp) + 1
