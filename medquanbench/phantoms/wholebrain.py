"""`wholebrain-phantom/1`: a T1-weighted head with regions of the MICCAI 2012 table (BrainCOLOR, as UNesT numbers it).

What differs from case to case: size, position and rotation of the head, a smooth displacement of everything, atrophy
and width of the ventricles, where the gyri end and how they fold (left otherwise than right), contrast, a slow drift of
the sensitivity, and noise. Intensities are arbitrary units; outside the head they are exactly 0.
"""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState

from medquanbench.phantoms.cerebrum import outline, paint_cerebrum, surface
from medquanbench.phantoms.deep_brain import paint_deep_brain
from medquanbench.phantoms.distances import join
from medquanbench.phantoms.fields import refine, smooth_controls
from medquanbench.phantoms.head import T1, draw_head, draw_t1, paint_head
from medquanbench.phantoms.hindbrain import paint_hindbrain, shape_hindbrain
from medquanbench.phantoms.soft_canvas import EXTENT_MM, SHAPE, SPACING_MM, SoftCanvas
from medquanbench.phantoms.volume import Phantom

BIAS_KNOTS_MM, TEXTURE_KNOTS_MM = 90.0, 8.0
TEXTURE = 0.012  # standard deviation of tissue itself, relative to its mean
MAX_BIAS = 0.25


def wholebrain_phantom(seed: int) -> Phantom:
    """The case of this seed: 88 x 108 x 88 voxels of 2 mm. The same bytes wherever it is made."""
    rng = RandomState(seed)
    head, t1 = draw_head(rng), draw_t1(rng)
    canvas = SoftCanvas(head.pose, rng)
    hindbrain = shape_hindbrain(canvas, rng)
    hull = outline(canvas)
    skin = paint_head(canvas, head, t1, join(hull, np.minimum(hindbrain.cerebellum, hindbrain.stem), 14.0))
    smooth = surface(canvas, hull, hindbrain.cerebellum, hindbrain.stem, head)
    paint_cerebrum(canvas, smooth, head, t1, rng)
    paint_deep_brain(canvas, head, t1, rng)
    paint_hindbrain(canvas, hindbrain, head, t1, rng)
    return Phantom(scan(canvas.image, skin, t1, rng), canvas.label, affine_of(rng))


def scan(tissue: np.ndarray, skin_mm: np.ndarray, t1: T1, rng: RandomState) -> np.ndarray:
    """Texture, drift and the noise of a magnitude image (Rice); int16, 0 outside the head and nowhere else."""
    texture = 1.0 + TEXTURE * refine(smooth_controls(rng, EXTENT_MM, TEXTURE_KNOTS_MM), SHAPE)
    drift = t1.bias * refine(smooth_controls(rng, EXTENT_MM, BIAS_KNOTS_MM), SHAPE)
    signal = tissue * texture * (1.0 + np.clip(drift, -MAX_BIAS, MAX_BIAS))
    real = signal + t1.noise * rng.standard_normal(SHAPE)
    imaginary = t1.noise * rng.standard_normal(SHAPE)
    magnitude = np.rint(t1.gain * np.sqrt(real * real + imaginary * imaginary))
    return np.where(skin_mm < 0.0, np.clip(magnitude, 1, 32767), 0).astype(np.int16)


def affine_of(rng: RandomState) -> np.ndarray:
    """Voxel index to RAS+ world mm: x and y run backwards (LPS), the head lies elsewhere in each scan."""
    steps = np.array([-1.0, -1.0, 1.0]) * SPACING_MM
    affine = np.diag(np.append(steps, 1.0))
    affine[:3, 3] = -steps * (np.array(SHAPE) - 1) / 2 + np.round(rng.uniform(-20.0, 20.0, 3), 1)
    return affine
