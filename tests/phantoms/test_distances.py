"""The distances that heads are made of, held to shapes whose distance is known."""

from __future__ import annotations

import numpy as np
import pytest

from medquanbench.phantoms.distances import ellipsoid, join, sheet_distance, slab, tube
from medquanbench.phantoms.shapes import Tube

AT = tuple(np.meshgrid(*[np.linspace(-20.0, 20.0, 21)] * 3, indexing="ij"))


def test_an_ellipsoid_with_equal_axes_is_a_sphere():
    radius = np.sqrt((AT[0] - 3.0) ** 2 + AT[1] ** 2 + (AT[2] + 2.0) ** 2)
    np.testing.assert_allclose(ellipsoid(AT, (3.0, 0.0, -2.0), (7.0, 7.0, 7.0)), radius - 7.0, atol=1e-3)


def test_an_ellipsoid_ends_at_its_half_axes_and_nowhere_is_steeper_than_a_distance_near_its_surface():
    ends = tuple(np.array(v, float) for v in ([5.0, 0.0, 0.0, -5.0], [0.0, 9.0, 0.0, 0.0], [0.0, 0.0, 14.0, 0.0]))
    np.testing.assert_allclose(ellipsoid(ends, (0.0, 0.0, 0.0), (5.0, 9.0, 14.0)), 0.0, atol=1e-9)
    beyond = tuple(np.array(v) for v in ([5.5, 0.0, 0.0], [0.0, 9.5, 0.0], [0.0, 0.0, 14.5]))
    np.testing.assert_allclose(ellipsoid(beyond, (0.0, 0.0, 0.0), (5.0, 9.0, 14.0)), 0.5, atol=1e-4)


def test_turning_an_ellipsoid_by_ninety_degrees_exchanges_its_axes():
    turned = ellipsoid(AT, (0.0, 0.0, 0.0), (5.0, 9.0, 14.0), (90.0, 0.0, 0.0))
    np.testing.assert_allclose(turned, ellipsoid(AT, (0.0, 0.0, 0.0), (9.0, 5.0, 14.0)), atol=1e-9)


def test_a_straight_tube_is_as_far_as_its_axis_less_its_radius():
    path = np.array([[0.0, 0.0, -60.0], [0.0, 0.0, 0.0], [0.0, 0.0, 60.0]])
    distance = tube(AT, Tube(path, np.full(3, 4.0)))
    np.testing.assert_allclose(distance, np.sqrt(AT[0] ** 2 + AT[1] ** 2) - 4.0, atol=1e-9)


def test_a_join_is_the_union_away_from_the_crease_and_fills_it_by_a_quarter_of_the_blend():
    one, other = AT[0] - 4.0, AT[1] - 4.0
    joined, union = join(one, other, 6.0), np.minimum(one, other)
    far = np.abs(one - other) >= 6.0
    assert far.any() and np.array_equal(joined[far], union[far])
    assert np.all(joined <= union) and (union - joined).max() == pytest.approx(6.0 / 4.0)
    np.testing.assert_array_equal(joined, join(other, one, 6.0))


def test_a_slab_is_as_thick_as_told():
    inside = slab(AT[0], 3.0) < 0.0
    assert np.array_equal(inside, np.abs(AT[0]) < 3.0)


def test_the_distance_to_a_sheet_has_the_sign_of_the_field_and_never_grows_faster_than_a_distance():
    plane = 17.0 * (0.6 * AT[0] + 0.8 * AT[1])  # whatever the field's unit, the answer is in mm
    distance = sheet_distance(plane, 2.0)
    assert np.array_equal(np.sign(distance), np.sign(plane))
    ratio = distance[plane != 0] / (plane[plane != 0] / 17.0)
    np.testing.assert_allclose(ratio, 1.0 / np.sqrt(1.25), atol=1e-9)  # the floor under a weak gradient costs a tenth
