"""Label-flip rates: laws, hand-made flips, and the boundary zone against a Euclidean distance transform."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medquanbench.metrics.agreement import flip_rates

ONE_MM = (1.0, 1.0, 1.0)


def blobs(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.normal(size=shape), 1.5)
    return np.digitize(smooth, np.quantile(smooth, (0.6, 0.75, 0.9))).astype(np.uint16)


def boundary(label_map: np.ndarray) -> np.ndarray:
    """Voxels of whose face neighbours one has another label: by the smallest and largest around each."""
    cross = ndimage.generate_binary_structure(label_map.ndim, 1)
    low, high = (
        extreme(label_map, footprint=cross, mode="nearest")
        for extreme in (ndimage.minimum_filter, ndimage.maximum_filter)
    )
    return low != high


def test_equal_answers_flip_nothing():
    answer = blobs(0, (12, 13, 14))
    assert flip_rates(answer, answer.astype(np.int64), ONE_MM) == (0, 0)


def test_flips_by_hand():
    """A row of 20 voxels, the structure 8..15; boundary voxels 7, 8, 15 and 16; 3 mm around them 4..11 and 12..19."""
    row = np.zeros((20, 1, 1), np.uint8)
    row[8:16] = 1
    other = row.copy()
    other[0], other[9], other[15] = 2, 2, 0  # far background, inside, at the boundary
    assert flip_rates(row, other, ONE_MM) == (3 / 9, 2 / 16)
    assert flip_rates(row, other, ONE_MM, boundary_mm=0) == (3 / 9, 1 / 4)
    assert flip_rates(row, other, (2.0, 1.0, 1.0)) == (3 / 9, 2 / 8), "within 3 mm lies one voxel: 6..9, 14..17"


def test_background_that_both_agree_on_does_not_count():
    small, large = np.zeros((6, 6, 6), np.uint8), np.zeros((60, 60, 60), np.uint8)
    small[2:4, 2:4, 2:4] = large[2:4, 2:4, 2:4] = 1
    flipped = small.copy(), large.copy()
    for one in flipped:
        one[3, 3, 3] = 0
    assert flip_rates(small, flipped[0], ONE_MM)[0] == flip_rates(large, flipped[1], ONE_MM)[0] == 1 / 8


def test_the_overall_rate_does_not_know_which_answer_is_which():
    one, other = blobs(1, (9, 8, 7)), blobs(2, (9, 8, 7))
    assert flip_rates(one, other, ONE_MM)[0] == flip_rates(other, one, ONE_MM)[0] > 0


def test_where_there_is_nothing_there_is_no_rate():
    empty, full = np.zeros((4, 4, 4), np.uint8), np.ones((4, 4, 4), np.uint8)
    assert flip_rates(empty, empty, ONE_MM) == (None, None)
    assert flip_rates(full, full, ONE_MM) == (0, None), "one label everywhere has no boundary"
    assert flip_rates(empty, full, ONE_MM) == (1, None)


@pytest.mark.parametrize("spacing_mm", [ONE_MM, (0.7, 1.5, 4.0), (5.0, 0.8, 0.8), (0.75, 0.75, 0.75), (4.0, 4.0, 4.0)])
@pytest.mark.parametrize("shape", [(16, 15, 14), (2, 20, 20), (20, 3, 1)])
def test_the_zone_is_that_of_a_euclidean_distance_transform(spacing_mm, shape):
    one, other = blobs(3, shape), blobs(4, shape)
    near = ndimage.distance_transform_edt(~boundary(one), spacing_mm) <= 3
    assert near.any()
    assert flip_rates(one, other, spacing_mm)[1] == np.count_nonzero((one != other) & near) / np.count_nonzero(near)


def test_the_zone_reaches_beyond_the_foreground_and_ends_at_the_image():
    one = np.zeros((15, 15, 15), np.uint16)
    one[0:3, 6:9, 6:9] = 5
    other = one.copy()
    other[1, 1:14, 7] = 9
    near = ndimage.distance_transform_edt(~boundary(one)) <= 3
    assert not near.all() and near[1, 2, 7] and not near[1, 1, 7]
    assert flip_rates(one, other, ONE_MM)[1] == np.count_nonzero((one != other) & near) / np.count_nonzero(near)


def test_a_spacing_a_hair_off_has_the_same_zone():
    one, other = blobs(5, (14, 14, 14)), blobs(6, (14, 14, 14))
    assert flip_rates(one, other, (1.0000000001, 1.0, 0.9999999999)) == flip_rates(one, other, ONE_MM)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"answer": np.zeros((2, 2, 3), np.uint8)}, "on one grid"),
        ({"answer": np.zeros((2, 2, 2))}, "label map of integers"),
        ({"spacing_mm": (1.0, 1.0)}, "one for each axis"),
        ({"boundary_mm": -1}, "at least 0"),
    ],
)
def test_what_cannot_be_is_refused(change, words):
    given = {"float_answer": np.ones((2, 2, 2), np.uint8), "answer": np.ones((2, 2, 2), np.uint8), "spacing_mm": ONE_MM}
    with pytest.raises(ValueError, match=words):
        flip_rates(**(given | change))
