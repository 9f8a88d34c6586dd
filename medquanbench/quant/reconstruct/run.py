"""Learned rounding carried out on a network: block by block, in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn

from medquanbench.quant.calibrate import NO_INPUTS
from medquanbench.quant.quantized import Activation, QuantizedLayer
from medquanbench.quant.reconstruct.fit import Fitted, fit
from medquanbench.quant.reconstruct.reconstruction import Reconstruction
from medquanbench.quant.reconstruct.samples import Wanted, gather
from medquanbench.quant.reconstruct.units import Unit, find_units
from medquanbench.quant.reconstruct.whole import Whole
from medquanbench.quant.weight import OnGrid
from medquanbench.values import RequestError

WINDOWS = 16
"""Calibration inputs that are looked at, from all of them at equal distances; fewer where ``PASS_WORK`` asks for it."""
SAMPLES = 32
"""Inputs of a unit: whole ones or crops."""
FEWEST = 4
"""Of both, whatever work and memory they take."""
KEPT_BYTES = 1 << 29
"""What the samples of units that are gathered in one pass may take."""
PASSES = 3
"""At least, over a network."""
PASS_WORK = 4 * 10**12
"""Multiply-adds of all passes. Where a network needs more for a pass to every unit, neighbours share one: each then
learns from what it reads before those before it have been learned."""
JUDGING_WORK = 2 * 10**12
"""Multiply-adds of all looks at the whole network. Where one look after each unit would be more, there is none."""


def reconstruct(
    root: nn.Module,
    original: nn.Module,
    layers: Mapping[str, QuantizedLayer],
    weights: Mapping[str, OnGrid],
    planned: Mapping[str, Activation],
    how: Reconstruction,
    calibration: Iterable[torch.Tensor],
) -> dict[str, OnGrid]:
    """Learn which way the weights of a quantized network are rounded; scales of weights stay as they are.

    Every block is fitted to what the float network answers there. It keeps the rounding with which it came unless the
    learned one is nearer on a quarter of the inputs, which it has not learned from; and unless the answer of the whole
    network to them is no further from the float one's, as far as that is little work.

    Args:
        root: the quantized network: weights on their grids, activations in float.
        original: a copy of it with float weights and activations.
        layers: quantized layers by path.
        weights, planned: where the weight of each lies, and how it is to hold its input.
        calibration: re-iterable.

    Returns:
        ``weights``, with what became of each in words.

    Raises:
        RequestError: there are no calibration inputs.
        RunError: NaN or infinity in what a block answers to one.
    """
    if how.drop is not None:
        for path, layer in layers.items():
            layer.activation = planned[path]
    learned = frozenset(path for path, weight in weights.items() if weight.scale is not None)
    units = find_units(original, _first(calibration), learned, how.blocks)
    forward = max(1, sum(unit.whole_work for unit in units))
    chosen = _chosen(calibration, forward)
    originals = {part.path: part for part in original.modules() if isinstance(part, QuantizedLayer)}
    told = dict.fromkeys(learned, "rounding not learned: no calibration input reached it")
    apart = set(chosen[-max(1, len(chosen) // 4) :]) if len(chosen) > 1 else set()
    batch = next(iter(layers.values())).batch
    whole = Whole(root, original, list(layers.values()), planned, _judged(calibration, apart, forward * len(units)))
    for together in _together(units, chosen, forward, how.drop is not None):
        samples = gather(together, root, original, batch, _numbered(calibration, chosen), how.drop is not None)
        for wanted in together:
            unit, found = wanted.unit, samples.pop(wanted.unit.path)
            fitting = [one for one in found if one.window not in apart] or found
            aside = [one for one in found if one.window in apart] or found
            module = root.get_submodule(unit.path)
            fitted = fit(unit, module, originals, layers, weights, how, fitting, aside, whole.is_no_further)
            told |= dict.fromkeys(unit.layers, _words(unit, fitted))
    batch.image_step = 0.0
    return {path: weight.adding(told[path]) if path in told else weight for path, weight in weights.items()}


def _judged(calibration: Iterable[torch.Tensor], apart: set[int], work: int) -> list[torch.Tensor]:
    """Inputs kept aside on which the whole network is run after each unit, as many as are little work.

    Args:
        work: multiply-adds that one of them costs.
    """
    return [image for _, image in _numbered(calibration, sorted(apart)[: JUDGING_WORK // max(1, work)])]


def _words(unit: Unit, fitted: Fitted) -> str:
    what = f"block '{unit.path}'" if unit.path not in unit.layers else "layer"
    if not fitted.stays:
        where = "its output" if fitted.after >= fitted.before else "the network's output"
        return f"{what}: kept: learned rounding brought {where} no nearer"
    return f"{what}: output error {100 * fitted.after / fitted.before:.0f} % of before"


def _first(calibration: Iterable[torch.Tensor]) -> torch.Tensor:
    image = next(iter(calibration), None)
    if image is None:
        raise RequestError(NO_INPUTS)
    return image


def _chosen(calibration: Iterable[torch.Tensor], forward: int) -> list[int]:
    """Numbers of the inputs that are looked at, where a forward is so many multiply-adds."""
    count, most = sum(1 for _ in calibration), PASS_WORK // (2 * PASSES * forward)
    most = max(FEWEST, min(WINDOWS, most))
    return sorted({count * k // most for k in range(most)})


def _numbered(calibration: Iterable[torch.Tensor], chosen: list[int]) -> Iterator[tuple[int, torch.Tensor]]:
    """The chosen inputs with their numbers; none after the last of them is asked for."""
    if not chosen:
        return
    last = max(chosen)
    for number, image in enumerate(calibration):
        if number in chosen:
            yield number, image
        if number == last:
            return


def _together(units: list[Unit], chosen: list[int], forward: int, mixes: bool) -> Iterator[list[Wanted]]:
    """Neighbouring units that are looked at in one pass."""
    passes = max(PASSES, PASS_WORK // (2 * len(chosen) * forward))
    most = -(-len(units) // passes)
    together: list[Wanted] = []
    taken = 0
    for unit in units:
        read, made = unit.values
        size = 4 * ((2 if mixes else 1) * read + made)
        count = max(FEWEST, min(SAMPLES, KEPT_BYTES // size))
        windows = chosen[:: -(-len(chosen) // count)]
        crops = max(1, count // len(windows)) if unit.crop else 1
        size *= crops * len(windows)
        if together and (taken + size > KEPT_BYTES or len(together) == most):
            yield together
            together, taken = [], 0
        together.append(Wanted(unit, frozenset(windows), crops))
        taken += size
    if together:
        yield together
