"""The road of the paper-family bundles: argmax on the network's grid, each label carried to the nearest voxel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medquanbench.images import LabelMap, grid_of
from medquanbench.infer import predict, preprocess
from medquanbench.restore import restore_labels
from medquanbench.roads.road import Begin, Network

if TYPE_CHECKING:
    from medquanbench.bundle import Bundle


def labels_nearest(
    network: Network, bundle: Bundle, images: tuple[Path, ...], device: str, begin: Begin | None = None
) -> LabelMap:
    """Preprocess, slide the window, take the largest logit, carry labels back: see :class:`medquanbench.roads.Road`.

    Raises:
        RequestError: the image cannot be preprocessed, or not so that its answer can be laid over it.
        RunError: see :func:`medquanbench.infer.predict`.
    """
    volume, grid = preprocess(bundle.preprocessing(), images[0]), grid_of(images[0])
    labels = predict(network, volume, bundle.window, device, begin(volume.grid) if begin else None)
    return LabelMap(restore_labels(labels, volume.grid, grid), grid)
