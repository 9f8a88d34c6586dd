"""Areas of surface elements: by hand, and those of surface-distance to the last bit."""

import json

import numpy as np
import pytest

from medquanbench.metrics import surfel_area
from medquanbench.metrics.surfel_area import surfel_areas


def test_the_shipped_tables_are_those_of_surface_distance():
    tables = pytest.importorskip("surface_distance.lookup_tables")
    shipped = json.loads(surfel_area._FILE.read_text())["normals"]
    own = [[normal for normal in code if any(normal)] for code in tables._NEIGHBOUR_CODE_TO_NORMALS]
    assert shipped == own
    for spacing in np.random.default_rng(0).uniform(0.3, 6, (50, 3)).tolist():
        expected = tables.create_table_neighbour_code_to_surface_area(spacing)
        np.testing.assert_array_equal(surfel_areas(tuple(spacing)), expected)
        expected = tables.create_table_neighbour_code_to_contour_length(spacing[:2])
        np.testing.assert_array_equal(surfel_areas(tuple(spacing[:2])), expected)


def test_a_plane_has_the_area_of_a_voxel_face():
    """The four voxels before a corner on one axis, and none behind: a face of a voxel lies around the corner."""
    areas = surfel_areas((2.0, 3.0, 5.0))
    assert [areas[0b11110000], areas[0b11001100], areas[0b10101010]] == [15.0, 10.0, 6.0]
    assert [areas[0], areas[255]] == [0.0, 0.0] and (areas[1:255] > 0).all()


def test_inside_out_a_contour_is_as_long():
    lengths = surfel_areas((2.0, 3.0))
    np.testing.assert_array_equal(lengths, lengths[::-1])
    assert [lengths[0b1100], lengths[0b1010]] == [3.0, 2.0]
