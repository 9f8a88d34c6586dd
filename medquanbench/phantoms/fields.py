"""Random numbers and smooth random fields.

All that is random comes from `numpy.random.RandomState`: NumPy's policy (NEP 19) freezes its stream, so a seed keeps
its meaning across NumPy versions, which `default_rng` does not promise. Arithmetic is float64 and avoids BLAS: what
machines round differently is the last bit of a number, and the chance that it shows in a volume of a few hundred
thousand integers is about one in a million.
"""

from __future__ import annotations

import numpy as np
from numpy.random import RandomState


def spread(rng: RandomState, size: int | tuple[int, ...] | None = None) -> np.ndarray | float:
    """Standard normal draws, cut off at two standard deviations so that no anatomy becomes impossible."""
    return np.clip(rng.standard_normal(size), -2.0, 2.0)


def cubic_taps(n_controls: int, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and weights, both (4, n_samples), of the uniform cubic B-spline at samples spread over the knots."""
    position = np.linspace(0.0, n_controls - 3.0, n_samples, endpoint=False)
    first = position.astype(np.int64)
    t = position - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6.0
    return first + np.arange(4)[:, None], weights


def refine(controls: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The tensor-product cubic B-spline of these control values, float64 of `shape`; last axis first, the cheapest."""
    field = controls
    for axis in (2, 1, 0):
        index, weight = cubic_taps(field.shape[axis], shape[axis])
        lane = [1, 1, 1]
        lane[axis] = shape[axis]
        total = np.take(field, index[0], axis=axis) * weight[0].reshape(lane)
        for tap in range(1, 4):
            total += np.take(field, index[tap], axis=axis) * weight[tap].reshape(lane)
        field = total
    return field


def control_shape(extent_mm: tuple[float, float, float], knot_mm: float) -> tuple[int, int, int]:
    """How many control values cover a box when the knots lie about `knot_mm` apart."""
    x, y, z = (int(round(e / knot_mm)) + 3 for e in extent_mm)
    return x, y, z


# A cubic B-spline averages its control values; on the average over a cell this is what is left of their deviation.
SPLINE_SHRINKAGE = 0.33


def smooth_controls(rng: RandomState, extent_mm: tuple[float, float, float], knot_mm: float) -> np.ndarray:
    """Control values of a random field that, once refined, has a standard deviation of about one."""
    return rng.standard_normal(control_shape(extent_mm, knot_mm)) / SPLINE_SHRINKAGE
