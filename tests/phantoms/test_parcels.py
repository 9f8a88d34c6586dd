"""The partition of the cortex: a point belongs to the gyrus of its nearest seed, a little otherwise in each patient."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.random import RandomState

from medquanbench.phantoms.parcels import gyri, nearest_gyrus


class Still(RandomState):
    """A stream in which nobody differs from the mean."""

    def standard_normal(self, size=None):
        return np.zeros(size)


def points(n: int = 4000) -> np.ndarray:
    rng = RandomState(3)
    return rng.uniform([0.0, -100.0, -40.0], [65.0, 65.0, 75.0], (n, 3)).T


@pytest.mark.parametrize("right", [True, False])
def test_a_seed_lies_in_its_own_gyrus(right):
    known = gyri(right)
    label, border = nearest_gyrus(known.position_mm.T, right, Still(0))
    assert np.array_equal(label, known.label[known.gyrus]) and np.all(border > 0.0)


def test_every_point_belongs_to_its_nearest_seed():
    at, known = points(), gyri(True)
    distance = np.sqrt(((at.T[:, None] - known.position_mm[None]) ** 2).sum(axis=2))
    label, _ = nearest_gyrus(at, True, Still(0))
    assert np.array_equal(label, known.label[known.gyrus[distance.argmin(axis=1)]])


def test_a_border_lies_where_two_gyri_are_equally_near():
    at, known = points(), gyri(True)
    squared = ((at.T[:, None] - known.position_mm[None]) ** 2).sum(axis=2)
    per_gyrus = np.sort([squared[:, known.gyrus == g].min(axis=1) for g in range(len(known.label))], axis=0)
    _, border = nearest_gyrus(at, True, Still(0))
    assert np.all(border >= 0.0)
    close = border < 0.5
    assert close.any() and np.all(np.sqrt(per_gyrus[1][close]) - np.sqrt(per_gyrus[0][close]) < 4.0)


def test_between_two_seeds_the_border_is_a_plane_half_way():
    known = gyri(True)
    first, second = (known.position_mm[known.label[known.gyrus] == label][0] for label in (109, 103))
    share = np.linspace(0.35, 0.65, 31)
    line = first[:, None] + (second - first)[:, None] * share
    label, border = nearest_gyrus(line, True, Still(0))
    assert set(label[share < 0.499]) == {109} and set(label[share > 0.501]) == {103}
    np.testing.assert_allclose(border, np.abs(share - 0.5) * np.linalg.norm(second - first), atol=1e-9)


def test_left_and_right_have_the_same_seeds_and_neighbouring_indices():
    right, left = gyri(True), gyri(False)
    assert np.array_equal(right.position_mm, left.position_mm) and np.array_equal(right.label + 1, left.label)
    assert right.position_mm[:, 0].min() > 0.0


def test_a_patient_moves_the_borders_and_a_seed_of_the_generator_fixes_them():
    one, again, other = (nearest_gyrus(points(), True, RandomState(seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(one, again) and 0.02 < np.mean(one != other) < 0.2
