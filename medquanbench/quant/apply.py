"""quantize: a network and a recipe in, the quantized network and its receipt out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import nn

from medquanbench.quant.batch import Batch
from medquanbench.quant.fix import fix_scales
from medquanbench.quant.held import activation_of, hardware_of, hold_weights, spec_of
from medquanbench.quant.kind import Convolution
from medquanbench.quant.layers import is_layer, is_opaque, kind_of, obstacle
from medquanbench.quant.policies import POLICIES
from medquanbench.quant.quantized import QuantizedLayer
from medquanbench.quant.ranges import RANGES
from medquanbench.quant.reconstruct.run import reconstruct
from medquanbench.quant.rewriting import check_terms, confined_terms, reads_inputs, rewrite, rounding_of
from medquanbench.quant.sites import Site, copied, replaced_in, sites
from medquanbench.quant.weight import OnGrid
from medquanbench.values import (
    FLOAT,
    FLOAT_BITS,
    Line,
    Receipt,
    Recipe,
    RequestError,
    State,
    not_found,
)

_ANY = Convolution(1, 1, (1, 1, 1))


def quantize(
    network: nn.Module, recipe: Recipe, calibration: Iterable[torch.Tensor] | None = None
) -> tuple[nn.Module, Receipt]:
    """Quantize a network as a recipe says (paper sections 2 and 3; DESIGN section 4).

    Transforms come first, in the recipe's order; then static scales are found on the float network as they left it;
    then weights go onto their grids, by the recipe's methods.

    Args:
        network: any module; it is left as it was.
        recipe: bits, policy, transforms, and what to keep.
        calibration: re-iterable of input tensors, for policies and transforms that need one
            (:func:`needs_calibration`); it is gone through several times.

    Returns:
        A copy of the network in which layers are replaced, and the receipt, layer by layer. What a layer's input looked
        like is known after a forward: see :func:`audit`. After a forward the copy may be given to ``torch.compile``:
        compiled, it quantizes the same (on CPU, float32) and names the layer of a NaN, but notes nothing for audits.

    Raises:
        RequestError: an unknown policy or transform, a glob that matches nothing, a recipe or a transform that changes
            no layer, or calibration that is needed and missing.
        RunError: NaN or infinity in a weight, or in what a layer reads of a calibration input.
    """
    check(network, recipe, calibration)
    if calibration is None and needs_calibration(recipe):
        raise RequestError(f"'{recipe}' needs calibration inputs: {_why_calibration(recipe)}")
    copy, batch, layers, lines = copied(network), Batch(), {}, []
    replaced: dict[int, nn.Module] = {}
    own: dict[str, Recipe] = {}
    for site in sites(copy):
        line, layer = _treat(site, recipe, batch)
        lines += [line] if line else []
        if layer is not None:
            replaced[id(site.module)] = layers[line.path] = layer
            own[line.path] = recipe if site.matches(recipe.at8) is None else recipe.raised
    root = replaced_in(copy, replaced)
    batch.listen(root)
    was_training = [module for module in root.modules() if module.training]
    root.eval()
    for path, layer in layers.items():
        layer.expect(spec_of(own[path], path, layer.kind))
    told = rewrite(root, layers, recipe.transforms, calibration)
    planned = {path: activation_of(own[path], path, layer.kind) for path, layer in layers.items()}
    fix_scales(root, layers, planned, calibration)
    rounding = rounding_of(recipe)
    original = copied(root) if rounding.learned is not None else None
    weights = hold_weights(root, layers, own, rounding.at_once, calibration)
    if rounding.learned is not None:
        weights = reconstruct(root, original, layers, weights, planned, rounding.learned, calibration)
    for module in was_training:
        module.training = True
    for path, layer in layers.items():
        layer.activation = planned[path]
        layer.forget()
    return root, Receipt(str(recipe), tuple(_told(line, own, layers, weights, told) for line in lines))


def needs_calibration(recipe: Recipe) -> bool:
    """True where a policy has static scales, or a transform or method looks at what layers read.

    Raises:
        RequestError: an unknown policy or transform.
    """
    return bool(_why_calibration(recipe))


def _why_calibration(recipe: Recipe) -> str:
    _check_names(recipe)
    reading = [term.name for term in recipe.transforms if reads_inputs(term)]
    if reading:
        return f"{reading[0]} looks at what layers read"
    if not recipe.is_reference and is_static(recipe):
        return f"the scales of {recipe.policy} are static"
    return ""


def is_static(recipe: Recipe) -> bool:
    """Whether the scales of activations come from calibration: for all kinds of layers, or for none."""
    return spec_of(recipe, "", _ANY).static is not None


def check(network: nn.Module, recipe: Recipe, calibration: Iterable[torch.Tensor] | None = None) -> None:
    """Say early whether a recipe can be carried out on a network, without touching it.

    Raises:
        RequestError: as :func:`quantize`.
    """
    if any(isinstance(module, QuantizedLayer) for module in network.modules()):
        raise RequestError(f"'{recipe}' was asked of a network that is quantized already; it needs the float one")
    _check_names(recipe)
    if (recipe.calibration is not None or calibration is not None) and not needs_calibration(recipe):
        raise RequestError(f"nothing in '{recipe}' uses calibration cases: its scales are dynamic")
    if recipe.observer is not None and not is_static(recipe):
        raise RequestError(f"nothing in '{recipe}' asks an observer: its scales are dynamic")
    found = sites(network)
    _check_globs(recipe, found)
    if recipe.is_reference:
        return
    layers = [site for site in found if is_layer(site.module)]
    open_ = [site for site in layers if site.matches(recipe.keep) is None and not obstacle(site.module)]
    bits = {recipe.weight_bits, recipe.activation_bits, recipe.input_bits or recipe.activation_bits}
    if not open_ or (bits == {FLOAT_BITS} and not recipe.transforms):
        left = f"{len(layers) - len(open_)} of {len(layers)} layers are kept or unsupported"
        raise RequestError(f"'{recipe}' changes no layer: {'16 is float' if bits == {FLOAT_BITS} else left}")


def _check_names(recipe: Recipe) -> None:
    check_terms(recipe)
    if recipe.observer is not None and recipe.observer not in RANGES:
        raise not_found("observer", recipe.observer, "medquanbench.quant", list(RANGES))
    if not recipe.is_reference and recipe.policy not in POLICIES:
        raise not_found("policy", str(recipe.policy), "medquanbench.quant", list(POLICIES))


def _check_globs(recipe: Recipe, found: list[Site]) -> None:
    layers = [site for site in found if is_layer(site.module)]
    held = [(f"{word}({glob})", glob) for word, globs in (("keep", recipe.keep), ("at8", recipe.at8)) for glob in globs]
    for words, glob in held + confined_terms(recipe.transforms):
        if not any(site.matches((glob,)) for site in layers):
            some = [site.names[0] for site in layers]
            raise RequestError(f"{words} matches none of {len(some)} layers; they are {', '.join(some[:5])}, ...")


def _treat(site: Site, recipe: Recipe, batch: Batch) -> tuple[Line | None, QuantizedLayer | None]:
    module, problem, glob = site.module, obstacle(site.module), site.matches(recipe.keep)
    if not problem and not is_layer(module):
        return None, None
    kind = str(kind_of(module)) if is_layer(module) else type(module).__name__
    count = sum(p.numel() for p in module.parameters(recurse=is_opaque(module) or is_layer(module)))
    line = Line(site.names[0], site.names[1:], kind, State.UNSUPPORTED, problem, count)
    if problem:
        return line, None
    if recipe.is_reference or glob is not None:
        return replace(line, state=State.KEPT, reason="reference" if glob is None else f"keep({glob})"), None
    return replace(line, state=State.QUANTIZED, reason=""), QuantizedLayer(module, line.path, kind_of(module), batch)


def _told(
    line: Line,
    own: dict[str, Recipe],
    layers: dict[str, QuantizedLayer],
    weights: dict[str, OnGrid],
    told: dict[str, tuple[str, ...]],
) -> Line:
    """A receipt's line with what is known of a layer before a forward."""
    if line.path not in layers:
        return line
    weight = weights.get(line.path, OnGrid(FLOAT))
    words = told[line.path] + ((f"weight: {weight.words}",) if weight.words else ())
    layer, unit = layers[line.path], hardware_of(own[line.path], layers[line.path])
    return replace(
        line, weight=weight.note, activation=layer.planned(), transforms=words, hardware=unit.tag.value,
        hardware_reason=unit.reason,
    )  # fmt: skip
