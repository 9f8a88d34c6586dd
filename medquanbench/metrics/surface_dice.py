"""The surface Dice coefficient at a tolerance (normalised surface distance, NSD) of every label.

Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", J Med Internet Res 2021;
23(7):e26151. Measured as the authors' own implementation does, the package `surface-distance`
(github.com/google-deepmind/surface-distance): other tools place the surface elsewhere and give other numbers. Its
tables and its last step are used as they are. The distances are computed here, equal to the last bit, because the
package keeps them for every voxel: 54 bytes a voxel of a structure's box, against 17.
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
            scores[i] = _one_surface_dice(*(c[box] for c in codes), place + 1, spacing_mm, tolerance)
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
    reference: NDArray, prediction: NDArray, code: int, spacing_mm: tuple[float, ...], tolerance_mm: float
) -> float:
    """The score of one code, in arrays cropped to it; at most one of them may lack it."""
    if not ((reference == code).any() and (prediction == code).any()):
        return 0.0  # the same number the package means, but its release 0.1 needs np.Inf, which NumPy 2 has not
    import surface_distance
    from surface_distance import lookup_tables

    kernel, area_table = {
        2: (lookup_tables.ENCODE_NEIGHBOURHOOD_2D_KERNEL, lookup_tables.create_table_neighbour_code_to_contour_length),
        3: (lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL, lookup_tables.create_table_neighbour_code_to_surface_area),
    }[reference.ndim]
    areas = area_table(spacing_mm)
    corners = [_corner_codes(array == code, kernel) for array in (reference, prediction)]
    surfaces = [(c != 0) & (c != kernel.sum()) for c in corners]
    surfel_areas = [areas[c[surface]] for c, surface in zip(corners, surfaces, strict=True)]
    del corners  # as large as the box, and the distances need room
    there = _sorted(_distances(surfaces[0], surfaces[1], spacing_mm), surfel_areas[0])
    back = _sorted(_distances(surfaces[1], surfaces[0], spacing_mm), surfel_areas[1])
    found = {
        "distances_gt_to_pred": there[0], "surfel_areas_gt": there[1],
        "distances_pred_to_gt": back[0], "surfel_areas_pred": back[1],
    }  # fmt: skip
    return float(surface_distance.compute_surface_dice_at_tolerance(found, tolerance_mm))


def _corner_codes(mask: NDArray[np.bool_], kernel: NDArray) -> NDArray[np.uint8]:
    """Which voxels around each voxel corner are in the mask, a bit each; one corner more than voxels on every axis."""
    from scipy import ndimage

    padded = np.pad(mask.astype(np.uint8), [(0, 1)] * mask.ndim)
    return ndimage.correlate(padded, kernel, mode="constant", cval=0)


def _distances(
    places: NDArray[np.bool_], surface: NDArray[np.bool_], spacing_mm: tuple[float, ...]
) -> NDArray[np.float64]:
    """From each place the distance in mm to the nearest element of a surface, in the order of the array."""
    from scipy import ndimage

    nearest = ndimage.distance_transform_edt(~surface, spacing_mm, return_distances=False, return_indices=True)
    steps = (nearest[:, places] - np.nonzero(places)).astype(np.float64)
    steps *= np.array(spacing_mm)[:, None]
    return np.sqrt(np.add.reduce(steps * steps, axis=0))


def _sorted(distances: NDArray[np.float64], areas: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Both by distance, then area: sums of floats hang on their order."""
    order = np.lexsort((areas, distances))
    return distances[order], areas[order]


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
