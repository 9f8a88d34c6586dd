"""Checkpoints: read them safely, fit them to a network, pack them for shipping (floor 2)."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from medquanbench.files import disguise, obstacle
from medquanbench.key_maps import KeyMap, read_key_maps
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
    hidden = obstacle(path)
    if hidden:
        raise RequestError(f"no weights file {path}" + f": it {hidden}" * (hidden != "is missing"))
    try:
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(_numpy_numbers()):
            content = load_file(path) if path.suffix == ".safetensors" else _load(path)
    except Exception as error:  # A damaged file fails in a dozen ways, IndexError and struct.error among them.
        what = f"{path} cannot be read as weights (safetensors, or torch tensors alone)"
        raise RequestError(f"{what}: {_reason(path, error)}") from error
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


def _load(path: Path) -> object:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for record in archive.infolist():
                if record.CRC:  # torch can be told to write none, and does not look at them itself
                    with archive.open(record) as stream:
                        while stream.read(1 << 20):
                            pass
    return torch.load(path, "cpu", weights_only=True)


def _numpy_numbers() -> list:
    """What rebuilds a numpy number from a pickle, under its names in numpy 1 and 2; it makes numbers and nothing else.

    nnU-Net keeps its training log beside the weights as numpy numbers, SwinUNETR's trainer its best score.
    """
    rebuild = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [np.dtype, *{type(np.dtype(kind)) for kind in "?bhilqBHILQefd"}, *((rebuild, name) for name in names)]


def _reason(path: Path, error: Exception) -> str:
    # torch's own words go on for pages and end in the advice to run the file's code.
    asked = re.search(r"GLOBAL (\S+)", str(error))
    if asked:
        return f"it holds {asked[1]}, which is no tensor and was not run"
    mask, names = disguise(path), _names_in_zip(path)
    if names:
        if any(name.endswith("/constants.pkl") for name in names):
            return "it is a TorchScript program; the state_dict of its network is needed"
        if not any(name.endswith("data.pkl") for name in names):
            return "it is a zip archive without a checkpoint of torch in it"
    elif mask and mask != "a zip archive":  # torch's own files are
        return f"it is {mask}"
    kind = "a safetensors file" if path.suffix == ".safetensors" else "a checkpoint of torch"
    return f"it is cut off, damaged, or not {kind}"


def _names_in_zip(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, OSError):
        return []


def _misfits(
    network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], may_lack: Callable[[str], bool] = lambda name: False
) -> list[tuple[list[str], str]]:
    groups, own = _names_of_tensors(network), network.state_dict(keep_vars=True)
    missing = [names[0] for names in groups if not any(name in tensors or may_lack(name) for name in names)]
    extra = [name for name in tensors if name not in own]
    other = [name for name, value in tensors.items() if name in own and value.shape != own[name].shape]
    shapes = [f"{name} {tuple(tensors[name].shape)} for {tuple(own[name].shape)}" for name in other]
    return [(missing, "missing"), (extra, "not known to the network"), (shapes, "of another shape")]


def _in_words(misfits: list[tuple[list[str], str]]) -> str:
    return "; ".join(f"{len(found)} {what}, first {', '.join(found[:3])}" for found, what in misfits if found)


@dataclass(frozen=True)
class Fit:
    """How a checkpoint fits a network.

    Attributes:
        tensors: those that are loaded.
        key_map: name of the key map without which it does not fit, or "".
        problem: why it does not fit, in words, or "".
    """

    tensors: Mapping[str, torch.Tensor]
    key_map: str
    problem: str


def fit(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor], maps: tuple[KeyMap, ...] = ()) -> Fit:
    """Fit tensors to a network: as they are, else by the first of the key maps with which nothing is left over.

    A tensor that the network knows under several names (shared modules) needs to be there under one of them.
    """
    tried = [("", tensors, _misfits(network, tensors))]
    for candidate in (m for m in maps if m.suits(tensors)):
        if not _count(tried[-1][2]):
            break
        rest = {key: value for key, value in tensors.items() if not candidate.drops(key)}
        tried.append((candidate.name, rest, _misfits(network, rest, candidate.leaves)))
    name, rest, misfits = min(tried, key=lambda attempt: _count(attempt[2]))
    problem = _in_words(misfits)
    return Fit(rest, name, f"{problem} (with the key map {name})" if problem and name else problem)


def _count(misfits: list[tuple[list[str], str]]) -> int:
    return sum(len(found) for found, _ in misfits)


def load_into(
    network: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    source: str,
    key_maps: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
) -> None:
    """Copy tensors into a network, every one and nothing else, in the network's own number format.

    Args:
        source: where they come from, for messages.
        key_maps: the config's ``key_maps``, see :mod:`medquanbench.key_maps`.

    Raises:
        RequestError: they do not fit, or hold NaN, infinity, or another kind of numbers.
    """
    fitted = fit(network, tensors, read_key_maps(key_maps))
    if fitted.problem:
        raise RequestError(f"{source} does not fit the network: {fitted.problem}")
    own = network.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, value in fitted.tensors.items():
            problem = _wrong_numbers(value, own[name])
            if problem:
                raise RequestError(f"{source}: '{name}' {problem}")
            own[name].copy_(value)


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
