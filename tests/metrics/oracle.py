"""surface-distance, the package that NSD and HD95 must equal, and label maps on which they could differ from it."""

from __future__ import annotations

import numpy as np
import pytest

surface_distance = pytest.importorskip("surface_distance")

SPACINGS_MM = (0.5, 0.7, 0.8, 0.9765625, 0.98, 1.0, 1.5, 2.5, 2.5 / 0.98, 3.3, 5.0, float(np.float32(0.7)))


def nsd(reference, prediction, label, spacing_mm, tolerance_mm):
    """Of the whole arrays; empties by our policy, on which release 0.1 fails with NumPy 2."""
    r, p = reference == label, prediction == label
    if not r.any() or not p.any():
        return 0.0 if r.any() or p.any() else np.nan
    distances = surface_distance.compute_surface_distances(r, p, spacing_mm)
    return surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm)


def hausdorff_95(reference, prediction, label, spacing_mm):
    r, p = reference == label, prediction == label
    if not r.any() or not p.any():
        return np.inf if r.any() or p.any() else np.nan
    return surface_distance.compute_robust_hausdorff(surface_distance.compute_surface_distances(r, p, spacing_mm), 95)


def random_pair(generator, shape, labels):
    """Boxes and single voxels of labels, many cut by the border; the second map is shifted, gnawed at, or another."""
    maps = [np.zeros(shape, np.int64) for _ in range(2)]
    for label_map in maps:
        for label in labels:
            for _ in range(generator.integers(0, 3)):
                low = generator.integers(0, shape)
                high = low + generator.integers(1, 8, len(shape))
                label_map[tuple(slice(a, b) for a, b in zip(low, high))] = label
    change = generator.integers(4)
    if change < 2:
        maps[1] = np.roll(maps[0], generator.integers(-2, 3, len(shape)), tuple(range(len(shape))))
    if change == 1:
        maps[1][generator.random(shape) < 0.05] = 0
    if change == 2:
        maps = [generator.choice(np.append(labels, 0), shape) for _ in range(2)]
    return maps


def random_spacing(generator, n_axes):
    if generator.random() < 0.5:
        return (float(generator.choice(SPACINGS_MM)),) * n_axes
    return tuple(generator.choice(SPACINGS_MM, n_axes).tolist())


def random_tolerance(generator, spacing_mm):
    """Often just the length of a step on the grid, or next to it."""
    step = generator.integers(0, 6, len(spacing_mm)) * np.array(spacing_mm)
    length = float(np.sqrt(np.add.reduce(step**2)))
    choice = (0.0, spacing_mm[0], length, np.nextafter(length, 0), np.nextafter(length, 99), generator.uniform(0, 60))
    return float(generator.choice(choice))


def smooth_pair(generator, shape, n_labels):
    """Label maps full of large smooth structures; the prediction is the reference, shifted by some voxels."""
    from scipy import ndimage

    noise = ndimage.gaussian_filter(generator.normal(size=shape), 4)
    reference = np.digitize(noise, np.quantile(noise, np.arange(1, n_labels + 1) / (n_labels + 1)))
    return reference, np.roll(reference, generator.integers(-10, 11, len(shape)), tuple(range(len(shape))))
