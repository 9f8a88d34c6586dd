"""Preprocessed cases: nnU-Net's own values, on the grid that we say they lie on."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from medquanbench.bundle import open_bundle
from medquanbench.infer import preprocess
from medquanbench.values import RequestError
from tests.trained_nnunet import PLAIN, Recipe, affine_of, write_image, write_model

READERS = ("SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient")


@pytest.mark.parametrize("transpose", ((0, 1, 2), (1, 2, 0)), ids=str)
@pytest.mark.parametrize("reader", READERS)
def test_an_image_of_positions_comes_out_as_the_positions_of_its_voxels(tmp_path, reader, transpose):
    """Splines keep straight lines, so that an image that holds its own millimetres shows where voxels went."""
    affine = affine_of((1.1, 1.3, 1.6), 23, "PLS")
    shape = np.array([24, 20, 18])
    index = np.moveaxis(np.indices(shape), 0, -1)
    for side in range(3):
        values = index @ affine[side, :3] + affine[side, 3] + 500
        values[:4] = values[..., -3:] = 0  # is cut off
        file = tmp_path / f"{side}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), affine), file)
        recipe = Recipe(PLAIN, reader, transpose, (1.9, 0.8, 1.0), scheme="NoNormalization")
        volume = preprocess(
            open_bundle("nnunet", weights=write_model(tmp_path / str(side), recipe)).preprocessing(), file
        )
        inside = tuple(slice(5, size - 5) for size in volume.grid.shape)  # splines bend at the ends
        voxels = np.moveaxis(np.indices(volume.grid.shape), 0, -1)[inside]
        positions = voxels @ volume.grid.affine[side, :3] + volume.grid.affine[side, 3] + 500
        assert np.abs(volume.tensor[0].numpy()[inside] - positions).max() < 0.02
        assert np.allclose(volume.grid.spacing_mm, recipe.spacing_mm, rtol=0.06)  # whole numbers of voxels


@pytest.fixture
def preprocessing(tmp_path):
    """By nibabel's reader: ITK reads NaN, and what a cut off file lacks, as 0; a command looks at its images before."""
    return open_bundle("nnunet", weights=write_model(tmp_path, Recipe(PLAIN, "NibabelIO"))).preprocessing()


def test_an_image_that_nnunet_cannot_take_is_named(tmp_path, preprocessing):
    image = write_image(tmp_path / "image.nii.gz", affine_of((1, 1, 1)))
    image.write_bytes(image.read_bytes()[:2000])
    with pytest.raises(RequestError, match="image.nii.gz is damaged or cut off"):
        preprocess(preprocessing, image)


def test_not_a_number_in_an_image_is_told(tmp_path, preprocessing):
    image = tmp_path / "image.nii.gz"
    values = np.ones((12, 12, 12), np.float32)
    values[5, 5, 5] = np.nan
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), image)
    with pytest.raises(RequestError, match="holds NaN or infinity in 1 of its 1728 voxels"):
        preprocess(preprocessing, image)
