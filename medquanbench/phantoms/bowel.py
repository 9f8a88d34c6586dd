"""Stomach, duodenum, colon and small bowel: a wall around gas, fluid and food. Only the stomach carries a label."""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState

from medquanbench.phantoms.canvas import Canvas
from medquanbench.phantoms.fields import spread
from medquanbench.phantoms.patient import Contrast
from medquanbench.phantoms.shapes import Tube

GAS_HU, FLUID_HU = -820.0, 18.0


def paint_hollow(
    canvas: Canvas, tube: Tube, wall_mm: float, gas_share: float, filling: float, hu: Contrast, label: int | None
) -> None:
    """A wall around contents that lie in layers, gas in front as in a patient on the back.

    gas_share: 0 no gas, 1 all gas, by depth of the lumen. filling: 0 clear fluid, 1 dense, patchy food.
    """
    window, distance = canvas.tube(tube)
    inside = (distance < 0.0) & canvas.open[window]
    texture = canvas.texture[window]
    canvas.paint(window, inside, hu.bowel_wall + 6.0 * texture, label)
    lumen = inside & (distance < -wall_mm)
    if not lumen.any():
        return
    front = canvas.at[1][window][lumen]
    surface = np.quantile(front, 1.0 - gas_share)
    contents = FLUID_HU + filling * (38.0 + 30.0 * texture)
    canvas.paint(window, lumen, contents, None)
    if gas_share > 0.0:
        canvas.paint(window, lumen & (canvas.at[1][window] > surface), GAS_HU, None)


def paint_bowel(canvas: Canvas, hu: Contrast, rng: RandomState) -> None:
    """Loops of small bowel, the colon around them, the duodenum: what organs must be told apart from."""
    for _ in range(rng.randint(11, 18)):
        centre = np.array([rng.uniform(-85.0, 72.0), rng.uniform(0.0, 66.0), rng.uniform(-105.0, -38.0)])
        path = (
            centre
            + np.array([[-22.0, 0.0, 0.0], [-7.0, 6.0, 4.0], [8.0, -5.0, 4.0], [22.0, 4.0, -5.0]])
            * (1.0 + 0.3 * spread(rng))
            + 6.0 * spread(rng, (4, 3))
        )
        loop = Tube(path, np.full(4, rng.uniform(8.5, 12.5)))
        paint_hollow(canvas, loop, 3.0, max(rng.uniform(-0.5, 0.35), 0.0), rng.uniform(0.2, 1.3), hu, None)
    radius = 17.0 + 3.0 * spread(rng)
    colon = np.array(
        [
            [98.0, -12.0, -125.0],
            [98.0, -2.0, -82.0],
            [88.0, 18.0, -66.0],
            [58.0, 52.0, -66.0],
            [10.0, 68.0, -64.0],
            [-38.0, 66.0, -48.0],
            [-86.0, 34.0, -22.0],
            [-102.0, 2.0, -12.0],
            [-104.0, -22.0, -55.0],
            [-102.0, -24.0, -125.0],
        ]
    ) + 4.5 * spread(rng, (10, 3))
    paint_hollow(canvas, Tube(colon, np.full(10, radius)), 3.0, rng.uniform(0.1, 0.7), rng.uniform(0.4, 1.2), hu, None)
    duodenum = np.array(
        [
            [18.0, 46.0, -8.0],
            [38.0, 38.0, -10.0],
            [48.0, 24.0, -24.0],
            [44.0, 14.0, -50.0],
            [20.0, 6.0, -62.0],
            [-18.0, 4.0, -56.0],
        ]
    ) + 2.5 * spread(rng, (6, 3))
    duodenal = Tube(duodenum, np.full(6, 10.5 + 1.0 * spread(rng)))
    paint_hollow(canvas, duodenal, 3.0, 0.0, rng.uniform(0.1, 1.0), hu, None)


def paint_stomach(canvas: Canvas, hu: Contrast, rng: RandomState, label: int) -> None:
    """From the cardia over the fundus under the left dome down to the pylorus; empty and thick-walled, or distended."""
    fullness = 1.0 + 0.11 * spread(rng)
    path = np.array(
        [
            [-20.0, 4.0, 54.0],
            [-56.0, -6.0, 56.0],
            [-70.0, 14.0, 38.0],
            [-62.0, 38.0, 10.0],
            [-34.0, 54.0, -10.0],
            [-6.0, 52.0, -12.0],
            [16.0, 46.0, -8.0],
        ]
    )
    path += np.array([6.0, 4.0, 4.0]) * spread(rng, 3) * np.array([0.2, 0.7, 1.0, 1.2, 1.2, 1.0, 0.4])[:, None]
    path += 3.0 * spread(rng, (7, 3))
    radii = np.array([13.0, 29.0, 30.0, 26.0, 21.0, 16.0, 11.0]) * fullness
    paint_hollow(
        canvas,
        Tube(path, radii),
        4.5 - 1.5 * (fullness - 1.0) / 0.11,
        rng.uniform(0.0, 0.4),
        rng.uniform(0.0, 1.2),
        hu,
        label,
    )
