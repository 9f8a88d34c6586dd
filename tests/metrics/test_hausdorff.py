"""HD95: values by hand, laws, and surface-distance itself."""

import numpy as np
import pytest

from medquanbench.metrics import hausdorff, hd95
from tests.metrics import oracle


@pytest.mark.parametrize("wide", [0, hausdorff._WIDE])
def test_equals_surface_distance_on_tiny_volumes(monkeypatch, wide):
    """Where 95 % falls between two elements is a matter of rounding here; by way of the tree too (wide 0)."""
    monkeypatch.setattr(hausdorff, "_WIDE", wide)
    generator, met = np.random.default_rng(0), []
    for _ in range(300):
        shape = tuple(generator.integers(1, 14, 3 if generator.random() < 0.8 else 2))
        maps = oracle.random_pair(generator, shape, (1, 2, 3))
        spacing = oracle.random_spacing(generator, len(shape))
        expected = [oracle.hausdorff_95(*maps, label, spacing) for label in (1, 2, 3)]
        np.testing.assert_allclose(hd95(*maps, (1, 2, 3), spacing), expected, rtol=0, atol=1e-9)
        met += expected
    met = np.array(met)
    assert np.isnan(met).any() and np.isinf(met).any() and np.sum(met == 0) > 10
    assert len(np.unique(met[np.isfinite(met)])) > 100


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 0.98, 2.5), (2.5, 0.5, 1.5)])
@pytest.mark.parametrize("stray", [False, True])
def test_equals_surface_distance_far_and_near(spacing_mm, stray):
    """Shifts from none to ten voxels; stray voxels put the farthest twentieth of the surface anywhere."""
    generator = np.random.default_rng(1)
    for _ in range(3):
        reference, prediction = oracle.smooth_pair(generator, (40, 33, 50), 4)
        if stray:
            prediction[generator.random(prediction.shape) < 0.01] = 3
        expected = [oracle.hausdorff_95(reference, prediction, label, spacing_mm) for label in range(5)]
        np.testing.assert_allclose(hd95(reference, prediction, range(5), spacing_mm), expected, rtol=0, atol=1e-9)


def test_two_voxels_2_mm_apart():
    """The first one's corners at 0 mm are 2 mm from the other's nearest: half of them, more than a twentieth."""
    assert hd95([[1, 0, 0]], [[0, 0, 1]], [1], (5.0, 1.0)).tolist() == [2.0]


def test_a_twentieth_of_the_surface_may_lie_anywhere():
    """A plate of 4 x 40 x 40 voxels, and one with a thread of 30 voxels standing on it, which is less surface."""
    plate = np.zeros((40, 42, 42), np.uint8)
    plate[1:5, 1:41, 1:41] = 1
    thread = plate.copy()
    thread[5:35, 20, 20] = 1
    assert hd95(plate, thread, [1], (1, 1, 1)).tolist() == [0.0]


def test_empty_masks():
    """Label 1 in the reference only, 2 in the prediction only, 3 in neither."""
    np.testing.assert_array_equal(hd95([[1, 0]], [[0, 2]], [1, 2, 3], (1, 1)), [np.inf, np.inf, np.nan])
    assert hd95(np.zeros((0, 3), int), np.zeros((0, 3), int), [], (1, 1)).shape == (0,)


def test_symmetric_and_in_the_order_of_the_labels():
    maps = oracle.smooth_pair(np.random.default_rng(2), (20, 21, 22), 4)
    there = hd95(*maps, range(5), (1, 2, 3))
    np.testing.assert_array_equal(hd95(*reversed(maps), range(5), (1, 2, 3)), there)
    np.testing.assert_array_equal(hd95(*maps, [4, 0, 4, 2], (1, 2, 3)), there[[4, 0, 4, 2]])


@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_a_length(scale):
    maps = oracle.smooth_pair(np.random.default_rng(3), (20, 21, 22), 4)
    plain = hd95(*maps, range(5), (1.0, 2.0, 3.0))
    np.testing.assert_allclose(hd95(*maps, range(5), np.array([1.0, 2.0, 3.0]) * scale), plain * scale, rtol=1e-12)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"\(3,\).*2-D and 3-D"):
        hd95([1, 0, 1], [1, 0, 1], [1], (1,))
    with pytest.raises(ValueError, match="2 numbers"):
        hd95([[1]], [[1]], [1], (1,))
