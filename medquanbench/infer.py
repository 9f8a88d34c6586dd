"""From an image file to a label map on the image's own grid: preprocess, slide the window, blend (floor 2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from medquanbench.bundle_config import Window
from medquanbench.images import Grid, read_image
from medquanbench.sliding import Index, blend
from medquanbench.spill import Store
from medquanbench.values import RequestError, RunError


@dataclass(frozen=True)
class Volume:
    """A preprocessed image: tensor (channel, x, y, z) float32, with the grid it lies on."""

    tensor: torch.Tensor
    grid: Grid


def preprocess(transform: Callable, image: Path) -> Volume:
    """Apply a bundle's preprocessing to one image file.

    Raises:
        RequestError: see :func:`transformed`.
    """
    return volume_of(transformed(transform, image))


def volume_of(data: MetaTensor) -> Volume:
    """The plain numbers of a preprocessed image, and its grid."""
    tensor = data.as_tensor().float().contiguous()
    return Volume(tensor, Grid(tuple(tensor.shape[1:]), np.asarray(data.affine, dtype=np.float64)))


def transformed(transform: Callable, image: Path) -> MetaTensor:
    """Apply a bundle's preprocessing to one image file: (channel, x, y, z), with what was done to it.

    Raises:
        RequestError: the file cannot be read as an image, the transform cannot take it, or makes NaN or infinity of it.
    """
    try:
        data = transform({"image": str(image)})["image"]
    except Exception as error:  # MONAI wraps whatever a reader raises in RuntimeErrors of several lines.
        read_image(image)  # says in plain words what is wrong with the file, if it is the file
        cause = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise RequestError(f"the bundle's preprocessing cannot take {image}: {cause[-1].rstrip('.')}") from error
    if not isinstance(data, MetaTensor) or data.ndim != 4:
        raise RequestError(f"the bundle's preprocessing makes no tensor of four axes (channel, x, y, z) of {image}")
    if not torch.isfinite(data.as_tensor()).all():
        read_image(image)
        raise RequestError(f"the bundle's preprocessing makes NaN or infinity of {image}")
    return data


def predict(
    network: Callable[[torch.Tensor], torch.Tensor],
    volume: Volume,
    window: Window,
    device: str = "cpu",
    watch: Callable[[Index, torch.Tensor], None] | None = None,
    store: Store | None = None,
) -> np.ndarray:
    """Label map (x, y, z) uint16 on the volume's own grid: blended logits of overlapping windows, then argmax.

    The same voxel for voxel as the argmax of MONAI's ``sliding_window_inference``, whose logits of the whole volume are
    never there: medquanbench.sliding says what is.

    The network sees one window at a time, whatever the window batch: convolutions add in another order for another
    batch, at 4 bits a last digit can move a rounding, and a volume's answer must not hang on that.

    Args:
        watch: called with (index of its first voxel, blended logits (class, x, y, z) float32) for every block of
            voxels, every voxel once; the logits are only there during the call.
        store: where unfinished logits are put aside; the default has a budget, and spills to the disk beyond it.

    Raises:
        RunError: the network's output holds NaN or infinity, or there is no room on the disk for unfinished logits.
    """
    labels = np.empty(volume.grid.shape, np.uint16)
    with torch.inference_mode(), store or Store() as held:
        for first, logits in blend(network, volume.tensor[None].to(device), window, held):
            if not all(map(math.isfinite, torch.stack(torch.aminmax(logits)).tolist())):
                raise RunError("the network's output holds NaN or infinity")
            box = tuple(slice(low, low + size) for low, size in zip(first, logits.shape[1:], strict=True))
            labels[box] = _first_largest(logits).cpu().numpy()
            if watch is not None:
                watch(first, logits)
            del logits  # a block keeps its whole cell in memory, and the network is next
    return labels


def _first_largest(logits: torch.Tensor) -> torch.Tensor:
    """The class of the largest logit, the first of equal ones: torch's own argmax, which takes three times as long."""
    largest, classes = logits[0].clone(), torch.zeros(logits.shape[1:], dtype=torch.int32, device=logits.device)
    for number, of_class in enumerate(logits):
        classes.masked_fill_(of_class > largest, number)
        torch.maximum(largest, of_class, out=largest)
    return classes
