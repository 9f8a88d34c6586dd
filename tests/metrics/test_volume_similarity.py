"""Volume similarity: values by hand and laws."""

import numpy as np
import pytest

from medquanbench.metrics import dice, volume_similarity


def test_three_voxels_against_one_is_a_half_wherever_they_lie():
    assert volume_similarity([1, 1, 1, 0], [0, 0, 0, 1], [1]).tolist() == [1 - (3 - 1) / (3 + 1)]
    assert volume_similarity([1, 0], [0, 1], [1]).tolist() == [1.0]


def test_empty_masks():
    """Label 1 in the reference only, 2 in the prediction only, 3 in neither."""
    np.testing.assert_array_equal(volume_similarity([1, 0], [0, 2], [1, 2, 3]), [0.0, 0.0, np.nan])


def test_never_below_dice():
    generator = np.random.default_rng(0)
    maps = generator.integers(0, 5, (2, 6, 7, 8)) * (generator.random((2, 6, 7, 8)) < 0.5)
    scores = volume_similarity(*maps, range(5))
    assert (scores >= dice(*maps, range(5))).all() and (scores < 1).any()
    np.testing.assert_array_equal(volume_similarity(*reversed(maps), range(5)), scores)


def test_what_is_refused():
    with pytest.raises(ValueError, match="one grid"):
        volume_similarity([1, 0], [1], [1])
