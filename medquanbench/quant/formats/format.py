"""Format: a grid, what is stored of a scale, and how many neighbours share one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import pad

from medquanbench.quant.grid import Grid
from medquanbench.quant.scales import ScaleFormat
from medquanbench.values import RunError


@dataclass(frozen=True)
class Format:
    """Blocks of ``block`` neighbours along one axis, each with a scale; its values lie on ``grid`` times that."""

    name: str
    grid: Grid
    scales: ScaleFormat
    block: int

    @property
    def effective_bits(self) -> float:
        """Bits of a value and its share of the scale, where blocks are full: 4.25 for mxfp4, 4.5 for nvfp4."""
        return self.grid.bits + self.scales.bits / self.block


def format_quantize(tensor: torch.Tensor, axis: int, format: Format) -> torch.Tensor:
    """A tensor in a format, blocked along one axis: same shape and dtype; arithmetic in float32.

    Written for reading, as the definition that faster code is tested against.

    Args:
        tensor: any floating-point tensor; a last block that is not full is filled up with zeros.
        axis: along which blocks run.

    Raises:
        RunError: NaN or infinity in the tensor.
    """
    if not torch.isfinite(tensor).all():
        raise RunError(f"NaN or infinity in the tensor that is to be held as {format.name}")
    if not tensor.numel():
        return tensor.clone()
    single = tensor.float().movedim(axis, -1)
    size = single.shape[-1]
    blocks = pad(single, (0, -size % format.block)).unflatten(-1, (-1, format.block))
    largest = blocks.abs().amax(-1, keepdim=True)
    scale = format.scales.scale(largest, format.grid, largest.amax())
    held = format.grid.round_(blocks / scale) * scale
    return held.flatten(-2)[..., :size].movedim(-1, axis).to(tensor.dtype)
