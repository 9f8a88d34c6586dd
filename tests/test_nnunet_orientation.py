"""Readers' turns: there and back is nothing, and the network's grid is where nnU-Net's own arrays lie."""

from __future__ import annotations

import itertools

import nibabel
import numpy as np
import pytest

from medquanbench.images import Grid
from medquanbench.nnunet_orientation import inverse, network_grid

SIDES = ["".join(sides) for axes in itertools.permutations(("RL", "AP", "SI")) for sides in itertools.product(*axes)]


@pytest.mark.parametrize("sides", SIDES)
def test_an_orientation_and_its_inverse_are_nothing(sides):
    array = np.arange(24).reshape(2, 3, 4)
    turn = nibabel.orientations.axcodes2ornt(sides)
    there = nibabel.orientations.apply_orientation(array, turn)
    assert np.array_equal(nibabel.orientations.apply_orientation(there, inverse(turn)), array)


def test_a_grid_by_hand():
    """8 x 6 x 4 voxels of 1 x 2 x 3 mm, read as they are; of their z, y, x the box 0:4, 2:6, 4:8 becomes 4 x 2 x 8."""
    image = Grid((8, 6, 4), np.diag([1.0, 2.0, 3.0, 1.0]))
    turn = nibabel.orientations.axcodes2ornt("RAS")
    grid = network_grid(image, turn, (0, 1, 2), [[0, 4], [2, 6], [4, 8]], (4, 4, 4), (4, 2, 8))
    assert grid.shape == (4, 2, 8)
    # z: voxels of 3 mm from 0; y: pairs of voxels, 4 mm, the first about voxels 2 and 3, that is 5 mm; x: halves of
    # voxels, 0.5 mm, the first a quarter of a voxel before voxel 4.
    expected = [[0, 0, 0.5, 3.75], [0, 4, 0, 5], [3, 0, 0, 0], [0, 0, 0, 1]]
    assert np.allclose(grid.affine, expected)
