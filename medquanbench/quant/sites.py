"""Sites: the modules of a network with all their names, and how one is put in another's place."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import nn

from medquanbench.quant.layers import is_layer, is_opaque


@dataclass(frozen=True)
class Site:
    """A module of the network with all its names, the first one first."""

    module: nn.Module
    names: tuple[str, ...]

    def matches(self, globs: tuple[str, ...]) -> str | None:
        """The first glob that matches any of the names."""
        return next((glob for glob in globs if any(fnmatchcase(name, glob) for name in self.names)), None)


def sites(network: nn.Module) -> list[Site]:
    """All modules, each once, in the network's order; nothing inside of layers and opaque modules."""
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


def copied(network: nn.Module) -> nn.Module:
    """A copy that shares nothing with the network."""
    # Tensors that were computed (old-style weight norm, a cached feature) refuse to be copied; their values do not.
    memo = {
        id(value): value.detach().clone()
        for module in network.modules()
        for value in vars(module).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    return copy.deepcopy(network, memo)


def replaced_in(root: nn.Module, replaced: dict[int, nn.Module]) -> nn.Module:
    """Put modules in the place of others (by the id of these) under all their names; returns the root."""
    for parent in list(root.modules()):
        for name, child in parent._modules.items():
            if id(child) in replaced:
                parent._modules[name] = replaced[id(child)]
    return replaced.get(id(root), root)
