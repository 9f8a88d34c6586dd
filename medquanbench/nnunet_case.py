"""A case on nnU-Net's way: read and preprocessed by nnunetv2 itself, and its logits carried back by it (floor 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from nibabel.orientations import apply_orientation

from medquanbench.images import Grid, LabelMap, grid_of, read_image
from medquanbench.infer import Volume
from medquanbench.nnunet_orientation import TURNS, inverse, network_grid
from medquanbench.nnunet_plan import Plan, nnunetv2, understood
from medquanbench.values import RequestError


@dataclass(frozen=True)
class Prepared:
    """A preprocessed case.

    Attributes:
        volume: (channel, network's axes) float32 and its grid, axes in the network's order.
        image: grid of the image file.
        turn: nibabel's orientation from the file's array to the reader's.
        notes: what nnunetv2 noted of cropping and spacing; its export reads it.
    """

    volume: Volume
    image: Grid
    turn: np.ndarray
    notes: dict[str, Any]


def prepare(plan: Plan, images: tuple[Path, ...]) -> Prepared:
    """Read and preprocess the images of a case (one a channel) with the plan's own reader and preprocessor.

    Raises:
        RequestError: nnU-Net cannot take an image, or makes NaN or infinity of it.
    """
    views, first = plan.managers, images[0]
    try:
        with understood(str(first)):
            preprocessor = views.configuration.preprocessor_class(verbose=False)
            files = [str(image) for image in images]
            data, _, notes = preprocessor.run_case(files, None, views.plans, views.configuration, views.dataset)
            turn = TURNS[views.plans.plans["image_reader_writer"]](notes)
    except RequestError:
        for image in images:
            read_image(image)  # says in plain words what is wrong with the file, if it is the file
        raise
    tensor = torch.from_numpy(data).to(torch.float32).contiguous()
    if not torch.isfinite(tensor).all():
        for image in images:
            read_image(image)
        raise RequestError(f"nnU-Net's preprocessing makes NaN or infinity of {first}")
    image = grid_of(first)
    grid = network_grid(
        image,
        turn,
        views.plans.transpose_forward,
        notes["bbox_used_for_cropping"],
        notes["shape_after_cropping_and_before_resampling"],
        tensor.shape[1:],
    )
    return Prepared(Volume(tensor, grid), image, turn, notes)


def carry_back(plan: Plan, case: Prepared, logits: torch.Tensor) -> LabelMap:
    """Logits (class, network's axes) as labels on the image's own grid, by nnunetv2's own export.

    It resamples the logits to the cropped image's voxels, takes the largest, and undoes cropping and transposition.

    Raises:
        RequestError: nnunetv2 cannot.
    """
    export, views = nnunetv2("inference.export_prediction"), plan.managers
    with understood("the network's answer"):
        reversed_axes = export.convert_predicted_logits_to_segmentation_with_correct_shape(
            logits.cpu(),
            views.plans,
            views.configuration,
            views.labels,
            case.notes,
            num_threads_torch=torch.get_num_threads(),
        )
    labels = apply_orientation(np.asarray(reversed_axes).transpose(2, 1, 0), inverse(case.turn))
    return LabelMap(np.ascontiguousarray(labels, dtype=np.uint16), case.image)


class Preprocessing:
    """nnU-Net's preprocessing as a MONAI transform: ``{"image": path}`` -> the same with a tensor (channel, axes).

    The axes are in the network's order, as the affine says.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __call__(self, data: Mapping[str, str]) -> dict[str, MetaTensor]:
        volume = prepare(self.plan, (Path(data["image"]),)).volume
        return {"image": MetaTensor(volume.tensor, affine=torch.from_numpy(volume.grid.affine))}
