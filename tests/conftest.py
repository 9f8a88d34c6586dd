"""A micro bundle and a micro dataset: two voxel-wise structures that a single 1x1x1 convolution tells apart exactly."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the workers share the cores already
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background of a script: Ctrl-C means nothing
    signal.signal(signal.SIGINT, signal.default_int_handler)

INFERENCE = {
    "labels": ["background", "low", "high"],
    "intensity": {"unit": "HU", "per_value": 100.0},
    "restore": "labels-nearest",
    "network_def": {
        "_target_": "monai.networks.blocks.Convolution",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 3,
        "kernel_size": 1,
        "conv_only": True,
    },
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image", "image_only": True},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
            {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 400, "b_min": 0, "b_max": 4},
        ],
    },
    "inferer": {
        "_target_": "SlidingWindowInferer",
        "roi_size": [8, 8, 8],
        "sw_batch_size": 2,
        "overlap": 0.25,
        "mode": "gaussian",
    },
}

CARD = """
name = "micro"
version = 1
title = "Micro"
task = "segmentation"
modality = "CT"
source = "made by the tests"
licence = "CC0"
tolerance_source = "one voxel"
[layout]
image = "images/{case}.nii.gz"
label = "labels/{case}.nii.gz"
[split]
train = ["t1"]
calibration = ["c1"]
test = ["m1", "m2", "m3", "m4", "m5", "m6", "m7"]
[[label]]
index = 1
name = "low"
tolerance_mm = 1.0
[[label]]
index = 2
name = "high"
tolerance_mm = 1.0
"""


def write_bundle(folder: Path) -> Path:
    """The micro bundle: argmax of (0, x - 1, 2x - 4) labels 0, 2 and 4 (in hundreds of HU) as 0, 1 and 2."""
    for part in ("configs/variants", "models"):
        (folder / part).mkdir(parents=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(INFERENCE))
    (folder / "configs" / "variants" / "demo.json").write_text("{}")
    metadata = {"network_data_format": {"inputs": {"image": {"num_channels": 1}}}}
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    weight = torch.tensor([0.0, 1.0, 2.0]).reshape(3, 1, 1, 1, 1)
    tensors = {"conv.weight": weight, "conv.bias": torch.tensor([0.0, -1.0, -4.0])}
    save_file(tensors, folder / "models" / "demo-micro.safetensors")
    return folder


def write_dataset(folder: Path) -> Path:
    """The card and its images: noisy boxes of 200 and 400 HU, an affine with a flip and thick slices."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    (folder / "micro.toml").write_text(CARD)
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    for number, name in enumerate(("t1", "c1", "m1", "m2", "m3", "m4", "m5", "m6", "m7")):
        random = np.random.RandomState(number)
        label = np.zeros((14, 12, 10), np.uint8)
        label[2:7, 2:8, 2 : 6 + number % 3] = 1
        label[6:12, 3:9, 3:8] = 2
        image = label.astype(int) * 200 + random.normal(0, 45, label.shape)
        nibabel.save(nibabel.Nifti1Image(image.astype(np.int16), affine), folder / "images" / f"{name}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(label, affine), folder / "labels" / f"{name}.nii.gz")
    return folder


@pytest.fixture
def micro_bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "micro")


@pytest.fixture
def micro_data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data")
