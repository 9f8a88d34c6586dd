"""The road of Model Zoo bundles that take the largest output first: MONAI's own nearest neighbour carries labels back.

As ``labels-nearest``, but for voxels midway between two of the network's grid: MONAI decides there by rounding
positions in single precision, and what its command saves is repeated to the voxel.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from medquanbench.images import LabelMap, grid_of
from medquanbench.infer import predict, transformed, volume_of
from medquanbench.roads.inverse import on_image_grid
from medquanbench.roads.road import Begin, Network

if TYPE_CHECKING:
    from medquanbench.bundle import Bundle


def labels_inverted(
    network: Network, bundle: Bundle, images: tuple[Path, ...], device: str, begin: Begin | None = None
) -> LabelMap:
    """Slide the window, take the largest logit, undo the preprocessing with MONAI's transforms.

    The same as ``python -m monai.bundle run`` of a bundle that inverts labels or outputs with ``nearest_interp``.

    Raises:
        RequestError: the image cannot be preprocessed, or its preprocessing cannot be undone.
        RunError: see :func:`medquanbench.infer.predict`.
    """
    transform, grid = bundle.preprocessing(), grid_of(images[0])
    data = transformed(transform, images[0])
    volume = volume_of(data)
    labels = predict(network, volume, bundle.window, device, begin(volume.grid) if begin else None)
    numbers = torch.from_numpy(labels.astype(np.float32))
    back = on_image_grid(transform, data, numbers, grid, images[0], nearest=True)
    return LabelMap(back.numpy().astype(np.uint16), grid)
