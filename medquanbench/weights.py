"""Checkpoints and networks: read tensors, fit them, load them, pack them for shipping (floor 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from medquanbench.containers import open_checkpoint
from medquanbench.key_maps import KeyMap, read_key_maps
from medquanbench.values import Loaded, RequestError

_MOST_PREFIXES = 4
_BARE = Loaded()


def read(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, by the names that they have there: see :mod:`medquanbench.containers`.

    Raises:
        RequestError: the file is missing, damaged, or no checkpoint.
    """
    return dict(open_checkpoint(path).tensors)


@dataclass(frozen=True)
class Misfits:
    """In what tensors by name differ from those that a network has.

    Attributes:
        missing: names that only the network has; of a tensor with several names the first.
        extra: names that only the checkpoint has.
        shapes: (name, shape in the checkpoint, shape in the network) of tensors of another shape.
    """

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    shapes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    @property
    def count(self) -> int:
        """How many there are; 0 where the tensors fit."""
        return len(self.missing) + len(self.extra) + len(self.shapes)

    def in_words(self) -> str:
        """Number and first few of each kind; empty where the tensors fit."""
        shapes = [f"{name} {there} for {here}" for name, there, here in self.shapes]
        kinds = ((self.missing, "missing"), (self.extra, "not known to the network"), (shapes, "of another shape"))
        return "; ".join(f"{len(found)} {what}, first {', '.join(found[:3])}" for found, what in kinds if found)


@dataclass(frozen=True, eq=False)
class Fit:
    """How a checkpoint fits a network: the tensors to load under the network's names, and what stands against it."""

    tensors: Mapping[str, torch.Tensor]
    loaded: Loaded
    misfits: Misfits

    @property
    def problem(self) -> str:
        """Why it does not fit, in words, or ""."""
        words, prefix, key_map = self.misfits.in_words(), self.loaded.prefix, self.loaded.key_map
        by = [f"without '{prefix}'"] * bool(prefix) + [f"with the key map {key_map}"] * bool(key_map)
        return f"{words} ({', '.join(by)})" if words and by else words


def fit(
    network: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    maps: tuple[KeyMap, ...] = (),
    found: Loaded = _BARE,
) -> Fit:
    """Fit tensors to a network: as they are, else by the key map and without the prefix that leave nothing over.

    A prefix is the first part of a name, where all names have it: what a wrapper put before them (``module.``).
    A tensor that the network knows under several names (shared modules) needs to be there under one of them.

    Args:
        found: where the tensors lay in their file.
    """
    best: Fit | None = None
    for prefix, named in _without_prefixes(tensors):
        for key_map in (KeyMap("", (), ()), *maps):
            if not key_map.suits(named):
                continue
            tried = _tried(network, named, key_map, replace(found, prefix=prefix))
            if best is None or tried.misfits.count < best.misfits.count:
                best = tried
            if not best.misfits.count:
                return best
    return best


def _without_prefixes(tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, Mapping[str, torch.Tensor]]]:
    prefix = ""
    for _ in range(_MOST_PREFIXES):
        yield prefix, tensors
        first = next(iter(tensors)).partition(".")[0] + "."
        if not all(name.startswith(first) for name in tensors):
            return
        prefix, tensors = prefix + first, {name.removeprefix(first): value for name, value in tensors.items()}


def _tried(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], key_map: KeyMap, found: Loaded) -> Fit:
    named = {key_map.renamed(name): value for name, value in tensors.items()}
    dropped = tuple(name for name in named if key_map.drops(name))
    rest = {name: value for name, value in named.items() if name not in dropped}
    absent = [names for names in _names_of_tensors(network) if not any(name in rest for name in names)]
    left = [names[0] for names in absent if any(key_map.leaves(name) for name in names)]
    own = network.state_dict(keep_vars=True)
    shapes = [(n, tuple(v.shape), tuple(own[n].shape)) for n, v in rest.items() if n in own and v.shape != own[n].shape]
    misfits = Misfits(
        missing=tuple(names[0] for names in absent if names[0] not in left),
        extra=tuple(name for name in rest if name not in own),
        shapes=tuple(shapes),
    )
    loaded = replace(found, key_map=key_map.name, renamed=key_map.rename, dropped=dropped, left=tuple(left))
    return Fit(rest, loaded, misfits)


def load_into(
    network: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    source: str,
    key_maps: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Copy tensors into a network, every one and nothing else, in the network's own number format.

    Args:
        source: where they come from, for messages.
        key_maps: the config's ``key_maps``, see :mod:`medquanbench.key_maps`.

    Raises:
        RequestError: they do not fit, hold NaN, infinity, or another kind of numbers, differ under two names of one
            tensor, or are of a version that needs another config than the network was built from.
    """
    maps = read_key_maps(key_maps)
    fitted = fit(network, tensors, maps)
    if fitted.problem:
        raise RequestError(f"{source} does not fit the network: {fitted.problem}")
    _refuse_unmet(fitted.loaded.key_map, maps, source)
    own, first = network.state_dict(keep_vars=True), {}
    with torch.no_grad():
        for name, value in fitted.tensors.items():
            problem = _wrong_numbers(value, own[name])
            if problem:
                raise RequestError(f"{source}: '{name}' {problem}")
            other = first.setdefault(id(own[name]), name)
            if other != name and not torch.equal(fitted.tensors[other].to(own[name].dtype), value.to(own[name].dtype)):
                raise RequestError(
                    f"{source}: '{other}' and '{name}' are one tensor of the network, and hold different numbers"
                )
            own[name].copy_(value)


def _refuse_unmet(name: str, maps: tuple[KeyMap, ...], source: str) -> None:
    """MONAI's own commands build the network before they see the file; ``open_bundle`` sets what is needed."""
    needed = next((key_map.config for key_map in maps if key_map.name == name), ())
    if needed:
        words = " ".join(f"--{key} {value}" for key, value in needed)
        raise RequestError(
            f"{source} holds weights of the version {name}, which need another setting: {words} "
            f"--key_maps#{name}#config None"
        )


def _wrong_numbers(value: torch.Tensor, own: torch.Tensor) -> str:
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        return "is packed (sparse or quantized) or without content; plain numbers are needed"
    if value.is_floating_point() != own.is_floating_point() or value.is_complex():
        there, needed = (str(tensor.dtype).removeprefix("torch.") for tensor in (value, own))
        return f"holds {there} numbers where the network has {needed}"
    finite = not value.is_floating_point() or bool(torch.isfinite(value.float()).all())  # float8 has no isfinite
    return "" if finite else "holds NaN or infinity"


def pack(network: torch.nn.Module, path: Path) -> None:
    """Write a network's distinct tensors as half-precision safetensors, each once under its first name."""
    own = network.state_dict()
    tensors = {names[0]: own[names[0]] for names in _names_of_tensors(network)}
    half = {k: (v.half() if v.is_floating_point() else v).contiguous().clone() for k, v in tensors.items()}
    save_file(half, path)


def _names_of_tensors(network: torch.nn.Module) -> list[list[str]]:
    groups: dict[int, list[str]] = {}
    for name, value in network.state_dict(keep_vars=True).items():
        groups.setdefault(id(value), []).append(name)
    return list(groups.values())
