"""Surface Dice: values by hand, laws, and surface-distance itself."""

from pathlib import Path

import numpy as np
import pytest

from medquanbench.metrics import surface_dice
from tests.metrics import oracle

DATA = Path(__file__).parents[3] / "shared" / "data"


def two_voxels(shape, first, second):
    reference, prediction = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    reference[first], prediction[second] = 1, 1
    return reference, prediction


LABEL_SETS = ((1, 2, 3), (0, 1, 2), (-3, 7, 300, 70000, -100000), (255, 254, 256, 128), (1, 2**40, 5, -(2**50)))


def same_memory(generator, label_map):
    """The same map in another type or memory layout."""
    if generator.random() < 0.3:
        label_map = np.asfortranarray(label_map)
    if 0 <= label_map.min() and label_map.max() < 256 and generator.random() < 0.5:
        label_map = label_map.astype(np.uint8)
    return label_map


def test_equals_surface_distance_on_tiny_volumes():
    generator = np.random.default_rng(0)
    n_inner = n_tied = 0
    for _ in range(500):
        shape = tuple(generator.integers(1, 14, 3 if generator.random() < 0.8 else 2))
        labels = LABEL_SETS[generator.integers(len(LABEL_SETS))]
        maps = oracle.random_pair(generator, shape, labels)
        spacing = oracle.random_spacing(generator, len(shape))
        tolerances = [oracle.random_tolerance(generator, spacing) for _ in labels]
        expected = [oracle.nsd(*maps, label, spacing, t) for label, t in zip(labels, tolerances)]
        scores = surface_dice(*(same_memory(generator, m) for m in maps), labels, spacing, tolerances)
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)
        less = surface_dice(*maps, labels, spacing, [max(t - 1e-9, 0) for t in tolerances])
        n_inner += np.sum((scores > 0) & (scores < 1))
        n_tied += np.sum(less < scores)
    assert n_inner >= 200, "many scores should lie between 0 and 1"
    assert n_tied >= 100, "tolerances should meet distances exactly"


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 0.98, 2.5), (2.5, 0.5, 1.5)])
@pytest.mark.parametrize("tolerance_mm", [1.5, 2.5, 30.0])
def test_equals_surface_distance_on_smooth_structures(spacing_mm, tolerance_mm):
    """30 mm is more than a ball of steps is made for."""
    maps = oracle.smooth_pair(np.random.default_rng(9), (40, 33, 50), 4)
    expected = [oracle.nsd(*maps, label, spacing_mm, tolerance_mm) for label in range(5)]
    np.testing.assert_allclose(surface_dice(*maps, range(5), spacing_mm, tolerance_mm), expected, rtol=0, atol=1e-12)


def test_one_distance_with_two_roundings_is_rounded_as_in_surface_distance():
    """At 3.3 mm the step (3, 0, 0) is 9.899999999999999 mm long and (1, 2, 2) 9.9: which one is it that is nearest?"""
    generator, spacing, scores = np.random.default_rng(10), (3.3,) * 3, []
    for _ in range(40):
        maps = oracle.random_pair(generator, (9, 9, 9), (1, 2))
        expected = [oracle.nsd(*maps, label, spacing, 3 * 3.3) for label in (1, 2)]
        scores.append([surface_dice(*maps, (1, 2), spacing, t) for t in (3 * 3.3 - 1e-9, 3 * 3.3, 3 * 3.3 + 1e-9)])
        np.testing.assert_allclose(scores[-1][1], expected, atol=1e-12)
    less, tied, more = np.moveaxis(scores, 1, 0)
    assert (less < tied).any() and (tied < more).any(), "the tie should be met, and rounded both ways"


def test_more_labels_than_a_byte_holds():
    generator = np.random.default_rng(11)
    reference = generator.integers(0, 300, (6, 7, 8)).repeat(2, 0).repeat(2, 1).astype(np.uint16)
    prediction = np.roll(reference, 1, 0)
    expected = [oracle.nsd(reference, prediction, label, (1, 1, 1), 1) for label in range(301)]
    np.testing.assert_allclose(surface_dice(reference, prediction, range(301), (1, 1, 1), 1), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1, 4), (1, 4), (5, 5, 8), (5, 8)])
@pytest.mark.parametrize(("tolerance_mm", "expected"), [(0.0, 0.0), (0.99, 0.0), (1.0, 0.5), (1.99, 0.5), (2.0, 1.0)])
def test_two_voxels_2_mm_apart(shape, tolerance_mm, expected):
    """Corners of the first at 0 and 1 mm, of the second at 2 and 3 mm, all of equal area: half are 1 mm from the other
    voxel, half 2 mm. A tie counts as within; the array's edge changes nothing."""
    middle = tuple(n // 2 for n in shape[:-1])
    reference, prediction = two_voxels(shape, (*middle, 0), (*middle, 2))
    assert surface_dice(reference, prediction, [1], (1.0,) * len(shape), tolerance_mm).tolist() == pytest.approx(
        [expected]
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_spacing_is_in_the_order_of_the_axes(axis):
    """Neighbouring voxels share the corners between them; the others are one spacing away."""
    spacing_mm = (1.0, 2.0, 4.0)
    second = tuple(2 if i == axis else 1 for i in range(3))
    reference, prediction = two_voxels((4, 4, 4), (1, 1, 1), second)
    scores = [surface_dice(reference, prediction, [1], spacing_mm, t)[0] for t in (0.0, 1.0, 2.0, 4.0)]
    assert scores == pytest.approx([0.5] + [1.0 if t >= spacing_mm[axis] else 0.5 for t in (1.0, 2.0, 4.0)])


def test_equal_maps_score_one_at_tolerance_zero():
    label_map = np.random.default_rng(2).integers(0, 4, size=(8, 7, 6))
    assert surface_dice(label_map, label_map, range(4), (1, 2, 3), 0).tolist() == [1.0] * 4


def test_the_edge_of_the_array_is_closed():
    """A structure that fills the array has a surface, and room around it changes no score."""
    full = np.ones((4, 4, 4), np.uint8)
    short = full.copy()
    short[-1] = 0
    assert surface_dice(full, full, [1], (1, 1, 1), 0).tolist() == [1.0]
    score = surface_dice(full, short, [1], (1, 1, 1), 0)
    assert 0.5 < score[0] < 1
    np.testing.assert_allclose(surface_dice(np.pad(full, 3), np.pad(short, 3), [1], (1, 1, 1), 0), score, atol=1e-12)


def test_empty_masks_without_a_warning(recwarn):
    """Label 1 in the reference only, 2 in the prediction only, 3 in neither."""
    scores = surface_dice([[1, 0]], [[0, 2]], [1, 2, 3], (1, 1), 100)
    assert scores[:2].tolist() == [0.0, 0.0]
    assert np.isnan(scores[2])
    assert np.isnan(surface_dice(np.zeros((0, 3), int), np.zeros((0, 3), int), [0], (1, 1), 1))[0]
    assert len(recwarn) == 0


def test_no_labels_no_scores():
    for tolerance_mm in (1.0, ()):
        scores = surface_dice([[1, 0]], [[0, 1]], [], (1, 1), tolerance_mm)
        assert (scores.shape, scores.dtype) == ((0,), np.float64)


def random_pair(seed):
    reference = np.random.default_rng(seed).integers(0, 5, size=(4, 4, 3)).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    return reference, np.roll(reference, (1, 0, 1), (0, 1, 2))


def test_symmetric_in_its_two_maps():
    reference, prediction = random_pair(3)
    there = surface_dice(reference, prediction, range(6), (1, 2, 3), 1)
    back = surface_dice(prediction, reference, range(6), (1, 2, 3), 1)
    np.testing.assert_allclose(there, back, atol=1e-12)
    assert 0 < np.nanmin(there) < 1


def test_permuting_labels_and_tolerances_permutes_the_answer():
    reference, prediction = random_pair(4)
    order, tolerances = np.array([5, 1, 0, 4, 4, 3, 2]), np.array([0, 1, 2, 3, 1.5, 2.5])
    plain = surface_dice(reference, prediction, range(6), (1, 2, 3), tolerances)
    np.testing.assert_array_equal(
        surface_dice(reference, prediction, order, (1, 2, 3), tolerances[order]), plain[order]
    )


def test_one_tolerance_stands_for_all_labels():
    reference, prediction = random_pair(5)
    one, each = (surface_dice(reference, prediction, range(5), (1, 2, 3), t) for t in (2.0, [2.0] * 5))
    np.testing.assert_array_equal(one, each)


@pytest.mark.parametrize("scale", [0.5, 4.0, 10.0])
def test_scaling_spacing_and_tolerance_together_changes_nothing(scale):
    reference, prediction = random_pair(6)
    plain = surface_dice(reference, prediction, range(5), (1.0, 1.5, 3.0), 1.6)
    scaled = surface_dice(reference, prediction, range(5), np.array([1.0, 1.5, 3.0]) * scale, 1.6 * scale)
    np.testing.assert_allclose(scaled, plain, atol=1e-12)


def test_turning_the_array_and_its_spacing_changes_nothing():
    reference, prediction = random_pair(7)
    plain = surface_dice(reference, prediction, range(5), (1.0, 2.0, 3.0), 2.0)
    turned = surface_dice(reference.transpose(2, 0, 1), prediction.transpose(2, 0, 1), range(5), (3.0, 1.0, 2.0), 2.0)
    np.testing.assert_allclose(turned, plain, atol=1e-12)


def test_a_larger_tolerance_never_scores_less():
    reference, prediction = random_pair(8)
    scores = np.array([surface_dice(reference, prediction, range(5), (1, 2, 3), t) for t in (0, 1, 2, 3, 4, 9)])
    assert (np.diff(scores, axis=0) >= 0).all()
    assert (scores[0] < scores[-1]).all()


def test_real_prediction_pairs_equal_surface_distance():
    paths = [DATA / "spine-prediction-pairs" / "semantic" / name for name in ("ref.nii.gz", "pred.nii.gz")]
    if not all(path.is_file() for path in paths):
        pytest.skip("spine-prediction-pairs is not in shared/data beside the checkout")
    nibabel = pytest.importorskip("nibabel")
    images = [nibabel.load(path) for path in paths]
    spacing = tuple(float(s) for s in images[0].header.get_zooms())
    reference, prediction = (np.asarray(image.dataobj).round().astype(np.int32) for image in images)
    labels = np.unique(reference)[1:].tolist()
    expected = [oracle.nsd(reference, prediction, label, spacing, 2.0) for label in labels]
    np.testing.assert_allclose(surface_dice(reference, prediction, labels, spacing, 2.0), expected, rtol=0, atol=1e-12)


INT = np.zeros((2, 3), int)


@pytest.mark.parametrize(
    ("reference", "prediction", "labels", "spacing_mm", "tolerance_mm", "message"),
    [
        (INT, INT.T, [1], (1, 1), 1, r"\(2, 3\).*\(3, 2\)"),
        (INT.astype(float), INT, [1], (1, 1), 1, "float64.*round and cast first"),
        (INT[0], INT[0], [1], (1,), 1, r"\(3,\).*2-D and 3-D"),
        (INT, INT, ["a"], (1, 1), 1, "integers"),
        (INT, INT, [1], (1, 1, 1), 1, r"\(1, 1, 1\); 2 numbers"),
        (INT, INT, [1], 1.0, 1, "2 numbers"),
        (INT, INT, [1], (1, "x"), 1, "numbers are expected"),
        (INT, INT, [1], (1, 0), 1, "greater than 0"),
        (INT, INT, [1], (1, -1), 1, "greater than 0"),
        (INT, INT, [1], (1, np.nan), 1, "finite"),
        (INT, INT, [1, 2], (1, 1), [1], "each of the 2 labels"),
        (INT, INT, [1, 2], (1, 1), [1, 2, 3], "each of the 2 labels"),
        (INT, INT, [1], (1, 1), -0.1, "at least 0"),
        (INT, INT, [1, 2], (1, 1), [1, np.nan], "finite"),
        (INT, INT, [1], (1, 1), np.inf, "finite"),
        (INT, INT, [1], (1, 1), None, "tolerance_mm"),
    ],
)
def test_what_is_refused(reference, prediction, labels, spacing_mm, tolerance_mm, message):
    with pytest.raises(ValueError, match=message):
        surface_dice(reference, prediction, labels, spacing_mm, tolerance_mm)
