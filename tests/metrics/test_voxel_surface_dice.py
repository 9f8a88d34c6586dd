"""The surface Dice of boundary voxels: values by hand, and MONAI's default."""

import warnings

import numpy as np
import pytest

from medquanbench.metrics import surface, surface_dice, voxel_surface_dice
from tests.metrics import oracle


def monai(reference, prediction, labels, spacing_mm, tolerances_mm):
    import torch
    from monai.metrics import compute_surface_dice

    one_hot = [
        torch.from_numpy(np.stack([label_map == label for label in labels]))[None]
        for label_map in (prediction, reference)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of empty masks
        scores = compute_surface_dice(
            *one_hot, list(tolerances_mm), include_background=True, spacing=list(spacing_mm), use_subvoxels=False
        )
    return scores[0].numpy()


def test_equals_monai():
    """MONAI rounds distances to float32: ties are met where that is exact."""
    generator, labels, n_inner = np.random.default_rng(0), (1, 2, 3), 0
    for i in range(120):
        shape = tuple(generator.integers(2, 14, 3 if i % 5 else 2))
        maps = oracle.random_pair(generator, shape, labels)
        exact = i % 2
        spacing = (
            tuple(generator.choice([0.5, 1.0, 1.5, 2.5], len(shape)).tolist())
            if exact
            else oracle.random_spacing(generator, len(shape))
        )
        tolerances = [spacing[0] * k if exact else float(generator.uniform(0, 9)) for k in (0, 1, 2)]
        expected = monai(*maps, labels, spacing, tolerances)
        scores = voxel_surface_dice(*maps, labels, spacing, tolerances)
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
        n_inner += np.sum((expected > 0) & (expected < 1))
    assert n_inner > 50


def test_slabs_leave_no_seam(monkeypatch):
    reference, prediction = oracle.smooth_pair(np.random.default_rng(1), (20, 21, 22), 3)
    whole = voxel_surface_dice(reference, prediction, range(4), (1, 2, 3), 2)
    monkeypatch.setattr(surface, "_SLAB", 3 * 21 * 22)
    for maps in ((reference, prediction), (np.asfortranarray(reference), prediction)):
        np.testing.assert_array_equal(voxel_surface_dice(*maps, range(4), (1, 2, 3), 2), whole)


def test_counts_the_rim_of_a_square():
    """A square's rim, and the same a voxel further: what they share is at 0 mm, all the rest at 1 mm."""
    square = np.zeros((9, 9), np.uint8)
    square[1:6, 1:6] = 1
    shifted = np.roll(square, 1, 0)
    rim = {(i, j) for i in range(1, 6) for j in range(1, 6) if i in (1, 5) or j in (1, 5)}
    shared = len(rim & {(i + 1, j) for i, j in rim})
    assert voxel_surface_dice(square, shifted, [1], (1, 1), 0).tolist() == [shared / len(rim)]
    assert voxel_surface_dice(square, shifted, [1], (1, 1), 1).tolist() == [1.0]


def test_empty_masks():
    """Label 1 in the reference only, 2 in the prediction only, 3 in neither."""
    np.testing.assert_array_equal(voxel_surface_dice([[1, 0]], [[0, 2]], [1, 2, 3], (1, 1), 9), [0.0, 0.0, np.nan])


def test_another_number_than_the_surface_dice():
    maps = oracle.smooth_pair(np.random.default_rng(2), (30, 30, 30), 3)
    difference = surface_dice(*maps, range(4), (1, 1, 1), 2) - voxel_surface_dice(*maps, range(4), (1, 1, 1), 2)
    assert (np.abs(difference) > 0.01).all()


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"\(1,\).*2-D and 3-D"):
        voxel_surface_dice([1], [1], [1], (1,), 1)
    with pytest.raises(ValueError, match="at least 0"):
        voxel_surface_dice([[1]], [[1]], [1], (1, 1), -1)
