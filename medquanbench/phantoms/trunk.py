"""The body around the organs: skin, fat, muscle, ribs, spine, lungs and heart. None of it carries a label."""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState

from medquanbench.phantoms.canvas import Canvas
from medquanbench.phantoms.fields import spread
from medquanbench.phantoms.patient import Build, Contrast
from medquanbench.phantoms.shapes import Ellipsoid, Tube, squared_radius

WALL_MM = 12.0
HALF_WIDTH_MM, HALF_DEPTH_MM = 122.0, 88.0  # of the inner wall of the trunk
TRUNK_SQUARENESS = 0.25


def paint_trunk(canvas: Canvas, build: Build, hu: Contrast, rng: RandomState) -> None:
    """Skin, subcutaneous fat, the muscular wall with its ribs, fat inside, and the lungs above the diaphragm.

    Leaves canvas.open as the abdominal cavity, which organs painted as clipped do not leave.
    """
    x, y, z = (a.reshape([-1 if k == i else 1 for k in range(3)]) for i, a in enumerate(canvas.axes))
    taper = 1.0 + 0.0005 * rng.uniform(-1.0, 1.0) * z + 0.0018 * np.maximum(z - 30.0, 0.0)  # the chest narrows
    wave = (
        1.0
        + 0.012 * spread(rng) * np.cos(2 * np.arctan2(y, x))
        + 0.012 * spread(rng) * np.cos(3 * np.arctan2(y, x) + rng.uniform(0, 6))
    )

    def beyond(margin_mm: float) -> np.ndarray:
        u, v = x / (HALF_WIDTH_MM + margin_mm), y / (HALF_DEPTH_MM + 0.8 * margin_mm)
        return squared_radius(u * wave, v * wave, 0.0, TRUNK_SQUARENESS) * taper

    skin = WALL_MM + build.subcutaneous_mm
    whole = (slice(None),) * 3
    canvas.paint(whole, beyond(skin) < 1.0, 30.0, None)
    canvas.paint(whole, beyond(skin - 2.5) < 1.0, hu.fat, None)
    wall = beyond(WALL_MM) < 1.0
    canvas.paint(whole, wall, hu.muscle, None)
    cavity = beyond(0.0) < 1.0
    canvas.paint(whole, cavity, hu.fat + 9.0 * canvas.texture, None)
    _paint_ribs(canvas, wall & ~(beyond(3.0) < 1.0), hu, rng)
    _paint_lungs(canvas, cavity, hu, rng)


def _paint_ribs(canvas: Canvas, shell: np.ndarray, hu: Contrast, rng: RandomState) -> None:
    """Ribs run down from back to front through the wall; below the costal margin there are none."""
    x, y, z = (a.reshape([-1 if k == i else 1 for k in range(3)]) for i, a in enumerate(canvas.axes))
    along = (y + HALF_DEPTH_MM) / (2 * HALF_DEPTH_MM)  # 0 at the back, 1 at the front
    height = z + 105.0 * along
    margin = -52.0 + 92.0 * along + 6.0 * spread(rng)
    pitch = 25.0 + 1.5 * spread(rng)
    phase = np.abs((height + rng.uniform(0.0, pitch)) % pitch - pitch / 2)
    rib = shell & (phase < 5.2) & (z > margin) & (np.abs(x) > 28.0)
    whole = (slice(None),) * 3
    canvas.paint(whole, rib, hu.bone + 170.0, None)
    canvas.paint(whole, rib & (phase < 2.6), hu.bone, None)


def _paint_lungs(canvas: Canvas, cavity: np.ndarray, hu: Contrast, rng: RandomState) -> None:
    """Lung fills the cavity above a diaphragm of two domes, with heart and mediastinal fat between them."""
    x, y, z = (a.reshape([-1 if k == i else 1 for k in range(3)]) for i, a in enumerate(canvas.axes))
    right = 86.0 + 4.0 * spread(rng) - 0.0085 * ((x - 60.0) ** 2 + 1.1 * (y - 8.0) ** 2)
    left = 78.0 + 4.0 * spread(rng) - 0.0085 * ((x + 64.0) ** 2 + 1.1 * (y - 4.0) ** 2)
    middle = 79.0 - 0.010 * (x + 6.0) ** 2 - 0.006 * (y - 32.0) ** 2
    dome = np.maximum(np.maximum(right, left), middle)
    whole = (slice(None),) * 3
    muscle = cavity & (z > dome - 3.0)
    canvas.paint(whole, muscle, 60.0, None)
    canvas.paint(whole, cavity & (z > dome), -830.0 + 35.0 * canvas.texture, None)
    canvas.open = cavity & ~muscle
    mediastinum = muscle & (((x + 2.0) / 30.0) ** 2 + ((y + 12.0) / 50.0) ** 2 < 1.0)
    canvas.paint(whole, mediastinum, hu.fat + 10.0 * canvas.texture, None)
    heart = Ellipsoid(
        (-24.0 + 6.0 * spread(rng), 40.0, 116.0), (56.0, 42.0, 37.0 + 3.0 * spread(rng)), (20.0, 0.0, 0.0)
    )
    window, level = canvas.ellipsoid(heart)
    canvas.paint(window, (level < 1.15) & cavity[window], -95.0, None)
    canvas.paint(window, (level < 1.0) & cavity[window], 112.0 + 14.0 * canvas.texture[window], None)


def paint_spine(canvas: Canvas, build: Build, hu: Contrast, rng: RandomState) -> None:
    """Back and psoas muscles, the crura of the diaphragm, and vertebrae with discs, canal and processes."""
    for side in (1.0, -1.0):
        girth = build.muscle
        back = Tube(np.array([[side * 34.0, -84.0, z] for z in (-130.0, 0.0, 130.0)]), np.full(3, 19.0 * girth), 1.35)
        psoas = Tube(
            np.array([[side * x, -50.0, z] for x, z in ((24, 0.0), (31, -45.0), (38, -125.0))]),
            np.array([4.0, 11.0, 17.0]) * girth,
        )
        start = np.array([side * 15.0 - 5.0, -22.0, 70.0])
        crus = Tube(
            np.array([start, start - [side * 2.0, 5.0, 45.0], [side * 11.0 - 2.0, -34.0, -45.0]]),
            np.array([6.0, 5.0, 3.5]) + 0.7 * spread(rng),
        )
        for muscle in (back, psoas, crus):
            window, distance = canvas.tube(muscle)
            canvas.paint(window, distance < 0.0, hu.muscle + 5.0 * canvas.texture[window], None)
    _paint_vertebrae(canvas, hu, rng)


def _paint_vertebrae(canvas: Canvas, hu: Contrast, rng: RandomState) -> None:
    """Bodies with a dense rim between discs, a canal, laminae, spinous and transverse processes."""
    window = canvas.window(np.array([-40.0, -112.0, -200.0]), np.array([40.0, -30.0, 200.0]))
    x, y, z = canvas.coordinates(window)
    height = 33.0 + 1.5 * spread(rng)
    level = np.abs((z + rng.uniform(0.0, height)) % height - height / 2)  # 0 at mid-body, height / 2 in the disc
    disc = level > height / 2 - 3.5
    body = (x / 22.0) ** 2 + ((y + 53.0) / 17.0) ** 2
    canal = x**2 + (y + 79.0) ** 2
    spongy = hu.bone + 25.0 * canvas.texture[window]
    process = ((np.abs(x) < 3.5) & (y < -85.0) & (y > -104.0) & (level < 11.0)) | (
        (np.abs(y + 80.0) < 4.5) & (np.abs(x) < 33.0) & (level < 6.0)
    )
    canvas.paint(window, process | ((canal < 210.0) & (level < 13.0)), hu.bone + 180.0, None)
    canvas.paint(window, body < 1.0, np.where(disc, 95.0, hu.bone + 230.0), None)
    canvas.paint(window, (body < 0.78) & ~disc & (level < height / 2 - 5.5), spongy, None)
    canvas.paint(window, canal < 80.0, 32.0, None)
