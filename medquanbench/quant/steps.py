"""What transforms put before a layer's grid: each a module that takes (input, output_size), see QuantizedLayer."""

from __future__ import annotations

import torch
from torch import nn

from medquanbench.quant.kind import Kind, channel_axis


class Divide(nn.Module):
    """The input divided by a factor for each of its channels."""

    def __init__(self, factors: torch.Tensor, kind: Kind) -> None:
        super().__init__()
        self.register_buffer("factors", factors.reshape(-1, *[1] * kind.spatial_rank))

    def forward(self, x: torch.Tensor, output_size: list[int] | None) -> tuple[torch.Tensor, None]:
        return (x / self.factors).to(x.dtype), None


class Rotate(nn.Module):
    """Blocks of neighbouring channels, each multiplied by one symmetric orthogonal matrix (block, block)."""

    def __init__(self, matrix: torch.Tensor, kind: Kind) -> None:
        super().__init__()
        self.axis = channel_axis(kind)
        self.register_buffer("matrix", matrix)

    def forward(self, x: torch.Tensor, output_size: list[int] | None) -> tuple[torch.Tensor, None]:
        block = len(self.matrix)
        last = x.movedim(self.axis, -1)
        turned = last.unflatten(-1, (-1, block)).float() @ self.matrix
        return turned.flatten(-2).to(x.dtype).movedim(-1, self.axis).contiguous(), None
