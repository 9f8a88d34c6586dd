"""Toy bundles as they come from MONAI's Model Zoo: the ids and the order of their configs, small networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.bundle import ConfigParser

SPLEEN_NETWORK = {
    "_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [4, 8, 16],
    "strides": [2, 2], "num_res_units": 1, "norm": "batch",
}  # fmt: skip
SWIN_NETWORK = {
    "_target_": "SwinUNETR", "spatial_dims": 3, "img_size": 32, "in_channels": 1, "out_channels": 3,
    "feature_size": 12, "depths": [1, 1, 1, 1], "use_checkpoint": False,
}  # fmt: skip
OWN_NETWORK = {"_target_": "scripts.networks.toy.Toy", "out_channels": 3}
OWN_CODE = """
import torch

from scripts.networks.parts import kernel


class Toy(torch.nn.Module):
    def __init__(self, out_channels):
        super().__init__()
        self.conv = torch.nn.Conv3d(1, out_channels, kernel())

    def forward(self, x):
        return self.conv(torch.nn.functional.pad(x, (1,) * 6))
"""
SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
SAVE = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"}


def invert(nearest: bool) -> dict[str, Any]:
    """Invertd as the zoo writes it."""
    return {
        "_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "@image_key",
        "nearest_interp": nearest, "to_tensor": True,
    }  # fmt: skip


LINEAR = [SOFTMAX, invert(False), ARGMAX, SAVE]
NEAREST = [SOFTMAX, ARGMAX, invert(True), SAVE]


def config_of(network: dict[str, Any], finish: list[dict[str, Any]] = LINEAR) -> dict[str, Any]:
    """An inference config in the style of spleen_ct_segmentation and swin_unetr_btcv_segmentation."""
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": "/somewhere/else",
        "image_key": "image",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "/workspace/data/nowhere",
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/*.nii.gz')))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "roi": "$[16 * 2] * 3",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "@image_key", "reader": "ITKReader"},
                {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
                {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "@image_key", "pixdim": [2.0, 2.0, 3.0], "mode": "bilinear"},
                {"_target_": "ScaleIntensityRanged", "keys": "@image_key", "a_min": -57, "a_max": 164, "b_min": 0,
                 "b_max": 1, "clip": True},
                {"_target_": "EnsureTyped", "keys": "@image_key"},
            ],
        },
        "dataset": {"_target_": "Dataset", "data": "$[{'image': i} for i in @datalist]", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": "@roi", "sw_batch_size": 4, "overlap": 0.5,
                    "padding_mode": "replicate", "mode": "gaussian"},
        "postprocessing": {"_target_": "Compose", "transforms": finish},
        "handlers": [
            {"_target_": "CheckpointLoader", "load_path": "$@bundle_root + '/models/model.pt'",
             "load_dict": {"model": "@network"}},
            {"_target_": "StatsHandler", "iteration_log": False},
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator", "device": "@device", "val_data_loader": "@dataloader",
            "network": "@network", "inferer": "@inferer", "postprocessing": "@postprocessing",
            "val_handlers": "@handlers", "amp": True,
        },
        "initialize": ["$monai.utils.set_determinism(seed=123)"],
        "run": ["$@evaluator.run()"],
    }  # fmt: skip


def metadata_of(names: list[str], monai_version: str = "1.4.0") -> dict[str, Any]:
    """What a zoo's metadata says of a CT network."""
    return {
        "monai_version": monai_version,
        "network_data_format": {
            "inputs": {"image": {"format": "hounsfield", "modality": "CT", "num_channels": 1}},
            "outputs": {
                "pred": {"num_channels": len(names), "channel_def": {str(i): name for i, name in enumerate(names)}}
            },
        },
    }


def write_zoo(folder: Path, config: dict[str, Any], metadata: dict[str, Any], code: str = "") -> Path:
    """A bundle folder without weights."""
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True)
    (folder / "configs" / "inference.json").write_text(json.dumps(config, indent=4))
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata, indent=4))
    if code:
        (folder / "scripts" / "networks").mkdir(parents=True)
        for part in ("scripts", "scripts/networks"):
            (folder / part / "__init__.py").write_text("")
        (folder / "scripts" / "networks" / "toy.py").write_text(code)
        (folder / "scripts" / "networks" / "parts.py").write_text("def kernel():\n    return 3\n")
    return folder


def random_weights(network: torch.nn.Module, file: Path, seed: int = 0) -> None:
    """Numbers that give every class some voxels, with statistics of batch norms that are no identity."""
    torch.manual_seed(seed)
    state = network.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            spread = torch.rand_like(value) + 0.5 if name.endswith("running_var") else torch.randn_like(value) * 0.2
            value.copy_(spread)
    torch.save(state, file)


def network_of(config: dict[str, Any]) -> torch.nn.Module:
    """The network of a config, by MONAI's parser alone."""
    return ConfigParser(config).get_parsed_content("network_def")


def write_image(file: Path) -> Path:
    """A small CT: smooth noise in HU, stored left-posterior-superior, thick slices, no voxel midway between two."""
    noise = np.random.default_rng(1).normal(0, 200, (12, 10, 8))
    image = np.kron(noise, np.ones((4, 4, 3))) + 40
    file.parent.mkdir(parents=True, exist_ok=True)
    affine = np.array([[-1.3, 0, 0, 41.3], [0, -1.7, 0, 30.7], [0, 0, 2.6, -60.2], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(image.astype(np.int16), affine), file)
    return file
