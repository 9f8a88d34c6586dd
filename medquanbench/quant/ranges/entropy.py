"""entropy: the bounds under which quantized values are spread most like the values (Kullback-Leibler)."""

import torch

from medquanbench.quant.histogram import Histogram
from medquanbench.quant.static import place

STEPS = 64
_LEAST = 1e-12


def entropy(values: Histogram, bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The range, drawn in on both sides alike, with the smallest divergence; ties stay with the wider range.

    What is clipped is counted in the outermost bins of the range; the values of one level are spread evenly over the
    bins that have values (NVIDIA's 8-bit inference with TensorRT, GTC 2017, for ranges that need not be symmetric).
    """
    chosen, least = None, None
    for step in range(STEPS, STEPS // 8, -1):
        low, high = values.low * (step / STEPS), values.high * (step / STEPS)
        found = _divergence(values, low, high, bits)
        if chosen is None:
            chosen, least = (low, high), found
            continue
        better = found < least
        chosen = torch.where(better, low, chosen[0]), torch.where(better, high, chosen[1])
        least = torch.where(better, found, least)
    return chosen


def _divergence(values: Histogram, low: torch.Tensor, high: torch.Tensor, bits: int) -> torch.Tensor:
    centres = values.centres.float()
    placed = place(low[:, None], high[:, None], bits)
    level = (placed.quantize(centres) / placed.step - placed.lowest).round().long()
    inside = (centres >= low[:, None]) & (centres <= high[:, None])
    counts, held = values.counts, (values.counts > 0).double()
    # The reference: values outside count with the outermost bins inside.
    first = inside.int().argmax(1, keepdim=True)
    last = inside.shape[1] - 1 - inside.flip(1).int().argmax(1, keepdim=True)
    place_of = torch.arange(inside.shape[1]).expand_as(level)
    shape = torch.zeros_like(counts).scatter_add(1, place_of.clamp(min=first, max=last), counts)
    levels = torch.zeros(len(level), 2**bits, dtype=torch.float64)
    total = levels.scatter_add(1, level, counts * inside)
    bins = levels.scatter_add(1, level, held * inside)
    spread = total.gather(1, level) / bins.gather(1, level).clamp(min=1) * held * inside
    p, q = shape / shape.sum(1, keepdim=True).clamp(min=1), spread / spread.sum(1, keepdim=True).clamp(min=1)
    return (p * torch.log(p.clamp(min=_LEAST) / q.clamp(min=_LEAST))).sum(1)
