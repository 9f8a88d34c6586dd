"""The cerebral hemispheres: outline, fissures, folded cortex in gyri, white matter."""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState

from medquanbench.phantoms.distances import FAR_MM, ellipsoid, join, sheet_distance, slab
from medquanbench.phantoms.fields import refine, smooth_controls
from medquanbench.phantoms.head import T1, Head
from medquanbench.phantoms.parcels import nearest_gyrus
from medquanbench.phantoms.regions import Region
from medquanbench.phantoms.soft_canvas import EXTENT_MM, SHAPE, SPACING_MM, WHOLE, SoftCanvas

INSULA_X_MM = 40.0
FOLD_KNOTS_MM = 14.0
GYRUS_DEPTH_MM, FOLD_DEPTH_MM = 15.0, 10.0


def outline(canvas: SoftCanvas) -> np.ndarray:
    """Distance to the hull of both hemispheres."""
    x, y, z = canvas.at
    at = (np.abs(x), y, z)
    upper = ellipsoid(at, (0.0, -17.0, 25.0), (67.0, 87.0, 53.0))
    temporal = ellipsoid(at, (42.0, -12.0, -18.0), (23.0, 44.0, 22.0), (0.0, 12.0, 0.0))
    return join(upper, temporal, 6.0)


def core(canvas: SoftCanvas) -> np.ndarray:
    """Distance to the callosum with all that lies below it and to what surrounds the posterior part of the lateral
    ventricles: no fissure and no sulcus reaches in there."""
    x, y, z = canvas.at
    at = (np.abs(x), y, z)
    central = ellipsoid(at, (0.0, -6.0, 2.0), (40.0, 38.0, 27.0))
    body = ellipsoid(at, (19.0, -30.0, 19.0), (15.0, 20.0, 13.0))
    atrium = ellipsoid(at, (25.0, -50.0, 12.0), (13.0, 24.0, 13.0))
    return np.minimum(central, np.minimum(body, atrium))


def surface(canvas: SoftCanvas, hull: np.ndarray, hindbrain: np.ndarray, stem: np.ndarray, head: Head) -> np.ndarray:
    """Distance to the smooth surface of the brain: the hull cut by the fissures and by what lies below."""
    x, y, z = canvas.at
    ax, gap = np.abs(x), 0.5 + 0.8 * head.atrophy
    between = np.maximum(slab(x, gap), -core(canvas))
    lateral = (z + 2.5 + 0.46 * y) / 1.1
    sylvian = np.maximum(np.maximum(slab(lateral, gap), INSULA_X_MM - ax), np.maximum(y - 28.0, -46.0 - y))
    insular = np.maximum(np.maximum(slab(ax - INSULA_X_MM, gap), np.abs(lateral) - 13.0), np.abs(y - 1.0) - 22.0)
    cistern = ellipsoid((ax, y, z), (0.0, 0.0, -28.0), (16.0, 18.0, 15.0))
    below = np.minimum(hindbrain - 2.5, np.minimum(stem - 3.0, cistern))
    cut = np.minimum(np.minimum(between, sylvian), np.minimum(insular, below))
    return np.maximum(hull, -cut)


def paint_cerebrum(canvas: SoftCanvas, smooth: np.ndarray, head: Head, t1: T1, rng: RandomState) -> None:
    """Fold the smooth surface along the borders of the gyri and, less deep, at random; cortex below it, then white."""
    gyrus, border = _gyri(canvas, smooth, rng)
    gap = 0.35 + 0.55 * head.atrophy
    folds = sheet_distance(refine(smooth_controls(rng, EXTENT_MM, FOLD_KNOTS_MM), SHAPE), SPACING_MM)
    sulci = np.maximum(slab(border, gap), -(smooth + GYRUS_DEPTH_MM))
    folded = np.maximum(slab(folds, gap), -(smooth + FOLD_DEPTH_MM))
    cut = np.maximum(np.minimum(sulci, folded), 3.0 - core(canvas))
    pial = np.maximum(smooth, -cut)
    canvas.paint(WHOLE, pial, t1.cortex, gyrus)
    white = np.where(canvas.at[0] > 0.0, Region.RIGHT_CEREBRAL_WHITE_MATTER, Region.LEFT_CEREBRAL_WHITE_MATTER)
    canvas.paint(WHOLE, pial + head.cortex_mm, 1.0, white)


def _gyri(canvas: SoftCanvas, smooth: np.ndarray, rng: RandomState) -> tuple[np.ndarray, np.ndarray]:
    """The gyrus of every voxel near the surface, and its distance to the border with the next gyrus."""
    label, border = np.zeros(SHAPE, np.uint8), np.full(SHAPE, FAR_MM)
    near = (smooth > -(GYRUS_DEPTH_MM + 6.0)) & (smooth < SPACING_MM)
    for right in (True, False):
        here = near & ((canvas.at[0] > 0.0) == right)
        points = np.stack([a[here] for a in canvas.side(right)])
        label[here], border[here] = nearest_gyrus(points, right, rng)
    return label, border
