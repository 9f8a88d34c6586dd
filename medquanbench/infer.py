"""From an image file to a label map on the image's own grid: preprocess, slide the window, blend (floor 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference

from medquanbench.bundle_config import Window
from medquanbench.images import Grid, read_image
from medquanbench.values import RequestError, RunError


@dataclass(frozen=True)
class Volume:
    """A preprocessed image: tensor (channel, x, y, z) float32, with the grid it lies on."""

    tensor: torch.Tensor
    grid: Grid


def preprocess(transform: Callable, image: Path) -> Volume:
    """Apply a bundle's preprocessing to one image file.

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
    tensor = data.as_tensor().float().contiguous()
    if not torch.isfinite(tensor).all():
        read_image(image)
        raise RequestError(f"the bundle's preprocessing makes NaN or infinity of {image}")
    return Volume(tensor, Grid(tuple(tensor.shape[1:]), np.asarray(data.affine, dtype=np.float64)))


def predict(network: Callable, volume: Volume, window: Window, device: str = "cpu") -> np.ndarray:
    """Label map (x, y, z) uint16 on the volume's own grid: blended logits of overlapping windows, then argmax.

    The network sees one window at a time, whatever the window batch: convolutions add in another order for another
    batch, at 4 bits a last digit can move a rounding, and a volume's answer must not hang on that. Takes
    4 * (outputs + 2) bytes a voxel of the volume on the device, beside the network's own need for one window.

    Raises:
        RunError: the network's output holds NaN or infinity.
    """

    with torch.inference_mode():
        logits = sliding_window_inference(
            volume.tensor[None].to(device),
            window.size,
            1,
            lambda view: network(view.contiguous()),
            overlap=window.overlap,
            mode=window.mode,
        )
    # Plane by plane: the logits of all classes are the largest thing in memory, and there is no room for their like.
    labels = np.empty(volume.grid.shape, np.uint16)
    for x, plane in enumerate(logits[0].unbind(dim=1)):
        if not torch.isfinite(plane).all():
            raise RunError("the network's output holds NaN or infinity")
        labels[x] = plane.argmax(dim=0).to("cpu", torch.int32).numpy()
    return labels
