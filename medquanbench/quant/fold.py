"""Fold: what divides a layer's input goes into the norm or the layer that makes that input, where nobody else reads it.

A norm's weight and bias, or the output channels of a layer, are divided once, instead of the activation at every
forward. Functions that commute with a positive factor for each channel may lie between (``flow.COMMUTING``). Several
layers that read one tensor get the same factors: SmoothQuant's for the largest of their weights, channel by channel.
As they have the activation in common, that is the smallest of their factors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from medquanbench.quant.calibrate import NO_INPUTS, pass_on
from medquanbench.quant.flow import Flow, Value, tensors
from medquanbench.quant.layers import divide_norm, divide_outputs, hold_weight, norm_channels, weight_groups
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.steps import Divide
from medquanbench.values import RequestError

NEAR = 1e-4
"""Of the largest value of the network's answer: what folding may change, by float rounding."""
_EVERY = 7  # value of the answer is compared


@dataclass(frozen=True)
class _Fold:
    """Layers whose division goes into the layer or norm that makes their input, and its path."""

    maker: str
    readers: tuple[str, ...]


def fold(root: nn.Module, layers: Mapping[str, QuantizedLayer], calibration: Iterable[torch.Tensor]) -> dict[str, str]:
    """Fold the division of the layers' inputs wherever a forward shows that it can be.

    One calibration input is answered as before, to ``NEAR``; else all is taken back.

    Args:
        layers: each with a division as its last step.

    Returns:
        path -> by what the input is divided, and where; or why not elsewhere.

    Raises:
        RequestError: there are no calibration inputs.
    """
    image = next(iter(calibration), None)
    if image is None:
        raise RequestError(NO_INPUTS)
    flow = Flow(root)
    before = _some(pass_on(root, layers.values(), image, flow))
    folds, reasons = _found(flow, layers)
    changed = {path for one in folds for path in (one.maker, *one.readers)}
    kept = [_Kept.of(flow.modules[path]) for path in changed]
    told = {path: f"{_span(_factors(layers[path]))}, on the activation: {why}" for path, why in reasons.items()}
    for one in folds:
        shared = _carry_out(flow.modules[one.maker], [layers[path] for path in one.readers])
        told |= dict.fromkeys(one.readers, f"{_span(shared)}, folded into '{one.maker}'")
    if not folds:
        return told
    difference = _difference(before, _some(pass_on(root, layers.values(), image)))
    if difference <= NEAR:
        return told
    for module in kept:
        module.put_back()
    why = f"folded, the network's answer would change by {difference:.1e} of its range"
    taken_back = {path for one in folds for path in one.readers}
    return told | {path: f"{_span(_factors(layers[path]))}, on the activation: {why}" for path in taken_back}


def _found(flow: Flow, layers: Mapping[str, QuantizedLayer]) -> tuple[list[_Fold], dict[str, str]]:
    """What can be folded, and why the division of other layers cannot."""
    reasons = {path: why for path, layer in layers.items() if (why := _own_reason(flow, path, layer))}
    origins: dict[int, Value] = {}
    for path in layers:
        if path not in reasons:
            origin = flow.read[path][0].origin()
            origins[id(origin)] = origin
    folds = []
    for origin in origins.values():
        readers = tuple(dict.fromkeys(origin.all_readers()))
        why = _common_reason(flow, origin, readers, layers, reasons)
        if why:
            reasons |= {path: why for path in readers if path in layers and path not in reasons}
        else:
            folds.append(_Fold(origin.maker, readers))
    return folds, reasons


def _own_reason(flow: Flow, path: str, layer: QuantizedLayer) -> str:
    if len(layer.steps) > 1:
        return "other steps come before it"
    calls = len(flow.read.get(path, ()))
    return "" if calls == 1 else f"it is called {calls} times"


def _common_reason(
    flow: Flow, origin: Value, readers: tuple[str, ...], layers: Mapping[str, QuantizedLayer], reasons: dict[str, str]
) -> str:
    """Why no division can go into what makes a tensor; empty where all of its readers' can."""
    if not origin.is_made_by_module:
        return f"{origin.maker.strip('_')} makes what it reads"
    maker = flow.modules[origin.maker]
    others = [reader for reader in readers if reader not in layers or reader in reasons]
    if others:
        return f"{others[0].strip('_')} reads the same"
    if len(flow.made[origin.maker]) > 1:
        return f"'{origin.maker}' is called {len(flow.made[origin.maker])} times"
    if isinstance(maker, QuantizedLayer) and any(not isinstance(step, Divide) for step in maker.steps):
        return f"'{origin.maker}' has steps of its own"
    channels = maker.kind.outputs if isinstance(maker, QuantizedLayer) else norm_channels(maker)
    if any(layers[path].kind.inputs != channels for path in readers):
        return f"its input channels are not those of '{origin.maker}'"
    return ""


def _carry_out(maker: nn.Module, readers: list[QuantizedLayer]) -> torch.Tensor:
    """Divide in the maker instead of in its readers; returns the factors."""
    shared = torch.stack([_factors(layer) for layer in readers]).amin(0)
    for layer in readers:
        if len(readers) > 1:
            weight = weight_groups(layer.layer, layer.kind)
            ratio = (shared / _factors(layer)).reshape(weight.shape[0], 1, weight.shape[2], 1)
            hold_weight(layer.layer, layer.kind, weight * ratio)
        layer.steps = nn.ModuleList()
    if isinstance(maker, QuantizedLayer):
        divide_outputs(maker.layer, maker.kind, shared)
    else:
        divide_norm(maker, shared)
    return shared


@dataclass(frozen=True, eq=False)
class _Kept:
    """What folding changes of a module, as it was."""

    module: nn.Module
    weight: nn.Parameter | None
    bias: nn.Parameter | None
    steps: tuple[nn.Module, ...]

    @classmethod
    def of(cls, module: nn.Module) -> _Kept:
        inner, steps = (module.layer, module.steps) if isinstance(module, QuantizedLayer) else (module, ())
        return cls(module, inner.weight, inner.bias, tuple(steps))

    def put_back(self) -> None:
        inner = self.module
        if isinstance(self.module, QuantizedLayer):
            inner, self.module.steps = self.module.layer, nn.ModuleList(self.steps)
        inner.weight, inner.bias = self.weight, self.bias


def _factors(layer: QuantizedLayer) -> torch.Tensor:
    return layer.steps[-1].factors.flatten()


def _span(factors: torch.Tensor) -> str:
    return f"input channels divided by {float(factors.min()):.3g} to {float(factors.max()):.3g}"


def _some(answer: object) -> list[torch.Tensor]:
    return [tensor.float().flatten()[::_EVERY].clone() for tensor in tensors(answer)]


def _difference(before: list[torch.Tensor], after: list[torch.Tensor]) -> float:
    """The largest difference between two answers over the largest value of the first; infinite where not finite."""
    range_ = max((float(tensor.abs().max()) for tensor in before if tensor.numel()), default=0.0)
    found = [float((x - y).abs().max()) for x, y in zip(before, after) if x.numel()]
    most = max(found, default=0.0) if all(one == one for one in found) else float("inf")
    return most / range_ if range_ else most
