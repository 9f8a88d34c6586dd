"""The answer lies exactly over the image, however the file is turned."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from medquanbench.images import Grid
from medquanbench.restore import restore_labels
from medquanbench.values import RequestError

SOURCE = Grid((6, 5, 4), np.diag([2.0, 3.0, 4.0, 1.0]))
LABELS = np.arange(1, 121).reshape(6, 5, 4).astype(np.uint16)


def test_same_grid_changes_nothing():
    assert np.array_equal(restore_labels(LABELS, SOURCE, SOURCE), LABELS)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_turned_and_flipped_grids_show_the_same_world(order, signs):
    """Law: every target voxel has the label of the source voxel at the same place in the world."""
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for axis, (along, sign) in enumerate(zip(order, signs)):
        turn[along, axis] = sign
        if sign < 0:
            turn[along, 3] = SOURCE.shape[along] - 1
    target = Grid(tuple(SOURCE.shape[along] for along in order), SOURCE.affine @ turn)
    restored = restore_labels(LABELS, SOURCE, target)
    for voxel in np.ndindex(target.shape):
        place = np.rint(np.linalg.inv(SOURCE.affine) @ target.affine @ [*voxel, 1])[:3].astype(int)
        assert restored[voxel] == LABELS[tuple(place)]


def test_other_spacing_takes_the_nearest_and_outside_is_background():
    target = Grid((12, 5, 6), np.array([[1, 0, 0, 0.1], [0, 3, 0, 0], [0, 0, 4, -4], [0, 0, 0, 1.0]]))
    restored = restore_labels(LABELS, SOURCE, target)
    for voxel in np.ndindex(target.shape):
        place = np.rint(np.linalg.inv(SOURCE.affine) @ target.affine @ [*voxel, 1])[:3].astype(int)
        inside = all(0 <= p < n for p, n in zip(place, SOURCE.shape))
        assert restored[voxel] == (LABELS[tuple(place)] if inside else 0)


def test_oblique_grids_are_refused():
    tilted = SOURCE.affine.copy()
    tilted[0, 1] = 0.5
    with pytest.raises(RequestError, match="axes are oblique to the file's"):
        restore_labels(LABELS, SOURCE, Grid((6, 5, 4), tilted))


def test_rounding_in_an_affine_is_no_tilt():
    """Orientations are often stored with four digits: turned by 0.00005, 1000 voxels end 0.05 voxels beside."""
    rounded, large = np.eye(4), np.zeros((4, 3, 1000), np.uint16)
    rounded[0, 2] = 5e-5
    large[1] = 7
    assert np.array_equal(restore_labels(large, Grid(large.shape, np.eye(4)), Grid(large.shape, rounded)), large)
