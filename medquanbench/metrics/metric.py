"""What a metric is, and what it measures."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .label_maps import as_label_pair, as_labels, as_spacing, as_tolerances, overlap_counts
from .surface import Surfaces, both_surfaces, corner_surfaces


@dataclass(frozen=True, eq=False)
class Comparison:
    """One case to measure: a predicted label map against its reference.

    reference, prediction: integer arrays of one shape. labels: the label values, in the order of the scores.
    spacing_mm: one number an axis, in the array's axis order. tolerance_mm: one number a label.
    ValueError if these do not fit together.
    """

    reference: NDArray
    prediction: NDArray
    labels: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    tolerance_mm: tuple[float, ...]

    def __post_init__(self) -> None:
        reference, _ = as_label_pair(self.reference, self.prediction)
        n_labels = len(as_labels(self.labels))
        as_spacing(self.spacing_mm, reference.ndim)
        if np.shape(self.tolerance_mm) != (n_labels,):
            raise ValueError(
                f"tolerance_mm is {self.tolerance_mm!r}; one number for each of the {n_labels} labels is expected"
            )
        as_tolerances(self.tolerance_mm, n_labels)

    @functools.cached_property
    def counts(self) -> NDArray[np.int64]:
        """Voxels of each label in the reference, in the prediction and in both, int64[3, len(labels)]; counted once."""
        return overlap_counts(*as_label_pair(self.reference, self.prediction), as_labels(self.labels))

    @functools.cached_property
    def surfaces(self) -> tuple[Surfaces, Surfaces]:
        """The surfaces of both maps, found once for all metrics that ask for them."""
        return both_surfaces(corner_surfaces, *as_label_pair(self.reference, self.prediction), as_labels(self.labels))


@dataclass(frozen=True)
class Metric:
    """A score per label: what it is called, how to read it, and how to measure it.

    name: the column in tables. title: its name in text. unit: "" for a fraction. definition: one sentence, with the
    convention and the empty-mask policy. measure: the scores of a Comparison, float64[len(labels)].
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool
    definition: str
    measure: Callable[[Comparison], NDArray[np.float64]]
