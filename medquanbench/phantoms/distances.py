"""Signed distances in mm (negative inside) to shapes, and their joins; right to first order at the surface."""

from __future__ import annotations

import numpy as np

from medquanbench.phantoms.shapes import Coordinates, Tube, capsule_distance, turned

TINY = 1e-6
FAR_MM = 1e3


def ellipsoid(
    at: Coordinates,
    centre: tuple[float, float, float],
    half_axes: tuple[float, float, float],
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> np.ndarray:
    """Distance to an ellipsoid: level over gradient, which is right to first order at the surface."""
    x, y, z = turned(tuple(a - c for a, c in zip(at, centre)), turn_deg)
    a, b, c = half_axes
    u, v, w = x / a, y / b, z / c
    level = np.sqrt(u * u + v * v + w * w)
    u, v, w = u / a, v / b, w / c
    return level * (level - 1.0) / (np.sqrt(u * u + v * v + w * w) + TINY)


def tube(at: Coordinates, shape: Tube) -> np.ndarray:
    """Distance to a tube."""
    knots, radii = shape.knots()
    distance = np.full(np.broadcast_shapes(*(a.shape for a in at)), FAR_MM)
    for i in range(len(knots) - 1):
        piece = capsule_distance(at, knots[i], knots[i + 1], (radii[i], radii[i + 1]), shape.flatten_y)
        np.minimum(distance, piece, out=distance)
    return distance


def join(first: np.ndarray, second: np.ndarray, blend_mm: float) -> np.ndarray:
    """Union of two shapes whose crease is filled over about `blend_mm` (polynomial smooth minimum)."""
    h = np.maximum(blend_mm - np.abs(first - second), 0.0)
    return np.minimum(first, second) - h * h / (4.0 * blend_mm)


def slab(level_mm: np.ndarray, half_width_mm: float | np.ndarray) -> np.ndarray:
    """Distance to the layer around the zero set of a signed distance."""
    return np.abs(level_mm) - half_width_mm


def sheet_distance(field: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Distance to the zero set of a smooth field, to first order: the field over the length of its gradient.

    Where the field is flat the gradient counts as half its root mean square, so that no distance grows without bound.
    """
    squared = sum(g * g for g in np.gradient(field, spacing_mm))
    return field / np.sqrt(squared + (0.25 * squared.mean()))
