"""Dice: values by hand, laws, and a plain loop as second implementation."""

from pathlib import Path

import numpy as np
import pytest

from medquanbench.metrics import dice

DATA = Path(__file__).parents[3] / "shared" / "data"


def plain_dice(reference, prediction, label):
    r, p = reference == label, prediction == label
    return 2 * (r & p).sum() / (r.sum() + p.sum()) if r.any() or p.any() else np.nan


def random_pair(seed, shape=(9, 8, 7), n_labels=6):
    generator = np.random.default_rng(seed)
    reference = generator.integers(0, n_labels, shape)
    prediction = np.where(generator.random(shape) < 0.4, generator.integers(0, n_labels, shape), reference)
    return reference, prediction


def test_one_voxel_of_two_found_is_two_thirds():
    assert dice([[1, 1, 0]], [[0, 1, 0]], [1]).tolist() == [2 * 1 / (1 + 2)]


def test_perfect_is_one_and_disjoint_is_zero():
    assert dice([[1, 2]], [[1, 2]], [1, 2]).tolist() == [1.0, 1.0]
    assert dice([[1, 0]], [[0, 1]], [1]).tolist() == [0.0]


def test_empty_masks():
    """Label 1 in the reference only, 2 in the prediction only, 3 in neither."""
    scores = dice([[1, 0]], [[0, 2]], [1, 2, 3])
    assert scores[:2].tolist() == [0.0, 0.0]
    assert np.isnan(scores[2])
    assert np.isnan(dice(np.zeros((0, 3), int), np.zeros((0, 3), int), [0]))[0]


def test_no_labels_no_scores():
    for labels in ([], (), np.array([], int)):
        scores = dice([[1, 0]], [[0, 1]], labels)
        assert (scores.shape, scores.dtype) == ((0,), np.float64)


@pytest.mark.parametrize("shape", [(40, 30), (9, 8, 7)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_equals_a_loop_over_labels(shape, dtype):
    reference, prediction = (x.astype(dtype) for x in random_pair(1, shape))
    labels = [0, 5, 2, 99, 3]
    expected = [plain_dice(reference, prediction, label) for label in labels]
    np.testing.assert_array_equal(dice(reference, prediction, labels), expected)


def test_the_two_maps_may_differ_in_type():
    reference, prediction = random_pair(2)
    expected = dice(reference, prediction, range(6))
    np.testing.assert_array_equal(dice(reference.astype(np.uint8), prediction.astype(">i4"), range(6)), expected)
    np.testing.assert_array_equal(dice(reference == 1, prediction == 1, [1]), expected[1:2])


def test_symmetric_in_its_two_maps():
    reference, prediction = random_pair(3)
    np.testing.assert_array_equal(dice(reference, prediction, range(8)), dice(prediction, reference, range(8)))


def test_permuting_the_labels_permutes_the_answer():
    reference, prediction = random_pair(4)
    order = [7, 1, 0, 5, 5, 3, 2]
    np.testing.assert_array_equal(dice(reference, prediction, order), dice(reference, prediction, range(8))[order])


def test_axes_and_memory_layout_do_not_matter():
    reference, prediction = random_pair(5)
    expected = dice(reference, prediction, range(6))
    turned = dice(reference.transpose(2, 0, 1)[::-1], np.asfortranarray(prediction.transpose(2, 0, 1)[::-1]), range(6))
    np.testing.assert_array_equal(turned, expected)


def test_real_prediction_pairs_equal_a_loop():
    pairs = sorted((DATA / "spine-prediction-pairs").glob("*/ref*.nii.gz"))
    if not pairs:
        pytest.skip("spine-prediction-pairs is not in shared/data beside the checkout")
    nibabel = pytest.importorskip("nibabel")
    for path in pairs:
        reference, prediction = (
            np.asarray(nibabel.load(p).dataobj).round().astype(np.int32)
            for p in (path, path.with_name(path.name.replace("ref", "pred")))
        )
        labels = np.unique(reference).tolist()
        expected = [plain_dice(reference, prediction, label) for label in labels]
        np.testing.assert_array_equal(dice(reference, prediction, labels), expected)


@pytest.mark.parametrize(
    ("reference", "prediction", "labels", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), [1], r"\(2, 3\).*\(3, 2\)"),
        (np.zeros((2, 3)), np.zeros((2, 3), int), [1], "reference is an array of float64.*round and cast first"),
        (np.zeros((2, 3), int), np.full((2, 3), np.nan), [1], "prediction is an array of float64"),
        (np.zeros((2, 3), int), np.zeros((2, 3), int), [1.0], r"integers, not \[1.0\]"),
        (np.zeros((2, 3), int), np.zeros((2, 3), int), [np.nan], "integers"),
        (np.zeros((2, 3), int), np.zeros((2, 3), int), 1, "sequence of integers, not 1"),
    ],
)
def test_what_is_refused(reference, prediction, labels, message):
    with pytest.raises(ValueError, match=message):
        dice(reference, prediction, labels)
