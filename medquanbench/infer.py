"""From an image file to a label map on the image's own grid: preprocess, slide the window, blend, restore (floor 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.inferers import sliding_window_inference

from medquanbench.bundle import Window
from medquanbench.images import Grid
from medquanbench.values import RequestError, RunError


@dataclass(frozen=True)
class Volume:
    """A preprocessed image: tensor (channel, x, y, z) float32, with the grid it lies on."""

    tensor: torch.Tensor
    grid: Grid


def preprocess(transform: Callable, image: Path) -> Volume:
    """Apply a bundle's preprocessing to one image file.

    Raises:
        RequestError: the file cannot be read as an image, or the result holds NaN or infinity.
    """
    try:
        data = transform({"image": str(image)})["image"]
    except Exception as error:  # MONAI wraps whatever a reader raises in RuntimeErrors of several lines.
        cause = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise RequestError(f"{image} cannot be read and preprocessed: {cause[-1]}") from error
    if data.ndim != 4:
        raise RequestError(f"{image} has {data.ndim - 1} spatial axes; 3 are needed")
    tensor = data.as_tensor().float().contiguous()
    if not torch.isfinite(tensor).all():
        raise RequestError(f"{image} holds NaN or infinity after preprocessing")
    return Volume(tensor, Grid(tuple(tensor.shape[1:]), np.asarray(data.affine, dtype=np.float64)))


def predict(network: Callable, volume: Volume, window: Window, device: str = "cpu") -> np.ndarray:
    """Label map (x, y, z) uint16 on the volume's own grid: blended logits of overlapping windows, then argmax.

    The network sees one window at a time, whatever the window batch: convolutions add in another order for another
    batch, at 4 bits a last digit can move a rounding, and a volume's answer must not hang on that.

    Raises:
        RunError: the network's output holds NaN or infinity.
    """

    def one_by_one(windows: torch.Tensor) -> torch.Tensor:
        return torch.cat([network(window) for window in windows.split(1)])

    with torch.inference_mode():
        logits = sliding_window_inference(
            volume.tensor[None].to(device),
            window.size,
            window.batch,
            one_by_one,
            overlap=window.overlap,
            mode=window.mode,
        )
    if not torch.isfinite(logits).all():
        raise RunError("the network's output holds NaN or infinity")
    return logits[0].argmax(dim=0).to("cpu", torch.int32).numpy().astype(np.uint16)


def restore_labels(labels: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """Carry a label map to another grid, each target voxel taking the nearest source voxel's label; outside is 0.

    Exact for grids whose axes are parallel up to order and sign (what reorienting and resampling make): there a voxel's
    position along one axis does not depend on the others, and three index arrays do it.

    Raises:
        ValueError: the grids are oblique to each other.
    """
    step = np.linalg.inv(source.affine) @ target.affine
    linear = step[:3, :3]
    axis_of = np.abs(linear).argmax(axis=1)  # source axis -> target axis
    main = np.zeros_like(linear)
    main[range(3), axis_of] = linear[range(3), axis_of]
    if sorted(axis_of) != [0, 1, 2] or np.abs(linear - main).max() * max(target.shape) > 0.01:
        raise ValueError("the grids are oblique to each other: axes must be parallel up to order and sign")
    padded = np.pad(labels, 1)  # an index outside lands on the border of zeros
    picks = [np.empty(0, np.int64)] * 3
    for axis, along in enumerate(axis_of):
        position = np.rint(linear[axis, along] * np.arange(target.shape[along]) + step[axis, 3])
        picks[along] = np.clip(position, -1, source.shape[axis]).astype(np.int64) + 1
    return padded.transpose(np.argsort(axis_of))[np.ix_(*picks)]
