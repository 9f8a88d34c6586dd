"""Surfaces of all labels at once: against one label after the other, whatever the memory layout and the slabs."""

import numpy as np
import pytest

from medquanbench.metrics import surface
from medquanbench.metrics.surface import boundary_voxels, corner_surfaces


def corners_of(mask):
    """Corner and neighbour code by shifting the padded mask: {place: code}."""
    padded = np.pad(mask.astype(int), 1)
    code = np.zeros(np.array(mask.shape) + 1, int)
    for back in np.ndindex(*(2,) * mask.ndim):
        code = code * 2 + padded[tuple(slice(b, b + n) for b, n in zip(back, code.shape))]
    mixed = (code > 0) & (code < 2**2**mask.ndim - 1)
    return {tuple(place): int(code[tuple(place)]) for place in np.argwhere(mixed).tolist()}


def found(surfaces, i):
    places = np.stack(surfaces.indices_of(i), axis=1).tolist()
    return dict(zip(map(tuple, places), surfaces.codes_of(i).tolist(), strict=True))


@pytest.mark.parametrize("shape", [(7, 6, 5), (1, 1, 1), (9, 4), (1, 8), (2, 1, 6)])
@pytest.mark.parametrize("labels", [(1, 2, 3), (0, 2), (-5, 0, 300), (2**40, 2**41)])
@pytest.mark.parametrize("slab", [1, 100, 1 << 20])
def test_equals_one_label_after_the_other(monkeypatch, shape, labels, slab):
    monkeypatch.setattr(surface, "_SLAB", slab)
    generator = np.random.default_rng(0)
    label_map = generator.choice(np.array([*labels, 0, 4]), shape)
    for layout in (label_map, np.asfortranarray(label_map), np.pad(label_map, 1)[(slice(1, -1),) * len(shape)]):
        surfaces = corner_surfaces(layout, labels)
        for i, label in enumerate(labels):
            assert found(surfaces, i) == corners_of(label_map == label)


def test_an_empty_map_and_no_labels():
    assert corner_surfaces(np.zeros((0, 3), int), (1,)).codes_of(0).size == 0
    assert corner_surfaces(np.ones((2, 3), int), ()).places.size == 0
    assert boundary_voxels(np.zeros((3, 0, 2), int), (1,)).codes_of(0).size == 0


@pytest.mark.parametrize("slab", [1, 1 << 20])
def test_boundary_voxels_are_those_an_erosion_removes(monkeypatch, slab):
    from scipy import ndimage

    monkeypatch.setattr(surface, "_SLAB", slab)
    label_map = np.random.default_rng(1).integers(0, 3, (4, 5, 3)).repeat(3, 0).repeat(3, 1).repeat(3, 2)
    for layout in (label_map, np.asfortranarray(label_map)):
        surfaces = boundary_voxels(layout, (0, 1, 2))
        for label in range(3):
            mask = label_map == label
            expected = np.argwhere(mask ^ ndimage.binary_erosion(mask)).tolist()
            assert sorted(found(surfaces, label)) == sorted(map(tuple, expected))
