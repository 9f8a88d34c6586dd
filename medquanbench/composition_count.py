"""Count what a network executes, without its numbers: one forward pass on the meta device (floor 2).

Every operation that reaches torch's kernels is seen, so that functional convolutions and attention products count, and
heads that never run do not. A product counts by its shapes: padding and masked places are multiplied too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from medquanbench.composition import Composition, Layer
from medquanbench.values import RequestError

_NORMS = {
    "aten::native_batch_norm", "aten::_native_batch_norm_legit", "aten::_native_batch_norm_legit_no_training",
    "aten::cudnn_batch_norm", "aten::native_layer_norm", "aten::native_group_norm", "aten::_fused_rms_norm",
}  # fmt: skip
# Matrix products, with the position of their left factor; the right one follows it.
_LEFT_FACTOR = {
    "aten::mm": 0, "aten::bmm": 0, "aten::mv": 0, "aten::dot": 0, "aten::linear": 0,
    "aten::addmm": 1, "aten::baddbmm": 1, "aten::addmv": 1,
}  # fmt: skip
_FUSED_ATTENTION = "aten::_scaled_dot_product_"
_OTHER, _NEVER = ("other", ()), ("never run", ())
Tensors = list[torch.Tensor]


def composition(network: torch.nn.Module, window: tuple[int, ...], channels: int) -> Composition:
    """What a network is made of, counted on one window (batch 1) in evaluation mode; the network is left as it was.

    Neither the window nor a parameter takes memory, wherever the network's own parameters lie.

    Args:
        window: voxels along each axis, as the network takes them.
        channels: channels of its input.

    Raises:
        RequestError: the network does not take such a window, or what it does depends on the numbers in its tensors.
    """
    image = torch.empty(1, channels, *window, device="meta")
    try:
        shadow = _shadow(network)
        counter = _Counter(dict(shadow.named_parameters()), list(shadow.buffers()))
        with _followed(shadow, counter), torch.no_grad(), counter:
            shadow(image)
    except Exception as error:  # a network is a program: anything may come out of it
        raise RequestError(_why(error, image)) from error
    return Composition(tuple(window), channels, counter.layers())


def _why(error: Exception, image: torch.Tensor) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if "meta tensor" in str(error).lower():
        return f"what the network does depends on numbers in its tensors, so it cannot be counted: {lines[0]}"
    size = "x".join(map(str, image.shape[2:]))
    return f"the network does not take a window of {size} voxels with {image.shape[1]} channel(s): {lines[-1]}"[:400]


def _shadow(network: torch.nn.Module) -> torch.nn.Module:
    """A copy in evaluation mode whose parameters and buffers have shapes alone, shared where the network's are."""
    # Not functional_call: a module that stands in two places, as nnU-Net's encoder does, keeps what it was lent.
    known: dict[int, object] = {id(tensor): torch.empty_like(tensor, device="meta") for tensor in network.buffers()}
    for parameter in network.parameters():
        known[id(parameter)] = torch.nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
    return copy.deepcopy(network, known).eval()


@contextmanager
def _followed(network: torch.nn.Module, counter: _Counter) -> Iterator[None]:
    """Tell the counter which module is running."""
    handles = []
    for path, module in network.named_modules():
        handles.append(module.register_forward_pre_hook(lambda *_, path=path: counter.enter(path)))
        handles.append(module.register_forward_hook(lambda *_: counter.leave()))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class _Tally:
    multiply_adds: int = 0
    activations: int = 0
    names: set[str] = field(default_factory=set)


class _Counter(TorchDispatchMode):
    """Sees every operation, and which tensors are made of parameters and constants alone.

    Such a tensor (a transposed, repeated or standardized weight) is as good as a weight. What a product made is not: a
    query made of learned embeddings is an activation.
    """

    def __init__(self, parameters: dict[str, torch.Tensor], constants: Tensors) -> None:
        super().__init__()
        self.sizes = {name: tensor.numel() for name, tensor in parameters.items()}
        # Storage -> the parameters that it is made of, and a tensor on it, which keeps its identity from being reused.
        self.weights = {_storage(tensor): (frozenset({name}), tensor) for name, tensor in parameters.items()}
        self.weights |= {_storage(tensor): (frozenset(), tensor) for tensor in constants}
        self.read: set[str] = set()
        self.tallies: dict[tuple[str, str, tuple[int, ...], int], _Tally] = {}
        self.other = _Tally()
        self.calls: list[tuple[str, dict]] = [("", {})]

    def enter(self, path: str) -> None:
        """A module begins to run."""
        self.calls.append((path, {}))

    def leave(self) -> None:
        """The module that began last has run."""
        self.calls.pop()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, torch.Tensor)]
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        made_of = [self.weights.get(_storage(tensor)) for tensor in inputs]
        product = self._product(func.name().partition(".")[0], args, outputs)
        roots = frozenset().union(*(known[0] for known in made_of if known))
        if product is None and None not in made_of:
            self.weights |= {_storage(tensor): (roots, tensor) for tensor in outputs}
            return result
        for tensor in outputs:
            self.weights.pop(_storage(tensor), None)
        self.read |= roots
        if product is not None:
            self._note(*product, roots, outputs[0])
        elif func._schema.is_mutable or not {_storage(x) for x in outputs} <= {_storage(x) for x in inputs}:
            self.other.activations += sum(x.numel() for x in (outputs if isinstance(result, list) else outputs[:1]))
        return result

    def _product(self, name: str, args: tuple, outputs: Tensors) -> tuple[str, tuple[int, ...], int] | None:
        """(kind, kernel, multiply-adds) of an operation; None for all that is neither a product nor a norm."""
        if name == "aten::convolution":
            return _convolution(args, outputs[0])
        if name in _LEFT_FACTOR:
            left, right = args[_LEFT_FACTOR[name] :][:2]
            weighted = _storage(left) in self.weights or _storage(right) in self.weights
            return "linear" if weighted else "attention product", (), outputs[0].numel() * left.shape[-1]
        if name.startswith(_FUSED_ATTENTION):
            query, key, value = args[:3]
            pairs = query.numel() // query.shape[-1] * key.shape[-2]
            return "attention product", (), pairs * (query.shape[-1] + value.shape[-1])
        return ("norm", (), 0) if name in _NORMS else None

    def _note(self, kind: str, kernel: tuple[int, ...], products: int, roots: frozenset, output: torch.Tensor) -> None:
        path, counts = self.calls[-1]
        place = counts[kind, kernel] = counts.get((kind, kernel), -1) + 1
        tally = self.tallies.setdefault((path, kind, kernel, place), _Tally())
        tally.multiply_adds += products
        tally.activations += output.numel()
        tally.names |= roots

    def layers(self) -> tuple[Layer, ...]:
        """All layers, in the order in which they ran; a parameter belongs to the first that reads it."""
        owners: dict[str, _Tally] = {}
        for tally in self.tallies.values():
            for name in tally.names:
                owners.setdefault(name, tally)
        for name in sorted(self.read - set(owners)):
            owners[name] = self._owner_of_bias(name, owners) or self.other
        sizes: dict[int, int] = {}
        for name, tally in owners.items():
            sizes[id(tally)] = sizes.get(id(tally), 0) + self.sizes[name]
        found = [
            Layer(path, kind, kernel, sizes.get(id(tally), 0), tally.multiply_adds, tally.activations)
            for (path, kind, kernel, _), tally in self.tallies.items()
        ]
        found.append(Layer("", *_OTHER, sizes.get(id(self.other), 0), 0, self.other.activations))
        dead: dict[str, int] = {}
        for name in self.sizes.keys() - owners.keys():
            module = name.rpartition(".")[0]
            dead[module] = dead.get(module, 0) + self.sizes[name]
        found += [Layer(path, *_NEVER, size, 0, 0) for path, size in sorted(dead.items())]
        return tuple(layer for layer in found if layer.parameters or layer.activations)

    def _owner_of_bias(self, name: str, owners: dict[str, _Tally]) -> _Tally | None:
        """The layer whose bias torch added in a step of its own: the one that reads the weight beside it."""
        module, _, own = name.rpartition(".")
        beside = (tally for other, tally in owners.items() if other.rpartition(".")[0] == module)
        return next(beside, None) if own.endswith("bias") else None


def _storage(tensor: torch.Tensor) -> int:
    # On the meta device all data pointers are 0.
    return tensor.untyped_storage()._cdata


def _convolution(args: tuple[Any, ...], output: torch.Tensor) -> tuple[str, tuple[int, ...], int]:
    image, weight, transposed, groups = args[0], args[1], args[6], args[8]
    kernel = tuple(weight.shape[2:])
    # Of a transposed convolution each input value is multiplied with a whole kernel, else each output value needs one.
    products = (image if transposed else output).numel() * prod(weight.shape[1:])
    if transposed:
        return "conv_transpose", kernel, products
    kind = "conv" if groups == 1 else "conv depthwise" if groups == image.shape[1] else "conv grouped"
    return kind, kernel, products
