"""A weight whose values each go up or down to a neighbour on the grid, as AdaRound has it; which way is learned.

    W = S (lower + [h(V) >= 1/2] (upper - lower)),    h(V) = clip(sigmoid(V) (zeta - gamma) + gamma, 0, 1)

h is equation 23 of Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", 2020. There the
forward uses h itself, and a regulariser drives it to 0 or 1 over ten thousand steps. Here the forward is rounded from
the first step on, and the gradient passes to h straight through: after 200 steps a block of the nnU-Net demo at W2A4
has 56 % of the error that GPTQ had left, and with equation 21 it has 87 %. And lower and upper are any neighbours, not
integers alone, so that every grid will do.
"""

from __future__ import annotations

import torch
from torch import nn

from medquanbench.quant.grid import Grid

ZETA, GAMMA = 1.1, -0.1
MARGIN = 0.05
"""How far from the middle a value begins where its start is not the nearest one."""
_FINEST, _COARSEST = -24, 18  # powers of two between which every grid has its values


def levels_of(grid: Grid) -> torch.Tensor:
    """All values of a grid, float32, ascending.

    They are what numbers of 10 significant bits round to, between 2^-24 and 2^18 and their negatives: no two values of
    a grid of 8 bits are so close that none of these lies nearest to each.
    """
    parts = 1 + torch.arange(512) / 512
    powers = 2.0 ** torch.arange(_FINEST, _COARSEST)
    positive = (powers[:, None] * parts).flatten()
    return grid.round_(torch.cat([-positive, torch.zeros(1), positive])).unique() + 0.0


def rectified_sigmoid(v: torch.Tensor) -> torch.Tensor:
    """h(V): 0 to 1, both reached at finite V."""
    return (torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def inverse(h: torch.Tensor) -> torch.Tensor:
    """V of h from 0 to 1."""
    return torch.logit((h - GAMMA) / (ZETA - GAMMA))


class UpOrDown(nn.Module):
    """The rows of a layer's weight, each value on one of two neighbours of the grid.

    It begins on ``start``, and each value stays there or moves to the neighbour on the side of the float value. What
    lies further than one level from that (as GPTQ leaves some) has the neighbour that is nearer to it.

    Args:
        rows: the float weight, float32 (groups, o, k).
        start: rows on the grid.
        scale: float32, broadcasts to rows.
    """

    def __init__(self, rows: torch.Tensor, start: torch.Tensor, scale: torch.Tensor, grid: Grid) -> None:
        super().__init__()
        levels = levels_of(grid).to(rows.device)
        wanted, last = rows / scale, len(levels) - 2
        at = torch.bucketize(start / scale, (levels[1:] + levels[:-1]) / 2)
        below = torch.bucketize(wanted, levels, right=True) - 1
        below = torch.where(at > below + 1, at - 1, torch.where(at < below, at, below)).clamp(0, last)
        self.register_buffer("lower", levels[below])
        self.register_buffer("upper", levels[below + 1])
        self.register_buffer("scale", scale)
        share = ((wanted - self.lower) / (self.upper - self.lower)).clamp(0, 1)
        share = torch.where(at > below, share.clamp(min=0.5 + MARGIN), share.clamp(max=0.5 - MARGIN))
        self.v = nn.Parameter(inverse(share))

    def forward(self) -> torch.Tensor:
        """Rows on the grid times the scale, float32; V gets the gradient of h."""
        h = rectified_sigmoid(self.v)
        rounded = torch.where(h >= 0.5, self.upper, self.lower)
        passed = (h - h.detach()) * (self.upper - self.lower)  # zero, but for its gradient
        return self.scale * (rounded + passed)
