"""Implicit shapes, evaluated on coordinate arrays by polynomials and square roots, which every machine rounds alike."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from scipy.interpolate import CubicSpline

Coordinates = tuple[np.ndarray, np.ndarray, np.ndarray]


def squared_radius(u: np.ndarray, v: np.ndarray, w: np.ndarray | float, squareness: float) -> np.ndarray:
    """A level function that is 1 on the surface: a sphere at squareness 0, a rounded box towards 1."""
    u2, v2, w2 = u * u, v * v, w * w
    return (1 - squareness) * (u2 + v2 + w2) + squareness * (u2 * u2 + v2 * v2 + w2 * w2)


def turned(at: Coordinates, turn_deg: tuple[float, float, float]) -> Coordinates:
    """Coordinates in a frame turned about z, then x, then y by these angles."""
    x, y, z = at
    about_z, about_x, about_y = (radians(a) for a in turn_deg)
    if about_z:
        x, y = cos(about_z) * x + sin(about_z) * y, cos(about_z) * y - sin(about_z) * x
    if about_x:
        y, z = cos(about_x) * y + sin(about_x) * z, cos(about_x) * z - sin(about_x) * y
    if about_y:
        x, z = cos(about_y) * x + sin(about_y) * z, cos(about_y) * z - sin(about_y) * x
    return x, y, z


@dataclass(frozen=True)
class Ellipsoid:
    """A bent, rotated superellipsoid. Lengths in mm, angles in degrees (about z, then x, then y).

    bend_per_mm: its y-z sheet is curved along x by bend * (y^2 + z^2), which makes a crescent.
    """

    centre: tuple[float, float, float]
    half_axes: tuple[float, float, float]
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    squareness: float = 0.0
    bend_per_mm: float = 0.0

    def reach_mm(self) -> tuple[float, float, float]:
        """Half the size of a box along the axes that is sure to hold the shape."""
        longest = max(self.half_axes) * (1.0 if any(self.turn_deg) else 0.0)
        bent = abs(self.bend_per_mm) * (self.half_axes[1] ** 2 + self.half_axes[2] ** 2)
        x, y, z = (max(h, longest * 0.9) for h in self.half_axes)
        return x + bent, y, z

    def level(self, at: Coordinates) -> np.ndarray:
        """Below 1 inside, 1 on the surface, about the squared relative radius."""
        x, y, z = turned(tuple(a - c for a, c in zip(at, self.centre)), self.turn_deg)
        if self.bend_per_mm:
            x = x + self.bend_per_mm * (y * y + z * z)
        a, b, c = self.half_axes
        return squared_radius(x / a, y / b, z / c, self.squareness)


@dataclass(frozen=True)
class Tube:
    """A tube of changing radius along a smooth curve. path: float64 (n, 3) mm; radii: float64 (n,) mm.

    flatten_y: above 1 the cross-section is an ellipse, that much shallower from front to back.
    """

    path: np.ndarray
    radii: np.ndarray
    flatten_y: float = 1.0

    def knots(self) -> tuple[np.ndarray, np.ndarray]:
        """The curve as a fine polyline, (m, 3), and its radii, (m,)."""
        along = np.arange(len(self.path), dtype=float)
        fine = np.linspace(0.0, along[-1], 4 * (len(along) - 1) + 1)
        return CubicSpline(along, self.path)(fine), np.interp(fine, along, self.radii)


def capsule_distance(
    at: Coordinates, start: np.ndarray, end: np.ndarray, radii: tuple[float, float], flatten_y: float
) -> np.ndarray:
    """Signed distance in mm (negative inside) to a segment thickened from one radius to the other."""
    stretch = np.array([1.0, flatten_y, 1.0])
    axis = (end - start) * stretch
    x, y, z = ((a - s) * f for a, s, f in zip(at, start, stretch))
    t = np.clip((x * axis[0] + y * axis[1] + z * axis[2]) / float((axis * axis).sum()), 0.0, 1.0)
    dx, dy, dz = x - t * axis[0], y - t * axis[1], z - t * axis[2]
    return np.sqrt(dx * dx + dy * dy + dz * dz) - (radii[0] + t * (radii[1] - radii[0]))
