"""Codes for label values: the same numbers, whichever way is the quickest."""

import numpy as np
import pytest

from medquanbench.metrics.encoding import encoding, label_codes, numbers

WAYS = {
    "small values stay as they are": ((1, 7, 255), "u1", "_AsTheyAre"),
    "two bytes too": ((300, 301), "i4", "_AsTheyAre"),
    "0 is a label asked for": ((0, 7), "u1", "_Looked"),
    "negative values": ((-128, -1, 127), "i1", "_Looked"),
    "far from 0": ((2**63, 2**63 + 5), "u8", "_Looked"),
    "far apart": ((-(2**40), 5, 2**40), "i8", "_Searched"),
}


@pytest.mark.parametrize(("sought", "dtype", "way"), WAYS.values(), ids=WAYS.keys())
def test_every_way_finds_the_labels(sought, dtype, way):
    label_map = np.random.default_rng(0).choice(np.array([*sought, sought[-1] - 1], dtype), (7, 8))
    encode = encoding(label_map, sought)
    assert type(encode).__name__ == way
    codes = np.empty(label_map.shape, encode.code_type)
    encode(label_map, codes)
    expected = sum(i * (label_map == label).astype(int) for i, label in enumerate(sought, start=1))
    np.testing.assert_array_equal(encode.number[codes], expected)
    np.testing.assert_array_equal(numbers(label_map, encode), expected)
    assert encode.number[0] == 0, "what is beyond the map has no label"


def test_labels_that_the_type_cannot_hold_are_absent():
    assert label_codes(np.array([[0, 1]], np.uint8), (-1, 1, 256, 2**70)).tolist() == [[0, 2]]


def test_codes_keep_to_the_smallest_type_and_leave_other_values_at_zero():
    codes = label_codes(np.array([[5, -7], [100000, 9]]), (-7, 5, 100000))
    assert codes.dtype == np.uint8
    assert codes.tolist() == [[2, 1], [3, 0]]
    assert label_codes(np.zeros(1, np.uint8), range(300)).dtype == np.uint16
