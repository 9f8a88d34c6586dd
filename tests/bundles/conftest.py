"""A small CT-like image, and random weights for the bundles: what MONAI's own commands are run on here."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from medquanbench import shelf, weights
from medquanbench.bundle import build_network, merged_config

BUNDLES = tuple(sorted(folder.parent.name for folder in shelf.shelf(shelf.BUNDLES).glob("*/configs")))
# Stored left-posterior-superior; at these spacings no voxel of the image lies midway between two of the network's grid
# (3 x 3 x 5 mm, and 1 mm for the hippocampus weights).
ABDOMEN = np.array([[-2.2, 0, 0, 41.3], [0, -2.6, 0, 30.7], [0, 0, 4.2, -60.2], [0, 0, 0, 1]])
HEAD = np.diag([-1.12, -1.13, 0.97, 1])
SHAPE = (40, 36, 30)


@pytest.fixture(params=BUNDLES)
def bundle(request) -> Path:
    return shelf.shelf(shelf.BUNDLES) / request.param


@pytest.fixture
def random_weights(tmp_path):
    """Write random weights of a bundle's demo variant for a weights set; returns the file."""

    def write(folder: Path, weights_set: str) -> Path:
        torch.manual_seed(0)
        weights.pack(build_network(merged_config(folder, "demo", weights_set)), tmp_path / f"{weights_set}.safetensors")
        return tmp_path / f"{weights_set}.safetensors"

    return write


def write_images(folder: Path, affine: np.ndarray) -> Path:
    """A folder with imagesTr/case.nii.gz (noise in HU) and labelsTr/case.nii.gz (all 14 labels, in blocks)."""
    random = np.random.default_rng(0)
    blocks = np.arange(np.prod([4, 6, 5])).reshape(4, 6, 5) % 14
    labels = np.kron(blocks, np.ones((10, 6, 6), dtype=int)).astype(np.uint8)
    for name, array in (("imagesTr", random.normal(0, 150, SHAPE).astype(np.int16)), ("labelsTr", labels)):
        (folder / name).mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(array, affine), folder / name / "case.nii.gz")
    return folder


@pytest.fixture
def images(tmp_path) -> Path:
    return write_images(tmp_path / "abdomen", ABDOMEN)


@pytest.fixture
def head_images(tmp_path) -> Path:
    return write_images(tmp_path / "head", HEAD)
