"""mse: the bounds whose grid is closest to the values, in the mean square."""

import torch

from medquanbench.quant.histogram import Histogram
from medquanbench.quant.static import place

STEPS = 50
_ROUNDS = 2


def mse(values: Histogram, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Both bounds drawn in by fiftieths, one after the other and again; ties stay with the wider range.

    The error is that of the bins' middles; it is never above that of the whole range.
    """
    low, high = values.low, values.high
    for _ in range(_ROUNDS):
        high = _best(values, bits, [(low, values.high * (step / STEPS)) for step in range(STEPS, 0, -1)])[1]
        low = _best(values, bits, [(values.low * (step / STEPS), high) for step in range(STEPS, 0, -1)])[0]
    return low, high


def error(values: Histogram, low: torch.Tensor, high: torch.Tensor, bits: int) -> torch.Tensor:
    """Sum of the squared distances between the values and their places on the grid, float64 (groups,)."""
    centres = values.centres.float()
    placed = place(low[:, None], high[:, None], bits)
    return ((placed.quantize(centres) - centres).double() ** 2 * values.counts).sum(1)


def _best(
    values: Histogram, bits: int, candidates: list[tuple[torch.Tensor, torch.Tensor]]
) -> tuple[torch.Tensor, torch.Tensor]:
    chosen, least = candidates[0], error(values, *candidates[0], bits)
    for low, high in candidates[1:]:
        found = error(values, low, high, bits)
        better = found < least
        chosen = torch.where(better, low, chosen[0]), torch.where(better, high, chosen[1])
        least = torch.where(better, found, least)
    return chosen
