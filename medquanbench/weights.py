"""Checkpoints: read them safely, fit them to a network, pack them for shipping (floor 2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from medquanbench.values import RequestError

_NESTED = ("state_dict", "network_weights", "model")
_PREFIXES = ("module.", "_orig_mod.")


def read(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, by name; wrapper prefixes removed.

    Reads safetensors, and torch files with ``weights_only=True`` (no code of the file runs; beside tensors and plain
    values only numpy's numbers are let in), bare or under ``state_dict``, ``network_weights`` or ``model``.

    Raises:
        RequestError: the file is missing, damaged, or no checkpoint.
    """
    path = Path(path)  # MONAI's config parser hands over text
    if not path.is_file():
        raise RequestError(f"no weights file {path}")
    try:
        with torch.serialization.safe_globals(_numpy_numbers()):
            content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # A damaged file fails in a dozen ways, IndexError and struct.error among them.
        what = f"{path} cannot be read as weights (safetensors, or torch tensors alone)"
        raise RequestError(f"{what}: {_reason(error)}") from error
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    items = content.items() if isinstance(content, Mapping) else ()
    tensors = {str(key): value for key, value in items if isinstance(value, torch.Tensor)}
    if not tensors:
        raise RequestError(f"{path} holds no tensors by name: it is no checkpoint of a network")
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def _numpy_numbers() -> list:
    """What rebuilds a numpy number from a pickle, under its names in numpy 1 and 2; it makes numbers and nothing else.

    nnU-Net keeps its training log beside the weights as numpy numbers, SwinUNETR's trainer its best score.
    """
    rebuild = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [np.dtype, *{type(np.dtype(kind)) for kind in "?bhilqBHILQefd"}, *((rebuild, name) for name in names)]


def _reason(error: Exception) -> str:
    # torch's own words go on for pages and end in the advice to run the file's code.
    asked = re.search(r"GLOBAL (\S+)", str(error))
    if asked:
        return f"it holds {asked[1]}, which is no tensor and was not run"
    if isinstance(error, (SafetensorError, OSError)):
        return str(error).splitlines()[0][:200]
    return "it is damaged, or no checkpoint of torch"


def misfit(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> str:
    """Why tensors do not fit a network, in words; empty where they fit.

    A tensor that the network knows under several names (shared modules) needs to be there under one of them.
    """
    groups, own = _names_of_tensors(network), network.state_dict(keep_vars=True)
    missing = [names[0] for names in groups if not any(name in tensors for name in names)]
    extra = [name for name in tensors if name not in own]
    other = [name for name, value in tensors.items() if name in own and value.shape != own[name].shape]
    shapes = [f"{name} {tuple(tensors[name].shape)} for {tuple(own[name].shape)}" for name in other]
    parts = [(missing, "missing"), (extra, "not known to the network"), (shapes, "of another shape")]
    return "; ".join(f"{len(found)} {what}, first {', '.join(found[:3])}" for found, what in parts if found)


def load_into(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Copy tensors into a network, every one and nothing else, in the network's own number format.

    Raises:
        RequestError: they do not fit, or hold NaN or infinity.
    """
    problem = misfit(network, tensors)
    if problem:
        raise RequestError(f"{source} does not fit the network: {problem}")
    own = network.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, value in tensors.items():
            if value.is_floating_point() and not torch.isfinite(value).all():
                raise RequestError(f"{source}: '{name}' holds NaN or infinity")
            own[name].copy_(value)


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
