"""The Dice similarity coefficient (Dice, 1945) of every label, from one pass over the label maps."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .label_maps import as_label_pair, as_labels, overlap_counts, share_of
from .metric import Comparison, Metric


def dice(reference: ArrayLike, prediction: ArrayLike, labels: Iterable[int]) -> NDArray[np.float64]:
    """Dice coefficient 2 |R and P| / (|R| + |P|) of each label.

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
    n_reference, n_prediction, n_both = counts
    return share_of(2 * n_both, n_reference + n_prediction)


def _measure(comparison: Comparison) -> NDArray[np.float64]:
    return _of_counts(comparison.counts)


DSC = Metric(
    name="dsc",
    title="Dice similarity coefficient",
    unit="",
    higher_is_better=True,
    definition="Dice similarity coefficient 2 |R and P| / (|R| + |P|) over voxels, per label; "
    "NaN (not counted) where reference and prediction both lack the label, 0 where one of them does.",
    measure=_measure,
)
