"""The road of most Model Zoo bundles: outputs are interpolated back to the image's grid, and the largest wins there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from medquanbench.images import Grid, LabelMap, grid_of
from medquanbench.infer import predict, transformed, volume_of
from medquanbench.roads.inverse import on_image_grid
from medquanbench.roads.road import Begin, Network
from medquanbench.sliding import Index
from medquanbench.spill import Store

if TYPE_CHECKING:
    from medquanbench.bundle import Bundle

_GROUP_BYTES = 256 << 20
_BUDGET_BYTES = 1 << 30
_SHARES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "softmax": lambda logits: torch.softmax(logits, dim=0),
    "none": lambda logits: logits,
}
"""What each of the :data:`medquanbench.bundle_config.ACTIVATIONS` does."""


def logits_linear(
    network: Network, bundle: Bundle, images: tuple[Path, ...], device: str, begin: Begin | None = None
) -> LabelMap:
    """Slide the window, invert the preprocessing for each output as MONAI's Invertd does, take the largest there.

    The same as ``python -m monai.bundle run`` of a bundle that applies Activationsd (softmax), Invertd without
    ``nearest_interp`` and AsDiscreted (argmax). Outputs are put aside on the network's grid and come to the image's
    grid one after the other: there is never more than one of them there.

    Raises:
        RequestError: the image cannot be preprocessed, or its preprocessing cannot be undone.
        RunError: see :func:`medquanbench.infer.predict`.
    """
    transform, grid = bundle.preprocessing(), grid_of(images[0])
    data = transformed(transform, images[0])
    volume = volume_of(data)
    activation = _SHARES[json.loads(bundle.config).get("activation", "none")]
    watch = begin(volume.grid) if begin else None
    with _Outputs(volume.grid, len(bundle.labels)) as outputs:

        def keep(first_index_xyz: Index, logits: torch.Tensor) -> None:
            outputs.put(first_index_xyz, activation(logits))
            if watch is not None:
                watch(first_index_xyz, logits)

        predict(network, volume, bundle.window, device, keep)
        back = (on_image_grid(transform, data, output, grid, images[0], nearest=False) for output in outputs.each())
        return LabelMap(_largest(back, grid), grid)


class _Outputs:
    """The outputs of a volume: put in block by block, taken out class by class."""

    def __init__(self, grid: Grid, classes: int) -> None:
        self.shape, self.classes = grid.shape, classes
        self.group = max(_GROUP_BYTES // (4 * int(np.prod(grid.shape))), 1)
        self.store = Store(_BUDGET_BYTES)
        self.boxes: list[tuple[Index, tuple[int, ...]]] = []

    def __enter__(self) -> _Outputs:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.__exit__()

    def put(self, first: Index, values: torch.Tensor) -> None:
        """Values (class, x, y, z) from a voxel on."""
        for number in range(0, self.classes, self.group):
            part = values[number : number + self.group].to("cpu", copy=True).contiguous()
            self.store.put((first, number), part, due=number)
        self.boxes.append((first, tuple(values.shape[1:])))

    def each(self) -> Iterator[torch.Tensor]:
        """Every class over the whole volume, (x, y, z)."""
        for number in range(0, self.classes, self.group):
            whole = torch.empty((min(self.group, self.classes - number), *self.shape))
            for first, shape in self.boxes:
                box = tuple(slice(low, low + size) for low, size in zip(first, shape, strict=True))
                whole[:, *box] = self.store.take((first, number))
            yield from whole


def _largest(outputs: Iterable[torch.Tensor], grid: Grid) -> np.ndarray:
    """The number of the largest output, the first of equal ones."""
    largest, labels = torch.full(grid.shape, -torch.inf), torch.zeros(grid.shape, dtype=torch.int32)
    for number, output in enumerate(outputs):
        labels.masked_fill_(output > largest, number)
        torch.maximum(largest, output, out=largest)
    return labels.numpy().astype(np.uint16)
