"""quantize: a network and a recipe in, the quantized network and its receipt out."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from torch import nn

from medquanbench.quant.grid import IntegerGrid
from medquanbench.quant.layers import (
    Activation,
    Batch,
    QuantizedLayer,
    is_layer,
    is_opaque,
    kind_of,
    obstacle,
    quantize_weight,
)
from medquanbench.quant.policies import POLICIES
from medquanbench.quant.spec import LayerSpec, TensorSpec
from medquanbench.values import (
    FLOAT,
    FLOAT_BITS,
    Line,
    Receipt,
    Recipe,
    RequestError,
    RunError,
    State,
    TensorNote,
    not_found,
)


@dataclass(frozen=True)
class Site:
    """A module of the network with all its names, the first one first."""

    module: nn.Module
    names: tuple[str, ...]

    def matches(self, globs: tuple[str, ...]) -> str | None:
        """The first glob that matches any of the names."""
        return next((glob for glob in globs if any(fnmatchcase(name, glob) for name in self.names)), None)


def quantize(
    network: nn.Module, recipe: Recipe, calibration: Iterable[torch.Tensor] | None = None
) -> tuple[nn.Module, Receipt]:
    """Quantize a network as a recipe says (paper sections 2 and 3; DESIGN section 4).

    Args:
        network: any module; it is left as it was.
        recipe: bits, policy, and what to keep.
        calibration: re-iterable of input tensors, for policies and transforms that need one (none does so far).

    Returns:
        A copy of the network in which layers are replaced, and the receipt, layer by layer. What a layer's input looked
        like is known after a forward: see :func:`audit`. After a forward the copy may be given to ``torch.compile``:
        compiled, it quantizes the same (on CPU, float32) and names the layer of a NaN, but notes nothing for audits.

    Raises:
        RequestError: an unknown policy or transform, a glob that matches nothing, or a recipe that changes no layer.
        RunError: NaN or infinity in a weight.
    """
    check(network, recipe, calibration)
    copied = _copy(network)
    batch, replaced, lines = Batch(), {}, []
    for site in _sites(copied):
        line, layer = _treat(site, recipe, batch)
        lines += [line] if line else []
        if layer is not None:
            replaced[id(site.module)] = layer
    root = _replace(copied, replaced)
    batch.listen(root)
    return root, Receipt(str(recipe), tuple(lines))


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
        for site in _sites(network)
        if is_layer(site.module)
    ]
    try:
        with torch.inference_mode():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return frozenset(called)


def check(network: nn.Module, recipe: Recipe, calibration: Iterable[torch.Tensor] | None = None) -> None:
    """Say early whether a recipe can be carried out on a network, without touching it.

    Raises:
        RequestError: as :func:`quantize`.
    """
    if any(isinstance(module, QuantizedLayer) for module in network.modules()):
        raise RequestError(f"'{recipe}' was asked of a network that is quantized already; it needs the float one")
    _check_names(recipe, calibration)
    sites = _sites(network)
    _check_globs(recipe, sites)
    if recipe.is_reference:
        return
    layers = [site for site in sites if is_layer(site.module)]
    open_ = [site for site in layers if site.matches(recipe.keep) is None and not obstacle(site.module)]
    bits = {recipe.weight_bits, recipe.activation_bits, recipe.input_bits or recipe.activation_bits}
    if not open_ or bits == {FLOAT_BITS}:
        left = f"{len(layers) - len(open_)} of {len(layers)} layers are kept or unsupported"
        raise RequestError(f"'{recipe}' changes no layer: {'16 is float' if bits == {FLOAT_BITS} else left}")


def _check_names(recipe: Recipe, calibration: Iterable[torch.Tensor] | None) -> None:
    if recipe.transforms:
        raise not_found("transform", recipe.transforms[0].name, "this version", [])
    if recipe.calibration is not None or calibration is not None:
        raise RequestError(f"nothing in '{recipe}' uses calibration cases: its scales are dynamic")
    if not recipe.is_reference and recipe.policy not in POLICIES:
        raise not_found("policy", str(recipe.policy), "medquanbench.quant", list(POLICIES))


def _check_globs(recipe: Recipe, sites: list[Site]) -> None:
    layers = [site for site in sites if is_layer(site.module)]
    for glob in recipe.keep:
        if not any(site.matches((glob,)) for site in layers):
            some = [site.names[0] for site in layers]
            raise RequestError(f"keep({glob}) matches none of {len(some)} layers; they are {', '.join(some[:5])}, ...")


def _check_bypass(paths: list[str], what: str) -> None:
    if paths:
        raise RunError(f"{len(paths)} layers {what}: {', '.join(paths[:3])}; keep them in float with keep(...)")


def _copy(network: nn.Module) -> nn.Module:
    # Tensors that were computed (old-style weight norm, a cached feature) refuse to be copied; their values do not.
    memo = {
        id(value): value.detach().clone()
        for module in network.modules()
        for value in vars(module).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    return copy.deepcopy(network, memo)


def _sites(network: nn.Module) -> list[Site]:
    names: dict[int, list[str]] = {}
    modules: dict[int, nn.Module] = {}
    for name, module in _walk(network, ""):
        names.setdefault(id(module), []).append(name)
        modules[id(module)] = module
    return [Site(module, tuple(names[key])) for key, module in modules.items()]


def _walk(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    yield name, module
    if not is_opaque(module) and not is_layer(module):
        for key, child in module._modules.items():
            if child is not None:
                yield from _walk(child, f"{name}.{key}" if name else key)


def _treat(site: Site, recipe: Recipe, batch: Batch) -> tuple[Line | None, nn.Module | None]:
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
    return _quantize_site(site, line, recipe, batch)


def _quantize_site(site: Site, line: Line, recipe: Recipe, batch: Batch) -> tuple[Line, nn.Module]:
    kind = kind_of(site.module)
    spec = POLICIES[recipe.policy](line.path, kind)
    activation = _activation(recipe, spec)
    weight = FLOAT
    if recipe.weight_bits != FLOAT_BITS:
        tensor = TensorSpec(IntegerGrid(recipe.weight_bits), spec.weight, spec.observer)
        try:
            weight = quantize_weight(site.module, kind, tensor)
        except RunError as error:
            raise RunError(f"weight of layer '{line.path}': {error}") from None
    line = replace(line, state=State.QUANTIZED, reason="", weight=weight, activation=_planned(activation.usual))
    return line, QuantizedLayer(site.module, line.path, kind, activation, batch)


def _activation(recipe: Recipe, spec: LayerSpec) -> Activation:
    def held(bits: int) -> TensorSpec | None:
        return None if bits == FLOAT_BITS else TensorSpec(IntegerGrid(bits), spec.activation, spec.observer)

    return Activation(held(recipe.activation_bits), held(recipe.input_bits or recipe.activation_bits))


def _planned(spec: TensorSpec | None) -> TensorNote:
    return FLOAT if spec is None else TensorNote(spec.grid.bits, spec.granularity.name, 0, float(spec.grid.bits))


def _observed(line: Line, layer: QuantizedLayer | None) -> Line:
    if layer is None:
        return line
    if layer.calls == 0:
        return replace(line, state=State.NEVER_RUN, reason="no forward has called it")
    line = replace(line, state=State.QUANTIZED, reason="", activation=layer.seen, reads_image=layer.reads_image)
    if line.weight.bits == line.activation.bits == FLOAT.bits:
        return replace(line, state=State.KEPT, reason=layer.seen.note or "its weight and its input have 16 bits: float")
    return line


def _replace(root: nn.Module, replaced: dict[int, nn.Module]) -> nn.Module:
    for parent in list(root.modules()):
        for name, child in parent._modules.items():
            if id(child) in replaced:
                parent._modules[name] = replaced[id(child)]
    return replaced.get(id(root), root)
