"""The surface Dice coefficient at a tolerance (normalised surface distance, NSD) of every label.

Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", J Med Internet Res 2021;
23(7):e26151. The number is that of the authors' own implementation, github.com/google-deepmind/surface-distance, to
the rounding of its sums; other tools place the surface elsewhere and give other numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .distance import within
from .label_maps import as_label_pair, as_labels, as_spacing, as_tolerances
from .metric import Comparison, Metric
from .near import Points
from .surface import Surfaces, both_surfaces, corner_surfaces
from .surfel_area import surfel_areas


def surface_dice(
    reference: ArrayLike,
    prediction: ArrayLike,
    labels: Iterable[int],
    spacing_mm: ArrayLike,
    tolerance_mm: ArrayLike,
) -> NDArray[np.float64]:
    """Share of both surfaces that lies within the tolerance of the other surface, for each label.

    Surface elements sit on voxel corners and weigh as much as their marching-cubes area (in 2-D, contour length); a
    distance equal to the tolerance counts as within; where a structure meets the array's edge, it has a surface there.

    Args:
        reference, prediction: integer label maps of one shape, 2-D or 3-D.
        labels: label values; the answer follows their order and is empty without labels.
        spacing_mm: voxel spacing, one number an axis, in the array's axis order.
        tolerance_mm: one number, or one a label.

    Returns:
        float64[len(labels)], from 0 to 1. NaN where both maps lack the label, 0 where one of them does.

    Raises:
        ValueError: the shapes differ, a map is not of integers or neither 2-D nor 3-D, a label is not an integer,
            there are too few or too many spacings or tolerances, a spacing is not positive or a tolerance negative.
    """
    reference, prediction = as_label_pair(reference, prediction)
    labels, spacing_mm = as_labels(labels), as_spacing(spacing_mm, reference.ndim)
    tolerances_mm = as_tolerances(tolerance_mm, len(labels))
    return _scores(both_surfaces(corner_surfaces, reference, prediction, labels), labels, spacing_mm, tolerances_mm)


def _scores(
    surfaces: tuple[Surfaces, Surfaces],
    labels: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    tolerances_mm: tuple[float, ...],
) -> NDArray[np.float64]:
    sought, areas = sorted(set(labels)), surfel_areas(spacing_mm)
    scores = np.full(len(labels), np.nan)
    for i, (label, tolerance) in enumerate(zip(labels, tolerances_mm, strict=True)):
        everywhere, near = _counts(surfaces, sought.index(label), spacing_mm, tolerance)
        if everywhere.any():
            scores[i] = (near @ areas) / (everywhere @ areas)
    return scores


def _counts(
    surfaces: tuple[Surfaces, Surfaces], i: int, spacing_mm: tuple[float, ...], tolerance_mm: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often each neighbour code occurs on both surfaces of label i, and how often within the tolerance."""
    n_codes = 2**2 ** len(spacing_mm)
    codes = [surface.codes_of(i) for surface in surfaces]
    everywhere = sum(np.bincount(own, minlength=n_codes) for own in codes)
    if not all(own.size for own in codes):
        return everywhere, np.zeros_like(everywhere)
    near = within(*(Points.of(surface.indices_of(i)) for surface in surfaces), spacing_mm, tolerance_mm)
    missed = sum(np.bincount(own[~found], minlength=n_codes) for own, found in zip(codes, near, strict=True))
    return everywhere, everywhere - missed


def _measure(comparison: Comparison) -> NDArray[np.float64]:
    labels = as_labels(comparison.labels)
    spacing_mm = as_spacing(comparison.spacing_mm, comparison.reference.ndim)
    return _scores(comparison.surfaces, labels, spacing_mm, as_tolerances(comparison.tolerance_mm, len(labels)))


NSD = Metric(
    name="nsd",
    title="Surface Dice at tolerance (NSD)",
    unit="",
    higher_is_better=True,
    definition="Normalised surface distance as DeepMind's surface-distance defines it, per label: the share of both "
    "surfaces (voxel corners weighted by marching-cubes area, array edge closed) that lies within tolerance_mm, ties "
    "included, of the other; NaN (not counted) where reference and prediction both lack the label, 0 where one does.",
    measure=_measure,
)
