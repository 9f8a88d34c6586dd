"""Volume similarity of every label (Taha and Hanbury, "Metrics for evaluating 3D medical image segmentation", 2015)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .label_maps import as_label_pair, as_labels, overlap_counts, share_of
from .metric import Comparison, Metric


def volume_similarity(reference: ArrayLike, prediction: ArrayLike, labels: Iterable[int]) -> NDArray[np.float64]:
    """Volume similarity 1 - ||R| - |P|| / (|R| + |P|) of each label: the sizes are compared, wherever they lie.

    Args:
        reference, prediction: integer label maps of one shape (2-D and 3-D alike; the grid plays no part).
        labels: label values; the answer follows their order and is empty without labels.

    Returns:
        float64[len(labels)], from 0 to 1. NaN where both maps lack the label, 0 where one of them does.

    Raises:
        ValueError: the shapes differ, a map is not of integers, or a label is not an integer.
    """
    reference, prediction = as_label_pair(reference, prediction)
    return _of_counts(overlap_counts(reference, prediction, as_labels(labels)))


def _of_counts(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    n_reference, n_prediction, _ = counts
    total = n_reference + n_prediction
    return share_of(total - np.abs(n_reference - n_prediction), total)


def _measure(comparison: Comparison) -> NDArray[np.float64]:
    return _of_counts(comparison.counts)


VOLUME_SIMILARITY = Metric(
    name="volume_similarity",
    title="Volume similarity",
    unit="",
    higher_is_better=True,
    definition="Volume similarity 1 - ||R| - |P|| / (|R| + |P|) over voxels, per label (Taha and Hanbury, 2015): sizes "
    "alone, overlap plays no part; NaN (not counted) where reference and prediction both lack the label, 0 where one "
    "of them does.",
    measure=_measure,
)
