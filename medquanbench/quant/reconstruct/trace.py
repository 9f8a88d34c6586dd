"""Trace: what one forward shows of the modules of a network: order, inputs, what each computes with, and its price."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from medquanbench.quant.flow import Flow
from medquanbench.quant.quantized import QuantizedLayer


@dataclass
class Call:
    """What was seen of a module.

    Attributes:
        order: of its first call among the first calls of all modules.
        count: how often it was called.
        shape: of the tensor that was its first argument; None where that was none.
        rest: its further arguments, and those by name.
        answers: whether it answered with one tensor, and nothing else, every time.
        inside: paths of the modules in whose calls all calls of this one lay.
        functions: names of the functions of torch that ran in it; a layer's own are not looked at.
        made: values that it answered with.
        work: multiply-adds of its layers.
        normed: whether an instance norm reads what a layer answers, and nothing else.
    """

    order: int
    shape: tuple[int, ...] | None
    rest: tuple[tuple, dict[str, Any]]
    inside: frozenset[str]
    count: int = 0
    answers: bool = True
    functions: set[str] = field(default_factory=set)
    made: int = 0
    work: int = 0
    normed: bool = False


def parts(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """All modules with their first names, nothing inside of quantized layers; those with several names, once."""
    seen: set[int] = set()

    def walk(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
        if id(module) in seen:
            return
        seen.add(id(module))
        yield path, module
        if not isinstance(module, QuantizedLayer):
            for name, child in module.named_children():
                yield from walk(child, f"{path}.{name}" if path else name)

    yield from walk(module, path)


def trace(root: nn.Module, image: torch.Tensor) -> dict[str, Call]:
    """Path -> what one forward shows of a module, of those that were called."""
    tracer, flow = _Tracer(), Flow(root)
    hooks = []
    for path, module in parts(root):
        hooks.append(module.register_forward_pre_hook(tracer.before(path), with_kwargs=True))
        hooks.append(module.register_forward_hook(tracer.after(path)))
    try:
        with torch.no_grad(), flow, tracer:
            root(image)
    finally:
        for hook in hooks:
            hook.remove()
    normed = flow.normed()
    for path, module in parts(root):
        if isinstance(module, QuantizedLayer) and path in tracer.calls:
            tracer.calls[path].normed = module.path in normed
    return tracer.calls


class _Tracer(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, Call] = {}
        self._active: list[str] = []
        self._in_layer = False

    def before(self, path: str):
        def hook(module: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
            first = arguments[0] if arguments else None
            shape = tuple(first.shape) if isinstance(first, torch.Tensor) else None
            call = self.calls.get(path)
            if call is None:
                rest = (_kept(arguments[1:]), _kept(named))
                call = self.calls[path] = Call(len(self.calls), shape, rest, frozenset(self._active))
            call.count += 1
            call.inside &= frozenset(self._active)
            self._active.append(path)
            self._in_layer = isinstance(module, QuantizedLayer)

        return hook

    def after(self, path: str):
        def hook(module: nn.Module, arguments: tuple, output: object) -> None:
            self._active.pop()
            self._in_layer = False
            call = self.calls[path]
            if not isinstance(output, torch.Tensor):
                call.answers = False
                return
            call.made += output.numel()
            if isinstance(module, QuantizedLayer):
                work = _work(module, arguments[0], output)
                for inner in (path, *self._active):
                    self.calls[inner].work += work

        return hook

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if not self._in_layer:
            name = getattr(func, "__name__", str(func))
            for path in self._active:
                self.calls[path].functions.add(name)
        return func(*args, **(kwargs or {}))


def _work(layer: QuantizedLayer, x: torch.Tensor, y: torch.Tensor) -> int:
    turned = getattr(layer.kind, "transposed", False)
    return (x if turned else y).numel() * prod(layer.layer.weight.shape[1:])


def _kept(value: Any) -> Any:
    """Arguments as they are now, whatever a module does to them later."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, (tuple, list)):
        return tuple(map(_kept, value))
    if isinstance(value, dict):
        return {key: _kept(item) for key, item in value.items()}
    return value


def same(first: Any, second: Any) -> bool:
    """Whether two arguments are one and the same value."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and first.shape == second.shape and torch.equal(first, second)
    if isinstance(first, (tuple, dict)):
        if type(first) is not type(second) or len(first) != len(second):
            return False
        if isinstance(first, dict):
            return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
        return all(map(same, first, second))
    return first is second or bool(first == second)
