"""How much surface stands for a voxel corner, by which of the voxels around it are in the structure.

surfels.json holds, for every neighbour code, the normals of its marching-cubes triangles (Lorensen and Cline, 1987),
whose lengths are their areas at 1 mm, and in 2-D its pieces of contour. Both are those of
google-deepmind/surface-distance (Apache-2.0, Copyright 2018 Google Inc.), so that the numbers are too.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FILE = Path(__file__).with_name("surfels.json")


@functools.lru_cache(maxsize=2)
def _pieces(table: str) -> tuple[tuple[tuple[float, ...], ...], NDArray[np.intp]]:
    """The few pieces, without signs, that all codes are made of, and the numbers of those of each code.

    intp[codes, most pieces]; piece 0 has no size and fills the rows up.
    """
    codes = json.loads(_FILE.read_text(encoding="utf-8"))[table]
    known = {(0.0,) * (3 if table == "normals" else 2): 0}
    rows = [[known.setdefault(tuple(map(abs, piece)), len(known)) for piece in code] for code in codes]
    longest = max(map(len, rows))
    return tuple(known), np.array([row + [0] * (longest - len(row)) for row in rows])


@functools.lru_cache(maxsize=16)
def surfel_areas(spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """The area in mm2 of every neighbour code, float64[256]; for two spacings the length in mm, float64[16].

    spacing_mm: in the order of the array's axes, as the codes are.
    """
    size, table = {2: (_length, "contours"), 3: (_area, "normals")}[len(spacing_mm)]
    pieces, numbers = _pieces(table)
    sizes = np.array([size(piece, spacing_mm) for piece in pieces])
    areas = functools.reduce(np.add, sizes[numbers].T)
    areas.setflags(write=False)
    return areas


def _area(normal: tuple[float, ...], spacing_mm: tuple[float, ...]) -> float:
    a, b, c = spacing_mm
    return float(np.linalg.norm(np.array([normal[0] * b * c, normal[1] * a * c, normal[2] * a * b])))


def _length(contour: tuple[float, ...], spacing_mm: tuple[float, ...]) -> float:
    return math.sqrt(sum((part * spacing) ** 2 for part, spacing in zip(contour, spacing_mm, strict=True)))
