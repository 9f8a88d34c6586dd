"""The solid organs, glands and vessels with BTCV's labels. Positions in mm: x to the right, y to the front, z up."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.random import RandomState

from medquanbench.phantoms.canvas import Canvas
from medquanbench.phantoms.fields import spread
from medquanbench.phantoms.patient import Build, Contrast
from medquanbench.phantoms.shapes import Ellipsoid, Tube


class Label(IntEnum):
    """The label indices of BTCV (MICCAI 2015 Beyond the Cranial Vault, abdomen)."""

    SPLEEN = 1
    RIGHT_KIDNEY = 2
    LEFT_KIDNEY = 3
    GALLBLADDER = 4
    ESOPHAGUS = 5
    LIVER = 6
    STOMACH = 7
    AORTA = 8
    INFERIOR_VENA_CAVA = 9
    PORTAL_AND_SPLENIC_VEINS = 10
    PANCREAS = 11
    RIGHT_ADRENAL_GLAND = 12
    LEFT_ADRENAL_GLAND = 13


def paint_tube(
    canvas: Canvas,
    path: np.ndarray,
    radii: np.ndarray,
    hu: float,
    label: int | None,
    *,
    flatten_y: float = 1.0,
    patchiness: float = 4.0,
) -> None:
    """A solid tube. patchiness: standard deviation of its texture in HU."""
    window, distance = canvas.tube(Tube(path, radii, flatten_y))
    canvas.paint(window, distance < 0.0, hu + patchiness * canvas.texture[window], label)


def paint_liver(canvas: Canvas, hu: Contrast, rng: RandomState) -> None:
    """Right lobe against the wall, left lobe of varying reach, cut below by a sloping surface; veins, cysts."""
    size = 1.0 + 0.04 * spread(rng)
    right = Ellipsoid(
        (60.0 + 3.0 * spread(rng), 0.0, 20.0),
        (67.0 * size, 86.0 * size, 80.0),
        (12.0 + 5.0 * spread(rng), 0.0, 0.0),
        0.15,
    )
    reach = 56.0 + 10.0 * spread(rng)
    left = Ellipsoid(
        (26.0 - 0.55 * reach, 42.0, 44.0 + 4.0 * spread(rng)),
        (reach, 34.0 + 3.0 * spread(rng), 30.0),
        (-8.0 + 5.0 * spread(rng), 0.0, 10.0 + 5.0 * spread(rng)),
    )
    tip, slope = -58.0 + 9.0 * spread(rng), 0.80 + 0.05 * spread(rng)
    window, level = canvas.ellipsoid(right)
    x, y, z = canvas.coordinates(window)
    level = np.where(z > tip + slope * (112.0 - x) - 0.35 * np.maximum(y, 0.0), level, np.inf)
    for where, surface in ((window, level), canvas.ellipsoid(left)):
        lobe = (surface < 1.0) & canvas.open[where]
        canvas.paint(where, lobe, hu.liver + 4.0 * canvas.texture[where], Label.LIVER)
    _paint_inside_liver(canvas, hu, rng)


def _paint_inside_liver(canvas: Canvas, hu: Contrast, rng: RandomState) -> None:
    """Hepatic veins running to the vena cava, portal branches, and in some patients cysts: all labelled liver."""
    cava = np.array([24.0, 4.0, 68.0])
    hilum = np.array([52.0, 12.0, 30.0])
    ends = [[98.0, -30.0, 40.0], [78.0, 40.0, 48.0], [0.0, 44.0, 52.0]]
    vessels = [(cava, np.array(e) + 8.0 * spread(rng, 3), 4.8) for e in ends]
    vessels += [(hilum, np.array(e) + 8.0 * spread(rng, 3), 4.5) for e in ([96.0, -20.0, 10.0], [84.0, 34.0, 20.0])]
    for start, end, radius in vessels:
        middle = (start + end) / 2 + 5.0 * spread(rng, 3)
        window, distance = canvas.tube(Tube(np.array([start, middle, end]), np.array([radius, 0.8 * radius, 2.5])))
        canvas.paint(window, (distance < 0.0) & (canvas.label[window] == Label.LIVER), hu.hepatic_vein, None)
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        centre = tuple(np.array([80.0, 0.0, 30.0]) + np.array([14.0, 22.0, 18.0]) * spread(rng, 3))
        cyst = Ellipsoid(centre, tuple(rng.uniform(6.0, 14.0, 3)))
        window, level = canvas.ellipsoid(cyst)
        canvas.paint(window, (level < 1.0) & (canvas.label[window] == Label.LIVER), rng.uniform(8.0, 65.0), None)


def paint_spleen(canvas: Canvas, hu: Contrast, rng: RandomState) -> None:
    """A crescent against the left wall behind the stomach, small or large."""
    size = 1.0 + 0.09 * spread(rng)
    shape = Ellipsoid(
        tuple(np.array([-94.0, -34.0, 27.0]) + 5.0 * spread(rng, 3)),
        tuple(np.array([22.0, 45.0, 50.0]) * size * (1.0 + 0.05 * spread(rng, 3))),
        (-22.0 + 7.0 * spread(rng), 14.0 + 8.0 * spread(rng), 5.0 * spread(rng)),
        0.1,
        -0.005 + 0.0015 * spread(rng),
    )
    window, level = canvas.ellipsoid(shape)
    canvas.paint(window, (level < 1.0) & canvas.open[window], hu.spleen + 4.0 * canvas.texture[window], Label.SPLEEN)


def paint_retroperitoneum(canvas: Canvas, hu: Contrast) -> None:
    """Fat around the great vessels and the adrenal glands, in front of the spine, over what reached into it."""
    window = canvas.window(np.array([-48.0, -90.0, -200.0]), np.array([48.0, 0.0, 200.0]))
    x, y, _ = canvas.coordinates(window)
    inside = (x / 45.0) ** 2 + ((y + 46.0) / 42.0) ** 2 < 1.0
    canvas.paint(window, inside & canvas.open[window], hu.fat + 6.0 * canvas.texture[window], 0)


def paint_kidney(canvas: Canvas, build: Build, hu: Contrast, rng: RandomState, side: float, label: int) -> None:
    """side: +1 right, -1 left (higher). Fat capsule, cortex, darker pyramids, fat and pelvis at the hilum."""
    centre = np.array([side * 60.0, -44.0, -29.0 if side > 0 else -14.0]) + np.array([4.0, 3.0, 6.0]) * spread(rng, 3)
    half = np.array([26.5, 23.5, 48.0]) * (1.0 + 0.06 * spread(rng)) * (1.0 + 0.04 * spread(rng, 3))
    turn = (side * (28.0 + 8.0 * spread(rng)), 6.0 * spread(rng), side * (12.0 + 5.0 * spread(rng)))
    capsule = Ellipsoid(tuple(centre + np.array([-side * 5.0, -4.0, 3.0])), tuple(half * build.perirenal), turn)
    window, level = canvas.ellipsoid(capsule)
    canvas.paint(window, (level < 1.0) & canvas.open[window], hu.fat + 6.0 * canvas.texture[window], 0)
    window, level = canvas.ellipsoid(Ellipsoid(tuple(centre), tuple(half), turn, 0.15))
    kidney = (level < 1.0) & canvas.open[window]
    texture = canvas.texture[window]
    canvas.paint(window, kidney, hu.kidney_cortex + 5.0 * texture, label)
    canvas.paint(window, kidney & (level < 0.55) & (texture > -0.4), hu.kidney_medulla, None)
    hilum = centre + np.array([-side * 17.0, 9.0, 0.0])
    window, level = canvas.ellipsoid(Ellipsoid(tuple(hilum), (15.0, 9.0, 19.0 + 2.0 * spread(rng)), turn))
    canvas.paint(window, level < 1.0, hu.fat + 8.0 * canvas.texture[window], 0)
    canvas.paint(window, level < 0.25, 25.0, 0)


def paint_pancreas(canvas: Canvas, hu: Contrast, rng: RandomState) -> None:
    """Head in the duodenal loop, neck before the portal vein, tail to the spleen; plump or atrophic, lobulated."""
    path = np.array(
        [
            [30.0, 14.0, -36.0],
            [30.0, 17.0, -18.0],
            [14.0, 24.0, -2.0],
            [-14.0, 22.0, 9.0],
            [-44.0, 8.0, 16.0],
            [-74.0, -12.0, 24.0],
        ]
    )
    path += np.array([3.0, 3.0, 5.0]) * spread(rng, 3) * np.array([0.3, 0.3, 0.5, 0.8, 1.0, 1.0])[:, None]
    path += 2.0 * spread(rng, (6, 3))
    radii = np.array([11.0, 15.0, 11.0, 11.5, 11.5, 9.5]) * (1.0 + 0.08 * spread(rng)) + 0.6 * spread(rng, 6)
    window, distance = canvas.tube(Tube(path, radii))
    texture = canvas.texture[window]
    canvas.paint(window, distance - 0.8 * texture < 0.0, hu.pancreas + 8.0 * texture, Label.PANCREAS)


def paint_gallbladder(canvas: Canvas, hu: Contrast, rng: RandomState) -> None:
    """A pear under the liver, its fundus towards the front wall, its neck towards the hilum."""
    path = np.array([[62.0, 50.0, -26.0], [55.0, 42.0, -12.0], [45.0, 28.0, 8.0]]) + 3.0 * spread(rng, 3)
    path[0] += 5.0 * spread(rng, 3)
    radii = np.array([13.5, 14.5, 7.5]) * (1.0 + 0.10 * spread(rng))
    window, distance = canvas.tube(Tube(path, radii))
    inside = (distance < 0.0) & canvas.open[window]
    canvas.paint(window, inside, 0.5 * (hu.gallbladder + hu.bowel_wall), Label.GALLBLADDER)
    canvas.paint(window, inside & (distance < -1.8), hu.gallbladder, None)


def paint_adrenals(canvas: Canvas, hu: Contrast, rng: RandomState) -> None:
    """Two limbs each, joined in front, on the upper poles of the kidneys; the right one behind the vena cava."""
    places = (
        (np.array([36.0, -34.0, 24.0]), 14.0, Label.RIGHT_ADRENAL_GLAND),
        (np.array([-34.0, -26.0, 31.0]), -14.0, Label.LEFT_ADRENAL_GLAND),
    )
    for mean, lean, label in places:
        apex = mean + np.array([2.0, 2.0, 3.0]) * spread(rng, 3)
        opening = 24.0 + 4.0 * spread(rng)
        for angle in (lean - opening, lean + opening):
            length, thickness = 11.0 + spread(rng), 3.9 + 0.25 * spread(rng)
            direction = np.array([np.sin(np.radians(angle)), -np.cos(np.radians(angle)), 0.0])
            limb = Ellipsoid(
                tuple(apex + 0.8 * length * direction), (thickness, length, 14.5 + spread(rng)), (angle, 0.0, 0.0), 0.3
            )
            window, level = canvas.ellipsoid(limb)
            canvas.paint(window, level < 1.0, hu.adrenal + 3.0 * canvas.texture[window], label)
