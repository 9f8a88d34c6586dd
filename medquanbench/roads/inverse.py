"""Undo a bundle's preprocessing with its own transforms, as MONAI's Invertd does."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from monai.data import MetaTensor
from monai.transforms.utils import allow_missing_keys_mode, convert_applied_interp_mode

from medquanbench.images import Grid
from medquanbench.values import RequestError


def on_image_grid(
    transform: Callable, image: MetaTensor, output: torch.Tensor, grid: Grid, file: Path, *, nearest: bool
) -> torch.Tensor:
    """Carry values (x, y, z) from the network's grid back to the image's own.

    Args:
        transform: the preprocessing that made ``image``; the same object, which knows its own work again.
        nearest: take the nearest value, whatever the preprocessing interpolates with; else do as it does.

    Raises:
        RequestError: a transform cannot be undone, or does not lead back to the grid.
    """
    done = deepcopy(image.applied_operations)
    tensor = MetaTensor(output[None], meta=deepcopy(image.meta))
    tensor.applied_operations = (
        convert_applied_interp_mode(done, mode="nearest", align_corners=None) if nearest else done
    )
    what = f"the bundle's preprocessing of {file} cannot be undone"
    try:
        with allow_missing_keys_mode(transform):
            back = transform.inverse({"image": tensor})["image"].as_tensor()[0]
    except (RuntimeError, ValueError, NotImplementedError, AttributeError, KeyError, TypeError) as error:
        cause = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise RequestError(f"{what}: {cause[-1].rstrip('.')}") from error
    if tuple(back.shape) != grid.shape:
        raise RequestError(f"{what}: it leads to {' x '.join(map(str, back.shape))} voxels")
    return back
