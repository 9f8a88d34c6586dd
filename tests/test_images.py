"""NIfTI in and out."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from medquanbench.images import (
    Grid,
    check_whole,
    grid_difference,
    grid_of,
    read_image,
    read_labels,
    same_grid,
    write_nifti,
)
from medquanbench.values import RequestError

AFFINE = np.array([[-1.5, 0, 0, 10], [0, 2, 0, -3], [0, 0, 5, 7], [0, 0, 0, 1.0]])


def save(array, file):
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), file)
    return file


def test_written_labels_come_back_with_their_grid(tmp_path):
    labels = np.random.RandomState(0).randint(0, 14, (7, 6, 5)).astype(np.uint16)
    write_nifti(labels, AFFINE, tmp_path / "deep" / "a.nii.gz")
    back = read_labels(tmp_path / "deep" / "a.nii.gz")
    assert np.array_equal(back.labels, labels)
    assert same_grid(back.grid, Grid((7, 6, 5), AFFINE))
    assert back.grid.spacing_mm == pytest.approx((1.5, 2, 5))
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.nii.gz"]


def test_whole_floats_are_labels_and_fractions_are_not(tmp_path):
    whole = save(np.full((2, 2, 2), 3.0, np.float32), tmp_path / "whole.nii.gz")
    assert read_labels(whole).labels.dtype == np.uint16
    for bad in (0.5, np.nan, -1.0, 70000.0):
        file = save(np.full((2, 2, 2), bad, np.float32), tmp_path / "bad.nii.gz")
        with pytest.raises(RequestError, match="no label map"):
            read_labels(file)


def test_truncated_file_is_a_sentence(tmp_path):
    file = save(np.random.RandomState(0).randint(0, 9, (30, 30, 30)).astype(np.int16), tmp_path / "cut.nii.gz")
    file.write_bytes(file.read_bytes()[:-900])
    with pytest.raises(RequestError, match="cut.nii.gz is damaged"):
        read_labels(file)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 2)])
def test_wrong_number_of_axes(tmp_path, shape):
    with pytest.raises(RequestError, match="axes .*three are needed"):
        read_labels(save(np.zeros(shape, np.uint8), tmp_path / "axes.nii.gz"))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(RequestError, match="no image file .*gone.nii.gz"):
        read_labels(tmp_path / "gone.nii.gz")


def test_same_grid_looks_at_the_corners():
    """A spacing that is off by a little is far off at the other end of the volume."""
    one, stretched = Grid((100, 100, 100), np.eye(4)), np.diag([1.001, 1, 1, 1])
    assert same_grid(one, Grid((100, 100, 100), np.eye(4) + 1e-6))
    assert not same_grid(one, Grid((100, 100, 100), stretched))
    assert not same_grid(one, Grid((100, 100, 99), np.eye(4)))


def test_grid_from_the_header_alone(tmp_path):
    file = save(np.zeros((3, 4, 5), np.uint8), tmp_path / "h.nii.gz")
    assert grid_of(file).shape == (3, 4, 5)


def test_the_checksum_of_a_compressed_image_is_looked_at(tmp_path):
    """nibabel stops reading after the last voxel, before the checksum: a flipped bit would go unseen."""
    values = np.random.RandomState(0).randint(0, 9, (9, 9, 9)).astype(np.int16)
    file = save(values, tmp_path / "a.nii.gz")
    check_whole(file)
    data = bytearray(file.read_bytes())
    data[-8] ^= 1  # the checksum
    file.write_bytes(data)
    assert np.array_equal(read_image(file).values, values)
    with pytest.raises(RequestError, match="a.nii.gz is damaged or cut off: its content does not match its checksum"):
        check_whole(file)
    check_whole(save(values, tmp_path / "a.nii"))  # has none


def test_an_image_of_nan_is_refused_with_the_count(tmp_path):
    values = np.ones((3, 4, 5), np.float64)
    values[0, 0, :2] = np.nan, -np.inf
    values[1, 1, 1] = 1e39  # beyond float32
    with pytest.raises(RequestError, match="holds NaN or infinity in 3 of its 60 voxels"):
        read_image(save(values, tmp_path / "nan.nii.gz"))


def test_in_what_two_grids_differ():
    one = Grid((4, 4, 4), np.eye(4))
    assert grid_difference(one, Grid((4, 4, 5), np.eye(4))) == "4 x 4 x 4 and 4 x 4 x 5 voxels"
    stretched = grid_difference(one, Grid((4, 4, 4), np.diag([1, 1, 1.5, 1])))
    assert stretched == "their affines lay the same voxel up to 1.5 mm apart"  # at the far end, 3 voxels of 0.5 mm
    assert grid_difference(one, one) == ""
