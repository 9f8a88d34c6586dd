"""What differs between heads before any brain is drawn, the T1 contrast of a scan, and all that surrounds the brain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState

from medquanbench.phantoms.distances import ellipsoid, join, slab
from medquanbench.phantoms.fields import spread
from medquanbench.phantoms.soft_canvas import WHOLE, Pose, SoftCanvas

CSF_GAP_MM = 2.2


@dataclass(frozen=True)
class Head:
    """One person. Lengths in mm.

    atrophy: 0 young to 1 old: wider sulci and ventricles, thinner cortex. ventricles: width relative to the mean.
    """

    pose: Pose
    atrophy: float
    ventricles: float
    cortex_mm: float
    skull_mm: float
    scalp_mm: float


@dataclass(frozen=True)
class T1:
    """Mean intensities of a T1-weighted scan relative to cerebral white matter; gain, drift and noise of the scanner.

    gain: arbitrary units of white matter. bias: standard deviation of the slow drift of the sensitivity, relative.
    noise: standard deviation relative to white matter.
    """

    csf: float
    cortex: float
    nucleus: float
    thalamus: float
    pallidum: float
    stem: float
    cerebellar_cortex: float
    fat: float
    muscle: float
    bone: float
    marrow: float
    gain: float
    bias: float
    noise: float


def draw_head(rng: RandomState) -> Head:
    """A small or large head, a little turned and off centre."""
    size = spread(rng)
    scale = tuple(mean + 0.022 * size + 0.015 * spread(rng) for mean in (0.94, 0.93, 0.94))
    offset = (2.5 * spread(rng), 2.0 * spread(rng), 2.5 * spread(rng))
    turn = (0.045 * spread(rng), 0.05 * spread(rng), 0.03 * spread(rng))
    atrophy = rng.uniform(0.0, 1.0)
    return Head(
        Pose(scale, offset, turn),
        atrophy=atrophy,
        ventricles=0.85 + 0.45 * atrophy + 0.10 * spread(rng),
        cortex_mm=3.8 - 0.5 * atrophy + 0.12 * spread(rng),
        skull_mm=6.5 + 0.8 * spread(rng),
        scalp_mm=5.0 + 0.9 * spread(rng),
    )


def draw_t1(rng: RandomState) -> T1:
    """Contrast moves with the sequence (one draw for all grey matter), and apart by a little."""
    grey = 0.025 * spread(rng)
    return T1(
        csf=0.26 + 0.03 * spread(rng),
        cortex=0.70 + grey,
        nucleus=0.75 + grey + 0.01 * spread(rng),
        thalamus=0.83 + grey + 0.01 * spread(rng),
        pallidum=0.92 + 0.4 * grey + 0.01 * spread(rng),
        stem=0.94 + 0.01 * spread(rng),
        cerebellar_cortex=0.68 + grey,
        fat=1.30 + 0.08 * spread(rng),
        muscle=0.50 + 0.04 * spread(rng),
        bone=0.11 + 0.015 * spread(rng),
        marrow=0.50 + 0.08 * spread(rng),
        gain=rng.uniform(500.0, 1100.0),
        bias=rng.uniform(0.03, 0.08),
        noise=rng.uniform(0.020, 0.035),
    )


def paint_head(canvas: SoftCanvas, head: Head, t1: T1, brain_mm: np.ndarray) -> np.ndarray:
    """Skin, fat, muscle, face, neck, skull and CSF around a brain of this outline; returns the distance to the skin."""
    cavity = brain_mm - CSF_GAP_MM - 0.8 * head.atrophy
    table = cavity - head.skull_mm
    x, y, z = canvas.at
    face = ellipsoid((np.abs(x), y, z), (0.0, 46.0, -52.0), (60.0, 44.0, 62.0))
    neck = np.maximum(np.sqrt(x * x + (y + 36.0) ** 2) - 56.0, z + 46.0)
    skin = join(join(table - head.scalp_mm, face, 14.0), neck, 30.0)
    canvas.paint(WHOLE, skin, 0.55, None)
    canvas.paint(WHOLE, skin + 2.0, t1.fat, None)
    deep = np.maximum(skin + 5.5, np.minimum(z - 8.0, np.maximum(table - 1.0, z - 20.0)))
    canvas.paint(WHOLE, deep, t1.muscle, None)
    _paint_face(canvas, t1)
    canvas.paint(WHOLE, table, t1.bone, None)
    canvas.paint(WHOLE, slab(table + 0.5 * head.skull_mm, 0.22 * head.skull_mm), t1.marrow, None)
    canvas.paint(WHOLE, cavity, t1.csf, None)
    return skin


def _paint_face(canvas: SoftCanvas, t1: T1) -> None:
    """Orbits with eyeballs, the nose and its sinuses: dark and bright parts that no region lies in."""
    x, y, z = canvas.at
    ax = np.abs(x)
    canvas.paint(WHOLE, ellipsoid((ax, y, z), (30.0, 56.0, -27.0), (17.0, 24.0, 16.0)), t1.fat, None)
    canvas.paint(WHOLE, ellipsoid((ax, y, z), (31.0, 70.0, -27.0), (12.5, 12.5, 12.5)), t1.csf, None)
    canvas.paint(WHOLE, ellipsoid((ax, y, z), (7.0, 58.0, -44.0), (6.0, 26.0, 20.0)), 0.05, None)
    canvas.paint(WHOLE, ellipsoid((ax, y, z), (29.0, 50.0, -56.0), (12.0, 14.0, 13.0)), 0.05, None)
    canvas.paint(WHOLE, ellipsoid((ax, y, z), (0.0, 12.0, -42.0), (9.0, 9.0, 9.0)), 0.05, None)
