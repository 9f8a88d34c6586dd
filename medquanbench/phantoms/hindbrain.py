"""Brain stem, cerebellum with its white matter and vermis, and the fourth ventricle between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState

from medquanbench.phantoms.distances import ellipsoid, join, sheet_distance, slab
from medquanbench.phantoms.fields import refine, smooth_controls, spread
from medquanbench.phantoms.head import T1, Head
from medquanbench.phantoms.regions import Region
from medquanbench.phantoms.shapes import capsule_distance
from medquanbench.phantoms.soft_canvas import EXTENT_MM, SHAPE, SPACING_MM, WHOLE, SoftCanvas

VERMIS_HALF_WIDTH_MM = 6.0
FASTIGIUM_MM = (-51.0, -30.0)  # y, z of the point that the vermal lobules surround
FOLIA_KNOTS_MM = 8.0


@dataclass(frozen=True)
class Hindbrain:
    """Distances in mm to the outlines."""

    cerebellum: np.ndarray
    stem: np.ndarray


def shape_hindbrain(canvas: SoftCanvas, rng: RandomState) -> Hindbrain:
    """Where cerebellum and brain stem are."""
    x, y, z = canvas.at
    at = (np.abs(x), y, z)
    size = 1.0 + 0.03 * spread(rng)
    lobe = ellipsoid(at, (24.0, -64.0, -36.0), (27.0 * size, 27.0 * size, 21.0 * size), (0.0, 8.0, 0.0))
    vermis = ellipsoid(at, (0.0, -62.0, -31.0), (9.0, 24.0 * size, 21.0 * size))
    midbrain = ellipsoid(at, (0.0, -26.0, -13.0), (16.0 * size, 10.5, 12.0))
    pons = ellipsoid(at, (0.0, -24.0, -31.0), (17.0 * size, 13.5, 14.0))
    medulla = capsule_distance(at, np.array([0.0, -33.0, -42.0]), np.array([0.0, -42.0, -100.0]), (9.5, 7.5), 1.0)
    return Hindbrain(join(lobe, vermis, 5.0), join(join(midbrain, pons, 5.0), medulla, 6.0))


def paint_hindbrain(canvas: SoftCanvas, shape: Hindbrain, head: Head, t1: T1, rng: RandomState) -> None:
    """Cerebellar cortex with the white tree in it, vermis, brain stem, fourth ventricle."""
    x, y, z = canvas.at
    canvas.paint(WHOLE, shape.cerebellum, t1.cerebellar_cortex, _lobules(x, y, z))
    right = x > 0.0
    folia = sheet_distance(refine(smooth_controls(rng, EXTENT_MM, FOLIA_KNOTS_MM), SHAPE), SPACING_MM)
    twigs = np.maximum(slab(folia, 1.0), shape.cerebellum + 4.0)
    trunk = np.minimum(shape.cerebellum + 9.5, twigs)
    white = np.where(right, Region.RIGHT_CEREBELLUM_WHITE_MATTER, Region.LEFT_CEREBELLUM_WHITE_MATTER)
    canvas.paint(WHOLE, np.maximum(trunk, VERMIS_HALF_WIDTH_MM - np.abs(x)), 0.98, white)
    vermal = np.maximum(np.maximum(slab(folia, 0.6), shape.cerebellum + 5.0), slab(x, VERMIS_HALF_WIDTH_MM))
    canvas.paint(WHOLE, vermal, 0.86, None)
    peduncle = capsule_distance(
        (np.abs(x), y, z), np.array([10.0, -34.0, -34.0]), np.array([18.0, -52.0, -36.0]), (7.0, 6.0), 1.0
    )
    canvas.paint(WHOLE, np.maximum(peduncle, -shape.stem), 0.98, white)
    canvas.paint(WHOLE, shape.stem, t1.stem, Region.BRAIN_STEM)
    width = 0.6 + 0.4 * head.ventricles
    fourth = ellipsoid((x, y, z), (0.0, -43.5, -33.0), (7.5 * width, 6.5 * width, 12.0))
    canvas.paint(WHOLE, fourth, t1.csf, Region.FOURTH_VENTRICLE)


def _lobules(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Left and right exterior, and between them the vermis in three sectors from front to back."""
    back, up = FASTIGIUM_MM[0] - y, z - FASTIGIUM_MM[1]
    upper = np.where(up > 0.9 * back, Region.VERMAL_LOBULES_I_V, Region.VERMAL_LOBULES_VI_VII)
    vermis = np.where(up > -0.25 * back, upper, Region.VERMAL_LOBULES_VIII_X)
    exterior = np.where(x > 0.0, Region.RIGHT_CEREBELLUM_EXTERIOR, Region.LEFT_CEREBELLUM_EXTERIOR)
    return np.where(np.abs(x) < VERMIS_HALF_WIDTH_MM, vermis, exterior)
