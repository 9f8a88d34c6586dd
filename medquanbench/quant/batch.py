"""Batch: what one forward of a quantized network says to all layers in it, and the memory that they share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from medquanbench.quant.joins import Joins
from medquanbench.quant.workspace import Workspace


class Batch:
    """Samples in the present forward, which memory holds the image, and room to quantize in; nothing between forwards.

    Hooks are methods, so that a copy of a network, or one that was pickled, listens to its own root.
    """

    def __init__(self) -> None:
        self.samples: int | None = None
        self.image_step = 0.0
        self.joins: Joins | None = None
        self._image: int | None = None
        self._workspace = Workspace()

    def listen(self, root: nn.Module) -> None:
        """Begin and end with every call of the network, also where it fails."""
        root.register_forward_pre_hook(self._begin, with_kwargs=True)
        root.register_forward_hook(self._end, always_call=True)

    @contextmanager
    def part(self, samples: int, image: torch.Tensor | None = None) -> Iterator[None]:
        """While it is entered, a part of the network may be called alone, as in a forward of so many samples.

        Args:
            image: what the part reads, if that is the image.
        """
        self.samples, self._image = samples, None if image is None else image.untyped_storage().data_ptr()
        try:
            yield
        finally:
            self.samples = self._image = None
            self._workspace.clear()

    @property
    def is_open(self) -> bool:
        """True inside a forward of the root."""
        return self.samples is not None

    def is_image(self, tensor: torch.Tensor) -> bool:
        """True for the image and for views of it (one modality of several, say); not for what is computed from it."""
        return self._image is not None and self._image == tensor.untyped_storage().data_ptr()

    def groups(self, leading: int) -> int:
        """Samples on a leading axis of k*B: B. Outside a forward of the root every entry is a sample."""
        if not self.samples:
            return leading
        # What does not grow with the batch (a table, a prompt) belongs to no sample: one group.
        return self.samples if leading % self.samples == 0 else 1

    def note_image_step(self, step: float) -> None:
        self.image_step = max(self.image_step, step)

    def room_for(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """Memory for the quantized tensor, for as long as it is held; None outside a forward: torch finds some."""
        return self._workspace.like(tensor) if self.is_open else None

    def _begin(self, root: nn.Module, arguments: tuple, keywords: dict) -> None:
        image = _first_tensor((arguments, keywords))
        if image is not None:
            self.samples = image.shape[0] if image.dim() else 1
            if not torch.compiler.is_compiling():  # memory has no address yet
                self._image = image.untyped_storage().data_ptr()

    def _end(self, root: nn.Module, arguments: tuple, output: object) -> None:
        self.samples = self._image = None
        if not torch.compiler.is_compiling():
            self._workspace.clear()


def _first_tensor(value: Any) -> torch.Tensor | None:
    if isinstance(value, torch.Tensor):
        return value
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return next((found for found in map(_first_tensor, items) if found is not None), None)
