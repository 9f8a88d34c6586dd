"""The surface Dice coefficient at a tolerance (normalised surface distance, NSD) of every label.

Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", J Med Internet Res 2021;
23(7):e26151. Measured by the authors' own implementation, the package `surface-distance`
(github.com/google-deepmind/surface-distance): other tools place the surface elsewhere and give other numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .label_maps import as_label_pair, as_labels, as_spacing, as_tolerances, label_codes
from .metric import Comparison, Metric


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
    if reference.ndim not in (2, 3):
        raise ValueError(f"the label maps have shape {reference.shape}; the surface Dice is defined in 2-D and 3-D")
    labels = as_labels(labels)
    spacing_mm = as_spacing(spacing_mm, reference.ndim)
    tolerances_mm = as_tolerances(tolerance_mm, len(labels))
    sought = sorted(set(labels))
    codes = label_codes(reference, sought), label_codes(prediction, sought)
    boxes = [_union_box(r, p) for r, p in zip(*(_boxes(c, len(sought)) for c in codes), strict=True)]
    scores = np.full(len(labels), np.nan)
    for i, (label, tolerance) in enumerate(zip(labels, tolerances_mm, strict=True)):
        place = sought.index(label)
        if (box := boxes[place]) is not None:
            masks = (c[box] == place + 1 for c in codes)
            scores[i] = _one_surface_dice(*masks, spacing_mm, tolerance)
    return scores


def _boxes(codes: NDArray, n_codes: int) -> list[tuple[slice, ...] | None]:
    """The bounding box of each code from 1 to n_codes; None for an absent one."""
    from scipy import ndimage

    if n_codes == 0 or codes.size == 0:
        return [None] * n_codes
    return ndimage.find_objects(codes, max_label=n_codes)


def _union_box(
    reference_box: tuple[slice, ...] | None, prediction_box: tuple[slice, ...] | None
) -> tuple[slice, ...] | None:
    """The smallest box that holds both; None if there is neither.

    The package crops to this same box before it does anything else, so cropping first cannot change its number.
    """
    if reference_box is None or prediction_box is None:
        return reference_box or prediction_box
    pairs = zip(reference_box, prediction_box, strict=True)
    return tuple(slice(min(r.start, p.start), max(r.stop, p.stop)) for r, p in pairs)


def _one_surface_dice(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing_mm: tuple[float, ...], tolerance_mm: float
) -> float:
    """The score of one structure; at most one of the masks may be empty."""
    if not (reference.any() and prediction.any()):
        return 0.0  # the same number the package means, but its release 0.1 needs np.Inf, which NumPy 2 has not
    import surface_distance

    distances = surface_distance.compute_surface_distances(reference, prediction, spacing_mm)
    return float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm))


def _measure(comparison: Comparison) -> NDArray[np.float64]:
    return surface_dice(
        comparison.reference,
        comparison.prediction,
        comparison.labels,
        comparison.spacing_mm,
        comparison.tolerance_mm,
    )


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
