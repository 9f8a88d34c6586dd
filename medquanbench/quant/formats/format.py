"""Format: a grid, what is stored of a scale, and how many neighbours share one."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from medquanbench.quant.grid import Grid
from medquanbench.quant.observers import absmax
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


def format_quantize(tensor: torch.Tensor, axis: int, format: Format, out: torch.Tensor | None = None) -> torch.Tensor:
    """A tensor in a format, blocked along one axis: same shape and dtype; arithmetic in float32.

    A last block that is not full has the scale that it would have if it were filled up with zeros.

    Args:
        tensor: any floating-point tensor.
        axis: along which blocks run.
        out: where the result is laid, float32 of the tensor's shape; None finds memory.

    Raises:
        RunError: NaN or infinity in the tensor.
    """
    if not tensor.numel():
        return tensor.clone()
    axis, single = axis % tensor.dim(), tensor.float()
    held = torch.empty_like(single) if out is None else out
    parts = list(zip(_blocks(single, axis, format.block), _blocks(held, axis, format.block)))
    largest = [absmax(blocks, (axis + 1,)) for blocks, _ in parts]
    most = torch.stack([part.amax() for part in largest]).amax()
    if not torch.isfinite(most):
        raise RunError(f"NaN or infinity in the tensor that is to be held as {format.name}")
    scales = [format.scales.scale(part, format.grid, most) for part in largest]
    for (blocks, place), scale in zip(parts, scales):
        torch.div(blocks, scale, out=place)
    format.grid.round_(held)
    for (_, place), scale in zip(parts, scales):
        place.mul_(scale)
    return held.to(tensor.dtype)


def _blocks(tensor: torch.Tensor, axis: int, block: int) -> list[torch.Tensor]:
    """Views of the full blocks, and of what is left: the axis becomes two, the blocks and what is inside them."""
    size = tensor.shape[axis]
    full, rest = size // block * block, size % block
    whole = [tensor.narrow(axis, 0, full).unflatten(axis, (-1, block))] if full else []
    return whole + ([tensor.narrow(axis, full, rest).unsqueeze(axis)] if rest else [])
