"""`btcv-phantom/1`: an abdominal CT in the portal venous phase with the 13 structures of BTCV.

What differs from case to case: spacing, position and build of the patient, contrast phase, noise, size, position and
pose of every organ, filling of the bowel, and a smooth displacement of everything. What is painted later lies on top,
so neighbours press into each other as they do in a patient.
"""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState
from scipy.ndimage import gaussian_filter

from medquanbench.phantoms.bowel import paint_bowel, paint_stomach
from medquanbench.phantoms.canvas import Canvas, Grid
from medquanbench.phantoms.fields import refine, smooth_controls
from medquanbench.phantoms.organs import (
    Label,
    paint_adrenals,
    paint_gallbladder,
    paint_kidney,
    paint_liver,
    paint_pancreas,
    paint_retroperitoneum,
    paint_spleen,
)
from medquanbench.phantoms.patient import draw_build, draw_contrast, draw_grid
from medquanbench.phantoms.trunk import paint_spine, paint_trunk
from medquanbench.phantoms.vessels import paint_esophagus, paint_great_vessels, paint_portal_system
from medquanbench.phantoms.volume import Phantom

# In voxels. A reconstruction kernel leaves neighbouring voxels correlated, more in plane than across slices.
NOISE_CORRELATION_VOXELS = (0.6, 0.6, 0.35)
INHOMOGENEITY_HU = 4.0


def btcv_phantom(seed: int) -> Phantom:
    """The case of this seed: about 108 x 84 x 41 voxels of 2.9 x 2.9 x 5 mm. The same bytes wherever it is made."""
    rng = RandomState(seed)
    grid, build, hu = draw_grid(rng), draw_build(rng), draw_contrast(rng)
    canvas = Canvas(grid, build.frame, rng)
    paint_trunk(canvas, build, hu, rng)
    paint_bowel(canvas, hu, rng)
    paint_stomach(canvas, hu, rng, Label.STOMACH)
    paint_liver(canvas, hu, rng)
    paint_spleen(canvas, hu, rng)
    paint_retroperitoneum(canvas, hu)
    paint_spine(canvas, build, hu, rng)
    paint_kidney(canvas, build, hu, rng, 1.0, Label.RIGHT_KIDNEY)
    paint_kidney(canvas, build, hu, rng, -1.0, Label.LEFT_KIDNEY)
    paint_great_vessels(canvas, hu, rng)
    paint_pancreas(canvas, hu, rng)
    paint_portal_system(canvas, hu, rng)
    paint_gallbladder(canvas, hu, rng)
    paint_adrenals(canvas, hu, rng)
    paint_esophagus(canvas, hu, rng)
    image = scan(canvas.intensities(), grid, hu.noise, rng)
    return Phantom(image, canvas.labels(), affine_of(grid, rng))


def scan(intensities: np.ndarray, grid: Grid, noise_hu: float, rng: RandomState) -> np.ndarray:
    """Add correlated noise and a slow drift, and round to int16, as a scanner stores it. HU in, HU out."""
    noise = gaussian_filter(rng.standard_normal(grid.shape), NOISE_CORRELATION_VOXELS, mode="wrap", truncate=4.0)
    noise *= noise_hu / np.sqrt((noise**2).mean())
    drift = refine(smooth_controls(rng, grid.extent_mm(), 90.0), grid.shape) * INHOMOGENEITY_HU
    return np.clip(np.rint(intensities + noise + drift), -1024, 3071).astype(np.int16)


def affine_of(grid: Grid, rng: RandomState) -> np.ndarray:
    """Voxel index to RAS+ world mm: x and y run backwards (LPS), the table stands elsewhere in each scan."""
    signs = np.array([-1.0, -1.0, 1.0])
    steps = signs * np.array(grid.spacing_mm)
    first = -steps * (np.array(grid.shape) - 1) / 2 + np.array([0.0, 0.0, round(rng.uniform(-400.0, 400.0), 1)])
    affine = np.diag(np.append(steps, 1.0))
    affine[:3, 3] = first
    return affine
