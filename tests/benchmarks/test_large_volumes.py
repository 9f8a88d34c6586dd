"""The finer copy of the CT lies where the CT lies."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

FILE = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "large_volumes.py"


@pytest.fixture(scope="module")
def large_volumes():
    spec = importlib.util.spec_from_file_location("large_volumes", FILE)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name while they are made.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "large_volumes", module)
        spec.loader.exec_module(module)
        yield module


def test_fine_voxels_fill_their_coarse_voxel(large_volumes):
    coarse = np.array([[0, -3.0, 0.1, 5], [2, 0, 0, -7], [0, 0.2, 4, 1], [0, 0, 0, 1]])
    fine = large_volumes.refine(coarse, 4)
    np.testing.assert_allclose(fine[:3, :3] * 4, coarse[:3, :3])
    eight = [fine @ [4 * 2 + i, 4 * 1 + j, 4 * 3 + k, 1] for i, j, k in np.ndindex(4, 4, 4)]
    np.testing.assert_allclose(np.mean(eight, axis=0), coarse @ [2, 1, 3, 1])


def test_the_finer_copy_shows_the_same_world(large_volumes, tmp_path):
    """A ramp stays the same ramp of the place in mm; labels keep their volume and their middle."""
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = (10, -20, 30)
    x, y, z = np.indices((6, 5, 4))
    image, label = (20 * x + 8 * y - 12 * z).astype(np.int16), np.zeros((6, 5, 4), np.uint8)
    label[1:3, 2, 1:4] = 5
    (tmp_path / "in").mkdir()
    nibabel.save(nibabel.Nifti1Image(image, affine), tmp_path / "in" / "example_ct.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, affine), tmp_path / "in" / "example_seg_fast_force_split.nii.gz")
    large_volumes.make_finer(tmp_path / "in", tmp_path / "out", 4)
    fine = nibabel.load(tmp_path / "out" / "example_ct.nii.gz")
    assert fine.shape == (24, 20, 16) and fine.header.get_zooms() == (0.75, 0.75, 0.75)
    places = np.linalg.inv(affine) @ fine.affine @ np.array([*np.indices(fine.shape).reshape(3, -1), np.ones(7680)])
    inner = ((places[:3] >= 0) & (places[:3].T <= np.array(image.shape) - 1).T).all(axis=0)
    ramp = (np.array([20, 8, -12]) @ places[:3])[inner]
    np.testing.assert_allclose(np.asarray(fine.dataobj).ravel()[inner], ramp, atol=0.5001)
    labels = np.asarray(nibabel.load(tmp_path / "out" / "example_seg_fast_force_split.nii.gz").dataobj)
    assert (labels == 5).sum() == 64 * (label == 5).sum()
    middle, fine_middle = (np.append(np.argwhere(a == 5).mean(axis=0), 1) for a in (label, labels))
    np.testing.assert_allclose(fine.affine @ fine_middle, affine @ middle, atol=1e-4)
