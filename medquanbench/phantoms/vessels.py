"""The great vessels, the portal system, the esophagus, and small vessels that carry no label."""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState

from medquanbench.phantoms.canvas import Canvas
from medquanbench.phantoms.fields import spread
from medquanbench.phantoms.organs import Label, paint_tube
from medquanbench.phantoms.patient import Contrast


def paint_great_vessels(canvas: Canvas, hu: Contrast, rng: RandomState) -> None:
    """Aorta before and left of the spine, vena cava right of it and through the liver, renal and mesenteric vessels."""
    aorta = np.array([[-13.0, -24.0, 130.0], [-12.0, -23.0, 60.0], [-9.0, -24.0, 0.0], [-7.0, -25.0, -130.0]])
    aorta[:, :2] += 2.0 * spread(rng, 2) + 1.5 * spread(rng, (4, 2))
    cava = np.array(
        [[20.0, -22.0, -130.0], [22.0, -17.0, -25.0], [26.0, -10.0, 30.0], [24.0, 2.0, 68.0], [20.0, 14.0, 115.0]]
    )
    cava[:, :2] += 2.0 * spread(rng, 2) + 1.5 * spread(rng, (5, 2))
    left_renal = np.array([[-32.0, -36.0, -12.0], [-16.0, -10.0, -12.0], [4.0, -9.0, -13.0], [20.0, -14.0, -14.0]])
    paint_tube(canvas, left_renal, np.full(4, 4.2), hu.vena_cava, None)
    paint_tube(canvas, np.array([[40.0, -40.0, -28.0], [22.0, -18.0, -22.0]]), np.full(2, 4.2), hu.vena_cava, None)
    paint_tube(canvas, aorta, np.full(4, 10.8 + 0.9 * spread(rng)), hu.aorta, Label.AORTA)
    paint_tube(
        canvas,
        cava,
        np.array([11.5, 12.0, 12.5, 12.5, 13.0]) + 0.9 * spread(rng),
        hu.vena_cava,
        Label.INFERIOR_VENA_CAVA,
        flatten_y=1.25 + 0.15 * spread(rng),
    )
    paint_tube(
        canvas, np.array([[-8.0, -14.0, 4.0], [-5.0, 2.0, -20.0], [0.0, 14.0, -90.0]]), np.full(3, 3.6), hu.aorta, None
    )
    paint_tube(
        canvas, np.array([[9.0, 9.0, -10.0], [9.0, 12.0, -40.0], [8.0, 18.0, -110.0]]), np.full(3, 5.4), hu.portal, None
    )


def paint_portal_system(canvas: Canvas, hu: Contrast, rng: RandomState) -> None:
    """The splenic vein behind the pancreas from the splenic hilum, and the portal vein up to the hilum of the liver."""
    shift = 2.0 * spread(rng, 3)
    radius = 1.0 + 0.06 * spread(rng)
    portal = np.array([[8.0, 8.0, -6.0], [24.0, 12.0, 12.0], [42.0, 12.0, 26.0], [56.0, 10.0, 33.0]]) + shift
    portal[1:] += 2.0 * spread(rng, (3, 3))
    splenic = np.array([[8.0, 8.0, -4.0], [-16.0, 8.0, 9.0], [-46.0, -6.0, 16.0], [-82.0, -26.0, 26.0]])
    splenic += shift * np.array([1.0, 0.7, 0.4, 0.2])[:, None]
    splenic[1:] += 2.0 * spread(rng, (3, 3))
    paint_tube(canvas, splenic, np.array([6.2, 5.7, 5.6, 5.4]) * radius, hu.portal, Label.PORTAL_AND_SPLENIC_VEINS)
    paint_tube(canvas, portal, np.array([6.6, 6.8, 6.6, 6.0]) * radius, hu.portal, Label.PORTAL_AND_SPLENIC_VEINS)


def paint_esophagus(canvas: Canvas, hu: Contrast, rng: RandomState) -> None:
    """Before the aorta down through the hiatus to the cardia of the stomach; in some patients with air inside."""
    path = np.array([[-6.0, -3.0, 130.0], [-8.0, -2.0, 88.0], [-14.0, 2.0, 66.0], [-24.0, 6.0, 54.0]])
    path[:, :2] += 2.0 * spread(rng, 2) + 1.5 * spread(rng, (4, 2))
    radius = 8.6 + 0.5 * spread(rng)
    paint_tube(canvas, path, np.full(4, radius), hu.esophagus, Label.ESOPHAGUS)
    if rng.uniform() < 0.4:
        paint_tube(canvas, path[:2], np.full(2, 2.6), -500.0, None, patchiness=0.0)
