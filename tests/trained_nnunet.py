"""Results folders of nnU-Net v2 as its trainer leaves them, with micro networks of random weights."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch

from medquanbench.nnunet_network import network_of_trainer
from medquanbench.nnunet_plan import Plan

CONFIGURATION = "3d_fullres"
LABELS = {"background": 0, "low": 1, "high": 2}
NORM = {"norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-5, "affine": True}}
LAYERS = {
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "conv_bias": True,
    **NORM,
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
STAGES = {
    "n_stages": 3,
    "features_per_stage": [4, 8, 8],
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "n_conv_per_stage_decoder": [1, 1],
}
IMPORTED = ["conv_op", "norm_op", "dropout_op", "nonlin"]
PLAIN = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {**STAGES, **LAYERS, "n_conv_per_stage": [1, 1, 1]},
    "_kw_requires_import": IMPORTED,
}
RESIDUAL = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
    "arch_kwargs": {**STAGES, **LAYERS, "n_blocks_per_stage": [1, 1, 1]},
    "_kw_requires_import": IMPORTED,
}
# A plan before nnunetv2 2.4, as TotalSegmentator v2's are: no `architecture`.
OLD = {
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 4,
    "unet_max_num_features": 8,
    "n_conv_per_stage_encoder": [1, 1, 1],
    "n_conv_per_stage_decoder": [1, 1],
    "num_pool_per_axis": [1, 2, 2],
    "pool_op_kernel_sizes": STAGES["strides"],
    "conv_kernel_sizes": STAGES["kernel_sizes"],
}
INTENSITIES = {"0": {"mean": 150.0, "std": 80.0, "percentile_00_5": -50.0, "percentile_99_5": 420.0, "min": -200.0,
                     "max": 600.0, "median": 140.0}}  # fmt: skip
RESAMPLING = {
    "resampling_fn_data": "resample_data_or_seg_to_shape",
    "resampling_fn_seg": "resample_data_or_seg_to_shape",
    "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
    "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
    "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
}


@dataclass(frozen=True)
class Recipe:
    """What the plan of a micro network says; patch and spacing in the network's order of axes."""

    architecture: dict[str, Any] | None = None
    reader: str = "SimpleITKIO"
    transpose: tuple[int, ...] = (0, 1, 2)
    spacing_mm: tuple[float, ...] = (2.5, 0.9, 1.1)
    patch: tuple[int, ...] = (8, 16, 16)
    scheme: str = "CTNormalization"
    masked: bool = False
    labels: tuple[tuple[str, int], ...] = tuple(LABELS.items())
    channels: tuple[str, ...] = ("CT",)
    intensities: tuple[tuple[str, float], ...] = ()

    @property
    def plans(self) -> dict[str, Any]:
        """plans.json, in the old form where no architecture is given; with a configuration of single slices."""
        network = OLD if self.architecture is None else {"architecture": self.architecture}
        three = {
            "data_identifier": "nnUNetPlans_3d_fullres",
            "preprocessor_name": "DefaultPreprocessor",
            "batch_size": 2,
            "patch_size": list(self.patch),
            "median_image_size_in_voxels": [20.0, 40.0, 40.0],
            "spacing": list(self.spacing_mm),
            "normalization_schemes": [self.scheme] * len(self.channels),
            "use_mask_for_norm": [self.masked] * len(self.channels),
            "batch_dice": True,
            **RESAMPLING,
            **network,
        }
        properties = INTENSITIES["0"] | dict(self.intensities)
        return copy.deepcopy(
            {
                "dataset_name": "Dataset501_Micro",
                "plans_name": "nnUNetPlans",
                "original_median_spacing_after_transp": list(self.spacing_mm),
                "original_median_shape_after_transp": [20, 40, 40],
                "image_reader_writer": self.reader,
                "transpose_forward": list(self.transpose),
                "transpose_backward": [int(axis) for axis in np.argsort(self.transpose)],
                "configurations": {
                    "2d": three | {"patch_size": [16, 16], "spacing": list(self.spacing_mm[1:])},
                    CONFIGURATION: three,
                    "3d_lowres": {"inherits_from": CONFIGURATION, "spacing": [edge * 2 for edge in self.spacing_mm]},
                    "3d_cascade_fullres": {"inherits_from": CONFIGURATION, "previous_stage": "3d_lowres"},
                },
                "experiment_planner_used": "ExperimentPlanner",
                "label_manager": "LabelManager",
                "foreground_intensity_properties_per_channel": {
                    str(channel): properties for channel in range(len(self.channels))
                },
            }
        )

    @property
    def dataset(self) -> dict[str, Any]:
        """dataset.json."""
        return {
            "channel_names": {str(number): name for number, name in enumerate(self.channels)},
            "labels": dict(self.labels),
            "numTraining": 3,
            "file_ending": ".nii.gz",
        }


def write_model(results: Path, recipe: Recipe, *, trainer: str = "nnUNetTrainer", configuration: str = CONFIGURATION,
                dataset: str = "Dataset501_Micro", folds: tuple[str, ...] = ("0",)) -> Path:  # fmt: skip
    """A trained model's folder below ``results``; each fold has weights of its own."""
    folder = results / dataset / f"{trainer}__nnUNetPlans__{configuration}"
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(recipe.plans))
    (folder / "dataset.json").write_text(json.dumps(recipe.dataset))
    for seed, fold in enumerate(folds):
        (folder / f"fold_{fold}").mkdir()
        network = random_network(recipe, seed, trainer)
        write_checkpoint(folder / f"fold_{fold}" / "checkpoint_final.pth", recipe, network, trainer, configuration)
    return folder


def random_network(recipe: Recipe, seed: int = 0, trainer: str = "nnUNetTrainer") -> torch.nn.Module:
    """The plan's network with random weights, as its trainer builds it."""
    torch.manual_seed(seed)
    plan = Plan(json.dumps(recipe.plans), json.dumps(recipe.dataset), CONFIGURATION)
    network = network_of_trainer(plan, trainer)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)  # biases and norms are not 0 and 1 after a training
    return network


def train(network: torch.nn.Module, recipe: Recipe, steps: int) -> None:
    """Seconds of training, with mirroring, on noisy boxes of 200 and 400 HU: the structures of tests/conftest.py."""
    properties, random = recipe.plans["foreground_intensity_properties_per_channel"]["0"], np.random.default_rng(0)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(steps):
        labels = np.zeros((2, *recipe.patch), int)
        for sample in labels:
            for number in (1, 2):
                low = [random.integers(0, size // 2) for size in recipe.patch]
                sample[tuple(slice(first, first + size // 2) for first, size in zip(low, recipe.patch))] = number
        values = labels * 200.0 + random.normal(0, 45, labels.shape)
        clipped = values.clip(properties["percentile_00_5"], properties["percentile_99_5"])
        windows = torch.from_numpy((clipped - properties["mean"]) / properties["std"]).float()[:, None]
        targets, axes = torch.from_numpy(labels), [axis for axis in (1, 2, 3) if random.random() < 0.5]
        answer = network(windows.flip([axis + 1 for axis in axes]))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(answer, targets.flip(axes)).backward()
        optimizer.step()


def write_checkpoint(file: Path, recipe: Recipe, network: torch.nn.Module, trainer: str, configuration: str) -> None:
    """As nnUNetTrainer.save_checkpoint writes it, numpy's numbers in the log included."""
    optimizer = torch.optim.SGD(network.parameters(), 1e-2, momentum=0.99, nesterov=True)
    log = {
        "mean_fg_dice": [np.float64(0.5), np.float64(0.75)],
        "ema_fg_dice": [np.float64(0.5), np.float64(0.52)],
        "dice_per_class_or_region": [[np.float64(0.4), np.float32(0.6)]],
        "train_losses": [np.float32(-0.3)],
        "val_losses": [np.float32(-0.2)],
        "lrs": [0.01],
        "epoch_start_timestamps": [1.0],
        "epoch_end_timestamps": [2.0],
    }
    torch.save(
        {
            "network_weights": network.state_dict(),
            "optimizer_state": optimizer.state_dict(),
            "grad_scaler_state": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 0},
            "logging": log,
            "_best_ema": np.float64(0.52),
            "current_epoch": 1000,
            "init_args": {"plans": recipe.plans, "configuration": configuration, "fold": 0,
                          "dataset_json": recipe.dataset, "device": torch.device("cuda")},
            "trainer_name": trainer,
            "inference_allowed_mirroring_axes": None if "NoMirroring" in trainer else (0, 1, 2),
        },
        file,
    )  # fmt: skip


def predicted(folder: Path, image: Path, *, fold: str = "0", mirroring: bool = False) -> np.ndarray:
    """What nnunetv2's own predictor writes for an image, read by nibabel: labels (x, y, z)."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        use_mirroring=mirroring, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(folder), (fold,), "checkpoint_final.pth")
    out = image.parent / f"predicted-{folder.name}-{fold}-{mirroring}-{image.name.removesuffix('.nii.gz')}"
    predictor.predict_from_files_sequential([[str(image)]], [str(out)])
    return np.asarray(nibabel.load(f"{out}.nii.gz").dataobj)


def affine_of(spacing_mm: tuple[float, ...], turned_degrees: float = 0, axes: str = "RAS") -> np.ndarray:
    """An affine whose array axes go to the named sides, turned about the body's axis."""
    linear = np.zeros((3, 3))
    for axis, (side, flip) in enumerate(nibabel.orientations.axcodes2ornt(axes)):
        linear[int(side), axis] = flip * spacing_mm[axis]
    cos, sin = np.cos(np.radians(turned_degrees)), np.sin(np.radians(turned_degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ linear
    affine[:3, 3] = 10, -20, 5
    return affine


def write_image(file: Path, affine: np.ndarray, shape: tuple[int, ...] = (30, 26, 14), border: bool = True) -> Path:
    """Smooth noise about 150, with a border of zeros that nnU-Net cuts off."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(0).normal(size=shape), 1.5)
    values = np.round(noise / noise.std() * 150 + 150).astype(np.int16)
    if border:
        values[:3] = values[:, -4:] = values[..., :2] = 0
    nibabel.save(nibabel.Nifti1Image(values, affine), file)
    return file
