"""What a forward has shown of a quantized network: which layers ran, and what their inputs looked like."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from medquanbench.quant.layers import is_layer
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.sites import sites
from medquanbench.values import FLOAT, Line, Receipt, Recipe, RequestError, RunError, State


def audit(network: nn.Module, receipt: Receipt, executed: frozenset[str] = frozenset()) -> Receipt:
    """The receipt after a forward: what each layer's input looked like, which layers never ran, how the image is held.

    Args:
        executed: names of layers that the float network runs (:func:`executed_layers`): each of them that is quantized
            must have run.

    Raises:
        RunError: a quantized layer did not run although the float network runs it, or the network computed with its
            weight without calling it; or the receipt is of another network.
        RequestError: the recipe sets the bits of the image, and no quantized layer reads the image.
    """
    seen = {module.path: module for module in network.modules() if isinstance(module, QuantizedLayer)}
    quantized = (*receipt.paths(State.QUANTIZED), *receipt.paths(State.NEVER_RUN))
    missing = [path for path in quantized if path not in seen]
    if missing:
        raise RunError(f"the receipt is of another network: {', '.join(missing[:3])} are not quantized in this one")
    lines = tuple(_observed(line, seen.get(line.path)) for line in receipt.lines)
    idle = [line.path for line in lines if line.state is State.NEVER_RUN]
    _check_bypass([path for path in idle if path in executed], "run in the float network but not when quantized")
    _check_bypass([path for path in idle if seen[path].weight_taken], "have their weight used without being called")
    image = next((line.activation for line in lines if line.reads_image), None)
    if image is None and len(idle) < len(seen) and Recipe.parse(receipt.recipe).input_bits is not None:
        raise RequestError(
            f"'{receipt.recipe}' sets the bits of the image, but no quantized layer reads the image as it came: "
            "the network changes it before its first layer, or that layer is kept"
        )
    return receipt.with_lines(lines, image)


def take_image_step(network: nn.Module) -> float | None:
    """The coarsest step with which the image was quantized since the last call, in units of the network's input."""
    batch = next((module.batch for module in network.modules() if isinstance(module, QuantizedLayer)), None)
    if batch is None or batch.image_step == 0.0:
        return None
    step, batch.image_step = batch.image_step, 0.0
    return step


def executed_layers(network: nn.Module, image: torch.Tensor) -> frozenset[str]:
    """First names of the layers that one forward of a float network calls."""
    called: set[str] = set()
    hooks = [
        site.module.register_forward_pre_hook(lambda module, inputs, name=site.names[0]: called.add(name))
        for site in sites(network)
        if is_layer(site.module)
    ]
    try:
        with torch.inference_mode():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return frozenset(called)


def _check_bypass(paths: list[str], what: str) -> None:
    if paths:
        raise RunError(f"{len(paths)} layers {what}: {', '.join(paths[:3])}; keep them in float with keep(...)")


def _observed(line: Line, layer: QuantizedLayer | None) -> Line:
    if layer is None:
        return line
    if layer.calls == 0:
        return replace(line, state=State.NEVER_RUN, reason="no forward has called it")
    line = replace(line, state=State.QUANTIZED, reason="", activation=layer.seen, reads_image=layer.reads_image)
    if line.weight.bits == line.activation.bits == FLOAT.bits:
        reason = layer.seen.note or "its weight and its input have 16 bits: float"
        return replace(line, state=State.KEPT, reason=reason, hardware="", hardware_reason="")
    return line
