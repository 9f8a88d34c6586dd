"""The voxel grid that a head is painted on: shapes are signed distances, which give each voxel its partial volume."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

import numpy as np
from numpy.random import RandomState

from medquanbench.phantoms.fields import control_shape, refine, smooth_controls, spread
from medquanbench.phantoms.shapes import Coordinates

SHAPE = (88, 108, 88)
SPACING_MM = 2.0
EXTENT_MM = (176.0, 216.0, 176.0)
# Anatomy is placed about the anterior commissure, as in MNI space; this point of it lies in the middle of the box.
MIDDLE_MM = (0.0, -10.0, 11.0)
Window = tuple[slice, slice, slice]
WHOLE: Window = (slice(None), slice(None), slice(None))


@dataclass(frozen=True)
class Pose:
    """How the head lies in the box: size relative to the mean, position, and rotation."""

    scale: tuple[float, float, float]
    offset_mm: tuple[float, float, float]
    turn: tuple[float, float, float]  # radians: about z (shake), about x (nod), about y (lean)


class SoftCanvas:
    """Intensities, labels and anatomical coordinates (mm; x right, y front, z up) of the voxels."""

    def __init__(self, pose: Pose, rng: RandomState) -> None:
        self.image = np.zeros(SHAPE)
        self.label = np.zeros(SHAPE, np.uint8)
        axes = [self._axis_mm(a) - pose.offset_mm[a] for a in range(3)]
        x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
        shake, nod, lean = pose.turn
        x, y = cos(shake) * x + sin(shake) * y, cos(shake) * y - sin(shake) * x
        y, z = cos(nod) * y + sin(nod) * z, cos(nod) * z - sin(nod) * y
        x, z = cos(lean) * x + sin(lean) * z, cos(lean) * z - sin(lean) * x
        self.at: Coordinates = tuple(a / s + m + self._shift(rng) for a, s, m in zip((x, y, z), pose.scale, MIDDLE_MM))

    @staticmethod
    def _axis_mm(axis: int) -> np.ndarray:
        """Voxel positions about the middle of the box; index 0 is right, front and feet, as in a clinical file."""
        centred = (np.arange(SHAPE[axis]) - (SHAPE[axis] - 1) / 2) * SPACING_MM
        return centred if axis == 2 else -centred

    @staticmethod
    def _shift(rng: RandomState) -> np.ndarray:
        """One component of the smooth displacement that makes everyone's head and brain another, in mm."""
        broad = np.clip(smooth_controls(rng, EXTENT_MM, 60.0) * 1.6, -7.0, 7.0)
        knots = control_shape(EXTENT_MM, 20.0)
        return refine(refine(broad, knots) + 1.3 * spread(rng, knots), SHAPE)

    def side(self, right: bool) -> Coordinates:
        """Coordinates seen from one side: x grows from the midplane to this side."""
        x, y, z = self.at
        return (x if right else -x), y, z

    def window(self, low: np.ndarray, high: np.ndarray) -> Window:
        """The smallest box of voxels that holds all anatomical points between low and high."""
        inside = np.ones(SHAPE, bool)
        for a, lo, hi in zip(self.at, low, high):
            inside &= (a >= lo) & (a <= hi)
        slices = []
        for axis in range(3):
            hit = np.flatnonzero(inside.any(axis=tuple(k for k in range(3) if k != axis)))
            slices.append(slice(hit[0], hit[-1] + 1) if len(hit) else slice(0, 0))
        return slices[0], slices[1], slices[2]

    def paint(
        self, window: Window, distance_mm: np.ndarray, value: float | np.ndarray, label: int | np.ndarray | None
    ) -> None:
        """Cover what lies inside a surface; a voxel that it cuts is covered by its share."""
        share = np.clip(0.5 - distance_mm / SPACING_MM, 0.0, 1.0)
        image = self.image[window]
        image += share * (value - image)
        if label is not None:
            np.copyto(self.label[window], np.asarray(label, np.uint8), where=distance_mm < 0.0)
