"""From an image file to a label map on the image's own grid: preprocess, slide the window, blend (floor 2)."""

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
