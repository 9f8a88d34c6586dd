"""Fit: the rounding of one unit, learned on its samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import instance_norm

from medquanbench.quant.batch import Batch
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.reconstruct.reconstruction import Reconstruction
from medquanbench.quant.reconstruct.samples import Sample
from medquanbench.quant.reconstruct.stand_in import StandIn, float_rows, start_rows
from medquanbench.quant.reconstruct.units import VALUES, WORK, Unit
from medquanbench.quant.reconstruct.up_or_down import UpOrDown
from medquanbench.quant.sites import replaced_in
from medquanbench.quant.weight import OnGrid

RATE = 0.05
"""Of Adam, for V; it falls to zero as a cosine."""
STEP_RATE = 0.002
"""Of Adam, for the logarithm of static activation steps."""
_MOST = 8


@dataclass(frozen=True)
class Fitted:
    """How a fit went.

    Attributes:
        before, after: squared error of the unit's answers to inputs kept aside, over the square of the answers.
        stays: whether the learned rounding was taken.
    """

    before: float
    after: float
    stays: bool


def fit(
    unit: Unit,
    module: nn.Module,
    originals: Mapping[str, QuantizedLayer],
    layers: Mapping[str, QuantizedLayer],
    weights: Mapping[str, OnGrid],
    how: Reconstruction,
    samples: list[Sample],
    aside: list[Sample],
    accepts: Callable[[], bool],
) -> Fitted:
    """Learn the rounding of a unit's weights; what is no better on inputs kept aside is left as it was.

    Args:
        module: of the quantized network.
        originals, layers, weights: float layers, quantized ones and where their weights lie, by path.
        samples, aside: what to learn from, and what to compare on.
        accepts: asked where it is better there: whether it may stay.
    """
    random = torch.Generator().manual_seed(unit.order)
    own = [layers[path] for path in unit.layers]
    batch = own[0].batch
    starts = [(layer, layer.layer.weight, layer.placed) for layer in own]
    before = _error(unit, module, batch, aside)
    stand_ins = {}
    for layer in own:
        place = weights[layer.path]
        rounding = UpOrDown(float_rows(originals[layer.path], layer), start_rows(layer), place.scale, place.grid)
        stand_ins[id(layer)] = StandIn(layer, rounding, how.drop, random)
    replaced = replaced_in(module, stand_ins)
    try:
        _descend(unit, replaced, list(stand_ins.values()), batch, how, samples, random)
    finally:
        replaced_in(replaced, {id(stand_in): stand_in.quantized for stand_in in stand_ins.values()})
    for stand_in in stand_ins.values():
        stand_in.give_back()
    after = _error(unit, module, batch, aside)
    fitted = Fitted(before, after, after < before and accepts())
    if not fitted.stays:
        for layer, weight, placed in starts:
            layer.layer.weight, layer.placed = weight, placed
    return fitted


def _descend(
    unit: Unit,
    module: nn.Module,
    stand_ins: list[StandIn],
    batch: Batch,
    how: Reconstruction,
    samples: list[Sample],
    random: torch.Generator,
) -> None:
    """Adam on V, and on static steps where they are learned; ``module`` has the stand-ins in it."""
    values = [stand_in.rounding.v for stand_in in stand_ins]
    stretches = [stand_in.stretch for stand_in in stand_ins if stand_in.stretch is not None]
    descent = torch.optim.Adam([{"params": values, "lr": RATE}, {"params": stretches, "lr": STEP_RATE}])
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(descent, how.steps)
    square = sum(float(_seen(unit, one.target).square().mean()) for one in samples) / len(samples)
    together = _together(unit, samples)
    for _ in range(how.steps):
        chosen = torch.randperm(len(samples), generator=random)[:together].tolist()
        one = _joined([samples[k] for k in chosen])
        x = _mixed(one, how.drop, random)
        with torch.enable_grad(), batch.part(one.samples, x if one.is_image else None):
            answer = unit.answer(module, x)
            loss = (_seen(unit, answer) - _seen(unit, one.target)).square().mean() / square
            parameters = [*values, *stretches]
            for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True)):
                parameter.grad = slope
        descent.step()
        falling.step()


def _together(unit: Unit, samples: list[Sample]) -> int:
    """How many samples make one step: as many as may be joined, and are no more work than one step should be."""
    alike = len({(one.read.shape[1:], one.is_image) for one in samples}) == 1
    if unit.rest != ((), {}) or unit.calls > 1 or not alike:
        return 1
    most = min(WORK // unit.work, VALUES // max(unit.values), _MOST, len(samples))
    return max(1, most)


def _joined(samples: list[Sample]) -> Sample:
    if len(samples) == 1:
        return samples[0]
    read, target = (torch.cat([getattr(one, name) for one in samples]) for name in ("read", "target"))
    first = samples[0]
    float_read = None if first.float_read is None else torch.cat([one.float_read for one in samples])
    return Sample(first.window, read, float_read, target, sum(one.samples for one in samples), first.is_image)


def _mixed(one: Sample, drop: float | None, random: torch.Generator) -> torch.Tensor:
    """What the unit reads, a share of it as in the float network (QDrop); a tensor of its own, to be written into."""
    if one.float_read is None or not drop:
        return one.read.clone()
    left = torch.rand(one.read.shape, generator=random) < drop
    return torch.where(left.to(one.read.device), one.float_read, one.read)


def _seen(unit: Unit, answer: torch.Tensor) -> torch.Tensor:
    """An answer as far as what follows looks at it."""
    return instance_norm(answer) if unit.normed and answer[0, 0].numel() > 1 else answer


@torch.no_grad()
def _error(unit: Unit, module: nn.Module, batch: Batch, samples: list[Sample]) -> float:
    """Squared error of a unit's answers, over the square of what they should be."""
    missed = whole = 0.0
    for one in samples:
        x = one.read.clone()
        with batch.part(one.samples, x if one.is_image else None):
            answer, target = _seen(unit, unit.answer(module, x)), _seen(unit, one.target)
        missed += float((answer - target).double().square().sum())
        whole += float(target.double().square().sum())
    return missed / whole if whole else 0.0
