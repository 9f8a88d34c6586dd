"""The robust Hausdorff distance (HD95) of every label.

The 95 % Hausdorff distance as google-deepmind/surface-distance computes it (compute_robust_hausdorff at 95): in each
direction the least distance within which 95 % of the surface lies, elements weighing as much as their area; the larger
of both. Other tools take a percentile of unweighted voxels, or of both directions together, and give other numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .ball import ROUNDING, step_lengths
from .distance import Nearest, hull_size, transform_distances, within
from .label_maps import as_label_pair, as_labels, as_spacing
from .metric import Comparison, Metric
from .near import Points
from .surface import Surfaces, both_surfaces, corner_surfaces
from .surfel_area import surfel_areas

_SHARE = 0.95
# How close to the share a sum of areas may come before the order of the summands decides.
_CLOSE = 1e-9
# Distances that are tried out, in steps on the finest axis; beyond the last, balls become dear.
_TRIED = (1, 2, 3, 4, 6)
# A share within two steps that leaves no hope to reach the other in a few more.
_HOPELESS = 0.5
# Grid points of a box from which on the distance transform is no longer quick.
_WIDE = 1 << 20


def hd95(
    reference: ArrayLike, prediction: ArrayLike, labels: Iterable[int], spacing_mm: ArrayLike
) -> NDArray[np.float64]:
    """Distance in mm within which 95 % of each surface lies of the other one, for each label.

    Surface elements and their weights are those of `surface_dice`.

    Args:
        reference, prediction: integer label maps of one shape, 2-D or 3-D.
        labels: label values; the answer follows their order and is empty without labels.
        spacing_mm: voxel spacing, one number an axis, in the array's axis order.

    Returns:
        float64[len(labels)], in mm. NaN where both maps lack the label, infinite where one of them does.

    Raises:
        ValueError: the shapes differ, a map is not of integers or neither 2-D nor 3-D, a label is not an integer,
            there are too few or too many spacings, or one is not positive.
    """
    reference, prediction = as_label_pair(reference, prediction)
    labels, spacing_mm = as_labels(labels), as_spacing(spacing_mm, reference.ndim)
    return _distances(both_surfaces(corner_surfaces, reference, prediction, labels), labels, spacing_mm)


def _distances(
    surfaces: tuple[Surfaces, Surfaces], labels: tuple[int, ...], spacing_mm: tuple[float, ...]
) -> NDArray[np.float64]:
    areas, lengths = surfel_areas(spacing_mm), _lengths(spacing_mm)
    found = {}
    for i, label in enumerate(sorted(set(labels))):
        elements = [areas[surface.codes_of(i)] for surface in surfaces]
        if all(own.size for own in elements):
            points = [Points.of(surface.indices_of(i)) for surface in surfaces]
            found[label] = _one_hd95(points, elements, spacing_mm, lengths)
        else:
            found[label] = np.inf if any(own.size for own in elements) else np.nan
    return np.array([found[label] for label in labels], np.float64)


def _lengths(spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """The distances between grid points up to a limit, ascending; of several roundings of one the largest."""
    limit = _TRIED[-1] * min(spacing_mm)
    lengths = np.unique(step_lengths([int(limit / spacing) + 1 for spacing in spacing_mm], spacing_mm))
    lengths = lengths[lengths <= limit]
    return lengths[np.append(np.diff(lengths) > ROUNDING * lengths[1:], True)]


def _one_hd95(
    points: list[Points], areas: list[NDArray], spacing_mm: tuple[float, ...], lengths: NDArray[np.float64]
) -> float:
    """Of two surfaces: the least length within which both have their share, sought in growing steps, then in halves."""
    totals = [own.sum() for own in areas]
    tries = np.searchsorted(lengths, np.array(_TRIED) * min(spacing_mm) * (1 + ROUNDING)) - 1
    short, long, last = -1, len(lengths), int(tries[-1])
    while long - short > 1:
        i = (short + long) // 2 if long <= last else int(tries[tries > short][0])
        near = within(*points, spacing_mm, float(lengths[i]))
        share = min(own[some].sum() / total for own, some, total in zip(areas, near, totals, strict=True))
        if abs(share - _SHARE) < _CLOSE:
            return _sorted_hd95(points, areas, spacing_mm)
        short, long = (short, i) if share > _SHARE else (i, long)
        if short == last or (short >= tries[1] and share < _HOPELESS):
            return _far_hd95(points, areas, spacing_mm)
    return float(lengths[long])


def _far_hd95(points: list[Points], areas: list[NDArray], spacing_mm: tuple[float, ...]) -> float:
    """With distances bounded from above until they matter: those of the farthest twentieth are nearly all that does."""
    longest = 0.0
    for own, others, weights in ((*points, areas[0]), (*reversed(points), areas[1])):
        nearest = Nearest(own, others, spacing_mm)
        share = _SHARE * weights.sum()
        while True:
            order = np.argsort(nearest.bounds)
            sums = np.cumsum(weights[order])
            place = min(np.searchsorted(sums, share), order.size - 1)
            bound = nearest.bounds[order[place]]
            # Bounds above their distances are left below this one alone, where they make no odds.
            if bound <= longest or not nearest.settle(bound):
                break
        if np.abs(sums[max(place - 1, 0) : place + 1] - share).min() < _CLOSE * share:
            return _sorted_hd95(points, areas, spacing_mm)
        longest = max(longest, float(bound))
    return longest


def _sorted_hd95(points: list[Points], areas: list[NDArray], spacing_mm: tuple[float, ...]) -> float:
    """From all distances, sorted and summed in surface-distance's own order: where the share hangs on rounding."""
    return max(
        _percentile(own, others, weights, spacing_mm)
        for own, others, weights in ((*points, areas[0]), (*reversed(points), areas[1]))
    )


def _percentile(points: Points, others: Points, weights: NDArray, spacing_mm: tuple[float, ...]) -> float:
    if hull_size(points, others) > _WIDE:
        # Far apart, a tree is quicker, and as good unless equal distances, rounded in other ways, change their order.
        lengths = Nearest(points, others, spacing_mm).all()
        even = np.round(lengths / (ROUNDING * lengths.max() or 1))
        answers = [_sorted_percentile(lengths, weights, (tie, even)) for tie in (weights, -weights)]
        if abs(answers[0] - answers[1]) <= ROUNDING * answers[0]:
            return answers[0]
    lengths = transform_distances(points, others, spacing_mm)
    return _sorted_percentile(lengths, weights, (weights, lengths))


def _sorted_percentile(lengths: NDArray, weights: NDArray, keys: tuple[NDArray, NDArray]) -> float:
    order = np.lexsort(keys)
    sums = np.cumsum(weights[order])
    place = np.searchsorted(sums / np.sum(weights[order]), _SHARE)
    return float(lengths[order[min(place, order.size - 1)]])


def _measure(comparison: Comparison) -> NDArray[np.float64]:
    spacing_mm = as_spacing(comparison.spacing_mm, comparison.reference.ndim)
    return _distances(comparison.surfaces, as_labels(comparison.labels), spacing_mm)


HD95 = Metric(
    name="hd95",
    title="95 % Hausdorff distance (HD95)",
    unit="mm",
    higher_is_better=False,
    definition="95 % Hausdorff distance as DeepMind's surface-distance defines it, per label: the larger, over both "
    "directions, of the distances within which 95 % of a surface (voxel corners weighted by marching-cubes area, array "
    "edge closed) lies of the other; NaN (not counted) where reference and prediction both lack the label, infinite "
    "where one of them does.",
    measure=_measure,
)
