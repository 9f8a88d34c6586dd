"""Ventricles and deep nuclei. Positions in mm about the anterior commissure, x from the midplane outwards."""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState

from medquanbench.phantoms.distances import ellipsoid, tube
from medquanbench.phantoms.fields import spread
from medquanbench.phantoms.head import T1, Head
from medquanbench.phantoms.regions import Region
from medquanbench.phantoms.shapes import Coordinates, Tube
from medquanbench.phantoms.soft_canvas import SoftCanvas, Window

MARGIN_MM = 8.0


class Side:
    """Paints one half of the deep brain: the same shapes on both sides, each a little otherwise."""

    def __init__(self, canvas: SoftCanvas, right: bool, pushed_mm: float, rng: RandomState) -> None:
        self.canvas, self.right, self.rng = canvas, right, rng
        self.pushed_mm = pushed_mm  # outwards, by wide ventricles

    def blob(
        self,
        region: Region,
        centre: tuple[float, float, float],
        half_axes: tuple[float, float, float],
        turn_deg: float,
        value: float,
    ) -> None:
        """An ellipsoid of varying size and place."""
        size = 1.0 + 0.04 * spread(self.rng)
        middle = np.array(centre) + 0.7 * spread(self.rng, 3) + [self.pushed_mm, 0.0, 0.0]
        axes = np.array(half_axes) * size * (1.0 + 0.03 * spread(self.rng, 3))
        window = self._window(middle, max(half_axes) + MARGIN_MM)
        distance = ellipsoid(
            self._at(window), tuple(middle), tuple(axes), (turn_deg + 3.0 * spread(self.rng), 0.0, 0.0)
        )
        self.canvas.paint(window, distance, value, region.on(self.right))

    def tube(self, region: Region, path: np.ndarray, radii: np.ndarray, value: float) -> None:
        """A tube of varying course and thickness."""
        course = path + 0.7 * spread(self.rng, 3) + 0.5 * spread(self.rng, path.shape) + [self.pushed_mm, 0.0, 0.0]
        shape = Tube(course, radii * (1.0 + 0.06 * spread(self.rng)))
        knots, thick = shape.knots()
        middle = 0.5 * (knots.min(axis=0) + knots.max(axis=0))
        window = self._window(middle, 0.5 * np.ptp(knots, axis=0).max() + thick.max() + MARGIN_MM)
        self.canvas.paint(window, tube(self._at(window), shape), value, region.on(self.right))

    def _at(self, window: Window) -> Coordinates:
        x, y, z = (a[window] for a in self.canvas.at)
        return (x if self.right else -x), y, z

    def _window(self, middle: np.ndarray, reach_mm: float) -> Window:
        seen = middle * [1.0 if self.right else -1.0, 1.0, 1.0]
        return self.canvas.window(seen - reach_mm, seen + reach_mm)


def paint_deep_brain(canvas: SoftCanvas, head: Head, t1: T1, rng: RandomState) -> None:
    """The nuclei of both sides, then the ventricles on top."""
    for right in (True, False):
        side = Side(canvas, right, 3.0 * (head.ventricles - 1.0), rng)
        _paint_nuclei(side, t1)
        _paint_medial_temporal(side, head, t1)
        _paint_lateral_ventricle(side, head, t1)
    _paint_third_ventricle(canvas, head, t1, rng)


def _paint_nuclei(side: Side, t1: T1) -> None:
    side.blob(Region.RIGHT_THALAMUS, (12.0, -19.0, 7.0), (9.0, 15.5, 9.0), 18.0, t1.thalamus)
    side.blob(Region.RIGHT_VENTRAL_DC, (11.5, -15.0, -7.0), (8.5, 11.0, 6.5), 18.0, 0.5 * (t1.stem + t1.thalamus))
    side.blob(Region.RIGHT_PUTAMEN, (27.0, 4.0, 1.0), (6.8, 17.5, 11.0), 14.0, t1.nucleus)
    side.blob(Region.RIGHT_PALLIDUM, (20.5, -2.0, 0.0), (5.5, 11.0, 8.0), 16.0, t1.pallidum)
    caudate = np.array([[14.0, 20.0, -1.0], [15.5, 12.0, 11.0], [17.5, -2.0, 20.0], [20.0, -18.0, 23.0]])
    side.tube(Region.RIGHT_CAUDATE, caudate, np.array([6.0, 6.5, 4.6, 3.4]), t1.nucleus)
    side.blob(Region.RIGHT_ACCUMBENS, (11.0, 12.0, -9.0), (7.0, 8.0, 6.2), 0.0, t1.nucleus)


def _paint_medial_temporal(side: Side, head: Head, t1: T1) -> None:
    """Amygdala, hippocampus, and the inferior horn above and lateral to it."""
    horn = np.array([[36.0, -36.0, 0.0], [37.0, -27.0, -10.0], [35.5, -16.0, -15.5], [32.0, -7.0, -15.0]])
    hippocampus = np.array([[25.0, -11.0, -20.0], [28.5, -21.0, -16.5], [30.0, -31.0, -7.5], [26.0, -37.0, 2.0]])
    width = 0.5 + 0.5 * head.ventricles
    side.tube(Region.RIGHT_INFERIOR_LATERAL_VENTRICLE, horn, np.array([4.2, 4.0, 4.2, 3.6]) * width, t1.csf)
    side.tube(Region.RIGHT_HIPPOCAMPUS, hippocampus, np.array([6.6, 5.8, 5.0, 4.2]), t1.nucleus - 0.02)
    side.blob(Region.RIGHT_AMYGDALA, (23.5, 1.0, -19.0), (8.5, 8.0, 7.5), 0.0, t1.nucleus - 0.01)


def _paint_lateral_ventricle(side: Side, head: Head, t1: T1) -> None:
    course = np.array(
        [
            [10.5, 26.0, 3.0],
            [8.5, 15.0, 13.5],
            [10.0, -2.0, 21.0],
            [16.0, -24.0, 22.0],
            [25.0, -40.0, 14.0],
            [24.0, -60.0, 9.0],
        ]
    )
    radii = np.array([4.2, 5.0, 4.6, 5.0, 6.2, 3.2]) * (0.3 + 0.7 * head.ventricles)
    side.tube(Region.RIGHT_LATERAL_VENTRICLE, course, radii, t1.csf)


def _paint_third_ventricle(canvas: SoftCanvas, head: Head, t1: T1, rng: RandomState) -> None:
    half_width = 2.4 + 1.6 * (head.ventricles - 0.7) + 0.2 * spread(rng)
    centre = (0.4 * spread(rng), -12.0 + 0.7 * spread(rng), -1.0 + 0.7 * spread(rng))
    window = canvas.window(np.array([-14.0, -34.0, -20.0]), np.array([14.0, 12.0, 20.0]))
    at = tuple(a[window] for a in canvas.at)
    canvas.paint(window, ellipsoid(at, centre, (half_width, 16.0, 11.0)), t1.csf, Region.THIRD_VENTRICLE)
