"""A convolution computed slab by slab, for passes over calibration inputs: the same answer in less memory.

For its convolutions torch reorders input and output, and holds both twice meanwhile: 0.8 GB for 64 to 32 channels of
128 x 128 x 128 voxels. Of a slab, all that is small.
"""

from __future__ import annotations

import ctypes
import sys

import torch
from torch import nn

from medquanbench.quant.kind import Convolution, Kind
from medquanbench.quant.layers import geometry_of

SLAB_BYTES = 1 << 25
"""Of the output; smaller ones take longer, since neighbouring slabs read the same rows."""

_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
"""glibc's; other C libraries have none."""

_CONVOLVE = {1: nn.functional.conv1d, 2: nn.functional.conv2d, 3: nn.functional.conv3d}


def in_slabs(layer: nn.Module, kind: Kind, x: torch.Tensor, divisor: torch.Tensor | None = None) -> torch.Tensor:
    """What a layer answers; slabs lie along the first spatial axis of a convolution's output.

    Small outputs and layers of other kinds are computed whole, and so are convolutions that pad otherwise than with
    zeros, differently on two sides, or by more than their kernel.

    Args:
        x: (n, c, *spatial) of a convolution.
        divisor: of what the layer reads, broadcasts to ``x``: (c, 1, ...); None divides by nothing.
    """
    rows = _rows(layer, kind, x)
    if rows is None:
        return layer(x if divisor is None else x / divisor)
    geometry, length = geometry_of(layer), x.shape[2]
    step, zeros = geometry.stride[0], geometry.before[0]
    reach = geometry.dilation[0] * (kind.kernel[0] - 1) + 1
    count = (length + 2 * zeros - reach) // step + 1
    answer = None
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        first, last = start * step - zeros, (stop - 1) * step - zeros + reach
        part = x[:, :, max(first, 0) : min(last, length)]
        part = part if divisor is None else part / divisor
        ends = [0, 0] * (kind.spatial_rank - 1) + [max(0, -first), max(0, last - length)]
        found = _CONVOLVE[kind.spatial_rank](
            nn.functional.pad(part, ends) if any(ends) else part, layer.weight, layer.bias, geometry.stride,
            (0, *geometry.before[1:]), geometry.dilation, kind.groups,
        )  # fmt: skip
        if answer is None:
            answer = found.new_empty(*found.shape[:2], count, *found.shape[3:])
        answer[:, :, start:stop] = found
    if x.device.type == "cpu":
        _give_back()
    return answer


def _give_back() -> None:
    """Let the system have the memory of slabs that were freed: in the heap it lies in holes that no map fits into."""
    if _TRIM is not None:
        _TRIM(0)


def _rows(layer: nn.Module, kind: Kind, x: torch.Tensor) -> int | None:
    """Rows of a slab; None for what is computed whole."""
    geometry = geometry_of(layer) if isinstance(kind, Convolution) and not kind.transposed else None
    if geometry is None or geometry.before != geometry.after or x.dim() != kind.spatial_rank + 2:
        return None
    reach = [d * (k - 1) + 1 for d, k in zip(geometry.dilation, kind.kernel)]
    counts = [
        (n + 2 * zeros - r) // s + 1 for n, zeros, r, s in zip(x.shape[2:], geometry.before, reach, geometry.stride)
    ]
    if min(counts) < 1 or geometry.before[0] >= reach[0]:
        return None
    row = x.element_size() * x.shape[0] * kind.outputs * torch.Size(counts[1:]).numel()
    rows = max(1, SLAB_BYTES // row)
    return rows if rows < counts[0] else None
