"""The fine grid that anatomy is painted on, and its reduction to voxels.

Structures are painted one over the other on a grid of 2 x 2 x 2 samples a voxel; a voxel's intensity is the mean of its
samples (partial volume), its label the one most of them carry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState

from medquanbench.phantoms.fields import control_shape, refine, smooth_controls, spread
from medquanbench.phantoms.shapes import Coordinates, Ellipsoid, Tube, capsule_distance

SAMPLES = 2
N_LABELS = 14
FAR_MM = 1e3


@dataclass(frozen=True)
class Grid:
    """Voxel counts and spacing; index 0 is the patient's right, front and feet, as in a clinical (LPS) file."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    def extent_mm(self) -> tuple[float, float, float]:
        """The size of the box."""
        x, y, z = (n * d for n, d in zip(self.shape, self.spacing_mm))
        return x, y, z

    def sample_axis_mm(self, axis: int) -> np.ndarray:
        """Positions of the fine samples along an axis about the middle of the box, in RAS+ direction."""
        n, step = self.shape[axis] * SAMPLES, self.spacing_mm[axis] / SAMPLES
        centred = (np.arange(n) - (n - 1) / 2) * step
        return centred if axis == 2 else -centred


@dataclass(frozen=True)
class Frame:
    """How the patient lies in the box: position of the anatomical origin, size relative to the mean, and tilt."""

    offset_mm: tuple[float, float, float]
    scale: tuple[float, float, float]
    tilt: tuple[float, float, float]  # radians: about z (turn), about x (pitch), about y (lean)


class Canvas:
    """Intensities, labels and anatomical coordinates of the fine samples; what is painted later lies on top."""

    def __init__(self, grid: Grid, frame: Frame, rng: RandomState) -> None:
        self.grid = grid
        self.axes = [(grid.sample_axis_mm(a) - frame.offset_mm[a]) / frame.scale[a] for a in range(3)]
        self.shape = tuple(len(a) for a in self.axes)
        self.hu = np.full(self.shape, -1000.0)
        self.label = np.zeros(self.shape, np.uint8)
        self.open = np.ones(self.shape, bool)  # where clipped organs may be: set by the trunk
        self.texture = refine(smooth_controls(rng, grid.extent_mm(), 12.0), self.shape)
        shifts = [self._shift(rng) for _ in range(3)]
        x, y, z = (a.reshape([-1 if k == i else 1 for k in range(3)]) for i, a in enumerate(self.axes))
        turn, pitch, lean = frame.tilt
        self.at: Coordinates = (
            x + turn * y + lean * z + shifts[0],
            y - turn * x + pitch * z + shifts[1],
            z - lean * x - pitch * y + shifts[2],
        )
        self.pad = [float(np.abs(p - a).max()) for p, a in zip(self.at, (x, y, z))]

    def _shift(self, rng: RandomState) -> np.ndarray:
        """One component of the displacement that makes outlines irregular and lets neighbours move together, in mm."""
        extent = self.grid.extent_mm()
        broad = np.clip(smooth_controls(rng, extent, 60.0) * 4.0, -16.0, 16.0)
        knots = control_shape(extent, 16.0)
        return refine(refine(broad, knots) + 2.2 * spread(rng, knots), self.shape)

    def window(self, low: np.ndarray, high: np.ndarray) -> tuple[slice, slice, slice]:
        """The samples whose anatomical coordinates can lie in the box from low to high."""
        slices = []
        for axis, pad, a, b in zip(self.axes, self.pad, low, high):
            inside = np.flatnonzero((axis >= a - pad) & (axis <= b + pad))
            slices.append(slice(inside[0], inside[-1] + 1) if len(inside) else slice(0, 0))
        return slices[0], slices[1], slices[2]

    def coordinates(self, window: tuple[slice, slice, slice]) -> Coordinates:
        """Anatomical x, y, z of the samples in a window."""
        return self.at[0][window], self.at[1][window], self.at[2][window]

    def ellipsoid(self, shape: Ellipsoid) -> tuple[tuple[slice, slice, slice], np.ndarray]:
        """A window around the shape and its level there (1 on the surface)."""
        centre, reach = np.array(shape.centre), np.array(shape.reach_mm())
        window = self.window(centre - reach, centre + reach)
        return window, shape.level(self.coordinates(window))

    def tube(self, shape: Tube) -> tuple[tuple[slice, slice, slice], np.ndarray]:
        """A window around the tube and the signed distance to its surface there, in mm."""
        knots, radii = shape.knots()
        margin = float(radii.max()) + 1.0
        window = self.window(knots.min(axis=0) - margin, knots.max(axis=0) + margin)
        distance = np.full(self.hu[window].shape, FAR_MM)
        for i in range(len(knots) - 1):
            ends = knots[i : i + 2]
            part = self.window(ends.min(axis=0) - margin, ends.max(axis=0) + margin)
            inner = tuple(
                slice(max(p.start, w.start) - w.start, min(p.stop, w.stop) - w.start) for p, w in zip(part, window)
            )
            if any(s.stop <= s.start for s in inner):
                continue
            at = tuple(a[window][inner] for a in self.at)
            piece = capsule_distance(at, ends[0], ends[1], (radii[i], radii[i + 1]), shape.flatten_y)
            np.minimum(distance[inner], piece, out=distance[inner])
        return window, distance

    def paint(
        self, window: tuple[slice, slice, slice], mask: np.ndarray, hu: float | np.ndarray, label: int | None
    ) -> None:
        """Give the masked samples of a window an intensity and, unless None, a label."""
        np.copyto(self.hu[window], hu, where=mask)
        if label is not None:
            np.copyto(self.label[window], np.uint8(label), where=mask)

    def intensities(self) -> np.ndarray:
        """Mean of each voxel's samples, float64 (x, y, z), HU."""
        return sum(part.astype(np.float64) for part in _samples(self.hu)) / SAMPLES**3

    def labels(self) -> np.ndarray:
        """The label most of a voxel's samples carry, uint8 (x, y, z); on a tie the lowest, background first."""
        parts = _samples(self.label)
        counts = [sum((part == k).astype(np.uint8) for part in parts) for k in range(N_LABELS)]
        return np.argmax(np.stack(counts), axis=0).astype(np.uint8)


def _samples(fine: np.ndarray) -> list[np.ndarray]:
    """The fine array as one voxel-sized array for each sample position in a voxel."""
    steps = range(SAMPLES)
    return [fine[i::SAMPLES, j::SAMPLES, k::SAMPLES] for i in steps for j in steps for k in steps]
