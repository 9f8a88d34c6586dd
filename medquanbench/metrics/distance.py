"""How far the points of two surfaces are from the other one, exact to the rounding of SciPy's distance transform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .ball import ROUNDING, balls
from .near import Points, near

# Grid points for which the distance transform, 15 bytes each, stays below 1 GB.
_LARGEST = 1 << 26
# One of so many points, block after block of so many steps, is asked for what is nearest to it.
_NEIGHBOURS, _BLOCK = 8, 6


def within(
    points: Points, others: Points, spacing_mm: tuple[float, ...], tolerance_mm: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which points lie no further than the tolerance from the nearest of the others, and which of the others so.

    Where roundings of one distance fall on both sides of the tolerance, the one that the transform finds decides.
    """
    pairs = (points, others), (others, points)
    answers = [near(points, others, ball) for ball in balls(tolerance_mm, spacing_mm)]
    if not answers:
        return tuple(_within_far(*pair, spacing_mm, tolerance_mm) for pair in pairs)
    if all(np.array_equal(*answer) for answer in zip(answers[0], answers[-1], strict=True)):
        return answers[0]
    return tuple(transform_distances(*pair, spacing_mm) <= tolerance_mm for pair in pairs)


def _within_far(
    points: Points, others: Points, spacing_mm: tuple[float, ...], tolerance_mm: float
) -> NDArray[np.bool_]:
    nearest = Nearest(points, others, spacing_mm)
    nearest.settle(tolerance_mm)
    if np.abs(nearest.bounds - tolerance_mm).min() <= ROUNDING * tolerance_mm:
        return transform_distances(points, others, spacing_mm) <= tolerance_mm
    return nearest.bounds <= tolerance_mm


def transform_distances(points: Points, others: Points, spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """By SciPy's Euclidean distance transform in the smallest box that holds both.

    That is the box that surface-distance uses, in which two roundings of one distance also come out the same. In a box
    too large for the memory a k-d tree does the work.
    """
    from scipy import ndimage

    if hull_size(points, others) > _LARGEST:
        return Nearest(points, others, spacing_mm).all()
    low, high = (
        [end(pair) for pair in zip(own, other, strict=True)][-len(spacing_mm) :]
        for end, own, other in ((min, points.low, others.low), (max, points.high, others.high))
    )
    own, there = (
        tuple(index - bottom for index, bottom in zip(group.indices[-len(low) :], low, strict=True))
        for group in (points, others)
    )
    elsewhere = np.ones([top - bottom + 1 for bottom, top in zip(low, high, strict=True)], bool)
    elsewhere[there] = False
    nearest = ndimage.distance_transform_edt(elsewhere, spacing_mm, return_distances=False, return_indices=True)
    return _lengths(nearest[(slice(None), *own)] - np.stack(own), spacing_mm)


def hull_size(points: Points, others: Points) -> float:
    """Grid points of the smallest box that holds both."""
    ends = zip(points.low, others.low, points.high, others.high, strict=True)
    return float(np.prod([max(p, q) - min(a, b) + 1 for a, b, p, q in ends], dtype=float))


class Nearest:
    """The distances of points to others, bounded from above; the true ones are found as they come to matter.

    bounds: float64, in mm, a number a point. A point is at most as far as from what is nearest to its neighbour.
    """

    def __init__(self, points: Points, others: Points, spacing_mm: tuple[float, ...]) -> None:
        from scipy.spatial import cKDTree

        self._own, self._there = (np.stack(group.indices[-len(spacing_mm) :]) for group in (points, others))
        self._spacing_mm = spacing_mm
        self._tree = cKDTree(self._placed(self._there), leafsize=16, balanced_tree=False, compact_nodes=False)
        neighbours = np.argsort(np.ravel_multi_index(tuple(self._own // _BLOCK), self._own.max(axis=1) // _BLOCK + 1))
        _, nearest = self._tree.query(self._placed(self._own[:, neighbours[::_NEIGHBOURS]]))
        nearest_of_all = np.empty(len(points), np.intp)
        nearest_of_all[neighbours] = nearest.repeat(_NEIGHBOURS)[: len(points)]
        self.bounds = _lengths(self._there[:, nearest_of_all] - self._own, spacing_mm)
        self._doubtful = np.ones(len(points), bool)
        self._doubtful[neighbours[::_NEIGHBOURS]] = False

    def settle(self, bound_mm: float) -> bool:
        """Find the distances of all points whose bound is as large as this one; False if they were all known."""
        chosen = np.flatnonzero(self._doubtful & (self.bounds >= bound_mm))
        if chosen.size:
            own = self._own[:, chosen]
            _, nearest = self._tree.query(self._placed(own))
            self.bounds[chosen] = _lengths(self._there[:, nearest] - own, self._spacing_mm)
            self._doubtful[chosen] = False
        return chosen.size > 0

    def all(self) -> NDArray[np.float64]:
        """The distances of all points."""
        self.settle(0.0)
        return self.bounds

    def _placed(self, indices: NDArray) -> NDArray[np.float64]:
        return (indices * np.array(self._spacing_mm)[:, None]).T


def _lengths(steps: NDArray, spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    scaled = steps.astype(np.float64)
    scaled *= np.array(spacing_mm)[:, None]
    return np.sqrt(np.add.reduce(scaled * scaled, axis=0))
