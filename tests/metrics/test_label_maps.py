"""Counting voxels, whatever the label map's type and the labels' values."""

import numpy as np
import pytest

from medquanbench.metrics import volumes
from medquanbench.metrics.label_maps import overlap_counts


def test_volumes_by_hand():
    assert volumes([[0, 1, 1], [2, 1, 0]], [2, 1, 5, 0]).tolist() == [1, 3, 0, 2]
    assert volumes(np.array([[True, False], [True, True]]), [1]).tolist() == [3]


def test_volumes_are_whole_numbers_and_follow_repeated_labels():
    counts = volumes(np.zeros((3, 4), np.uint8), [0, 0, 1])
    assert counts.dtype == np.int64
    assert counts.tolist() == [12, 12, 0]


def test_volumes_tell_lost_from_hallucinated_structures():
    reference, prediction = np.array([1, 1, 0]), np.array([0, 2, 2])
    n_reference, n_prediction = volumes(reference, [1, 2]), volumes(prediction, [1, 2])
    assert ((n_reference > 0) & (n_prediction == 0)).tolist() == [True, False]
    assert ((n_reference == 0) & (n_prediction > 0)).tolist() == [False, True]


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", ">i2", ">i4"])
def test_every_integer_type_counts_as_equality_does(dtype):
    limits = np.iinfo(dtype)
    sought = [-40000, -129, -128, -1, 0, 1, 127, 128, 255, 256, 32768, 65535, 70000, 2**31, 2**63, 2**64 - 1]
    present = [label for label in sought if limits.min <= label <= limits.max]
    array = np.random.default_rng(0).choice(np.array([*present, 3], dtype=dtype), size=(7, 11))
    expected = [int((array == label).sum()) if label in present else 0 for label in sought]
    assert sum(expected) > 0
    assert volumes(array, sought).tolist() == expected


def test_values_at_the_ends_of_16_bits_stay_apart():
    for high in (2**15 - 1, 2**15):
        for low in (-(2**15), -(2**15) - 1):
            assert volumes(np.array([high, high, low, 0], np.int32), [high, low]).tolist() == [2, 1]


@pytest.mark.parametrize("turn", [np.ascontiguousarray, np.asfortranarray, lambda a: np.pad(a, 1)[1:-1, 1:-1, 1:-1]])
def test_overlap_does_not_hang_on_the_memory_layout(turn):
    reference, prediction = np.random.default_rng(2).integers(0, 4, size=(2, 5, 6, 7))
    expected = overlap_counts(reference, prediction, (0, 3)).tolist()
    assert expected[2] == [int(((reference == k) & (prediction == k)).sum()) for k in (0, 3)]
    assert overlap_counts(turn(reference), prediction, (0, 3)).tolist() == expected
    assert overlap_counts(reference, turn(prediction), (0, 3)).tolist() == expected


def test_overlap_over_more_voxels_than_are_counted_at_a_time():
    reference = np.random.default_rng(1).integers(0, 4, size=(70, 80, 90)).astype(np.uint8)
    prediction = np.roll(reference, 1, axis=2)
    labels = (3, 1)
    expected = [
        [int((reference == label).sum()) for label in labels],
        [int((prediction == label).sum()) for label in labels],
        [int(((reference == label) & (prediction == label)).sum()) for label in labels],
    ]
    assert overlap_counts(reference, prediction, labels).tolist() == expected


@pytest.mark.parametrize("label_map", [np.zeros((2, 2)), np.array(["a"]), np.array([None])])
def test_only_integers_are_counted(label_map):
    with pytest.raises(ValueError, match="round and cast first"):
        volumes(label_map, [1])
