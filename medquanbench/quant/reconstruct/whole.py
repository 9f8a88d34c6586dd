"""Whole: how far the answers of a quantized network are from those of the float one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from medquanbench.quant.flow import tensors
from medquanbench.quant.quantized import Activation, QuantizedLayer


class Whole:
    """Knows the float answers to some inputs, and the least error that the quantized network has had on them.

    Args:
        root, original: the quantized network and the float one.
        layers, planned: of the quantized one, and how they are to hold what they read, by path.
        images: inputs; without any, nothing is ever further.
    """

    def __init__(
        self,
        root: nn.Module,
        original: nn.Module,
        layers: list[QuantizedLayer],
        planned: Mapping[str, Activation],
        images: list[torch.Tensor],
    ) -> None:
        self._root, self._layers, self._planned, self._images = root, layers, planned, images
        with torch.no_grad():
            self._answers = [list(tensors(original(image))) for image in images]
        self._least = self._error()

    def is_no_further(self) -> bool:
        """Whether the network as it is now, activations on their grids, is as near as it has ever been."""
        error = self._error()
        if error > self._least:
            return False
        self._least = error
        return True

    @torch.no_grad()
    def _error(self) -> float:
        missed = 0.0
        held = [layer.activation for layer in self._layers]
        try:
            for layer in self._layers:
                layer.activation = self._planned[layer.path]
            for image, answers in zip(self._images, self._answers):
                for answer, target in zip(tensors(self._root(image)), answers, strict=True):
                    missed += float((answer - target).double().square().sum())
        finally:
            for layer, activation in zip(self._layers, held):
                layer.activation = activation
        return missed
