"""A partition of the cortex into gyri: cells around anatomically placed seeds, a little elsewhere in every patient."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.random import RandomState

from medquanbench.phantoms.fields import spread

SEEDS = Path(__file__).with_name("wholebrain_cortex.csv")
JITTER_MM = 1.5
FAR_SQUARED_MM2 = 1e9


@dataclass(frozen=True)
class Gyri:
    """The seeds of one hemisphere. position_mm: float64 (n, 3), x from the midplane outwards; gyrus: (n,) gyrus of
    each seed, counted from 0; label: (gyri,) label index."""

    position_mm: np.ndarray
    gyrus: np.ndarray
    label: np.ndarray


@cache
def gyri(right: bool) -> Gyri:
    """The seeds that ship with the package."""
    with SEEDS.open(encoding="ascii", newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["region"] for row in rows))
    index = {row["region"]: int(row["right" if right else "left"]) for row in rows}
    position = np.array([[float(row[axis]) for axis in ("x_mm", "y_mm", "z_mm")] for row in rows])
    return Gyri(position, np.array([names.index(row["region"]) for row in rows]), np.array([index[n] for n in names]))


def nearest_gyrus(points_mm: np.ndarray, right: bool, rng: RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Of each point (3, n), x outwards: the label of its gyrus and its distance in mm to the border with the next."""
    known = gyri(right)
    seeds = known.position_mm + JITTER_MM * spread(rng, known.position_mm.shape)
    n = points_mm.shape[1]
    squared = np.full((2, n), FAR_SQUARED_MM2)  # to the nearest seed, and to the nearest of another gyrus
    seed = np.zeros((2, n), np.int64)
    for gyrus in range(len(known.label)):
        best, at = np.full(n, FAR_SQUARED_MM2), np.zeros(n, np.int64)
        for k in np.flatnonzero(known.gyrus == gyrus):
            d = sum((p - s) ** 2 for p, s in zip(points_mm, seeds[k]))
            np.copyto(at, k, where=d < best)
            np.minimum(best, d, out=best)
        first = best < squared[0]
        second = ~first & (best < squared[1])
        squared[1], seed[1] = np.where(first, squared[0], squared[1]), np.where(first, seed[0], seed[1])
        np.copyto(squared[0], best, where=first)
        np.copyto(seed[0], at, where=first)
        np.copyto(squared[1], best, where=second)
        np.copyto(seed[1], at, where=second)
    apart = np.sqrt(((seeds[:, None] - seeds[None]) ** 2).sum(axis=2))
    border = (squared[1] - squared[0]) / (2.0 * np.maximum(apart[seed[0], seed[1]], 8.0))
    return known.label[known.gyrus[seed[0]]], border
