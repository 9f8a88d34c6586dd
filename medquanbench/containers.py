"""Files that hold the tensors of a network, opened safely: what lies where in them (floor 2)."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from medquanbench.checkpoint_scan import (
    NUMPY_NAMES,
    PLAIN_NAMES,
    TABLE_NAME,
    Nothing,
    Refused,
    is_zip,
    plain_table,
    scan,
)
from medquanbench.files import disguise, obstacle
from medquanbench.values import Loaded, RequestError

# nnU-Net 2; MedFormer, whose evaluation takes the averaged weights; the same, not averaged; nnU-Net 1, SwinUNETR,
# UNesT, Lightning; Model Zoo. The first that is there is taken, and again inside it.
_UNDER = ("network_weights", "ema_model_state_dict", "model_state_dict", "state_dict", "model")
_DEEPEST = 3


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The tensors of a file by name, as they stand there, and where they were found in it."""

    file: Path
    tensors: Mapping[str, torch.Tensor]
    found: Loaded


def open_checkpoint(path: str | Path) -> Checkpoint:
    """The tensors of a checkpoint: safetensors, or a torch file, bare or under one of the keys that trainers use.

    No code of the file runs, and no room is made for more than it holds. Of a torch file of today's form only those
    numbers are read from the disk that are used later: optimizers may lie beside them.

    Raises:
        RequestError: the file is missing, damaged, or no checkpoint.
    """
    path = Path(path)  # MONAI's config parser hands over text
    return checkpoint_in(path, contents(path))


def checkpoint_in(path: Path, content: object) -> Checkpoint:
    """The tensors of a checkpoint whose contents are read already: see :func:`contents`.

    Raises:
        RequestError: there are none by name.
    """
    places = _places(content)
    if not places:
        raise RequestError(f"{path} holds no tensors by name: it is no checkpoint of a network")
    (under, tensors), *others = places
    return Checkpoint(path, tensors, Loaded(under=under, passed_over=tuple(way for way, _ in others if way)))


def contents(path: Path) -> object:
    """All that a checkpoint holds: tensors and plain values. Numbers of numpy are not read: nothing stands for them.

    Raises:
        RequestError: the file is missing or damaged, or calls on what no checkpoint needs.
    """
    hidden = obstacle(path)
    if hidden:
        raise RequestError(f"no weights file {path}" + f": it {hidden}" * (hidden != "is missing"))
    try:
        return load_file(path) if _is_safetensors(path) else _load(path)
    except Exception as error:  # A damaged file fails in a dozen ways, IndexError and struct.error among them.
        what = f"{path} cannot be read as weights (safetensors, or torch tensors alone)"
        raise RequestError(f"{what}: it {_reason(path, error)}") from error


def _is_safetensors(path: Path) -> bool:
    """True where a length of eight bytes and an object in JSON stand first, whatever the file is called."""
    with open(path, "rb") as stream:
        head = stream.read(9)
    return head[8:] == b"{" and not is_zip(path)


def _places(content: object, way: tuple[str, ...] = ()) -> list[tuple[str, dict[str, torch.Tensor]]]:
    """Where tensors lie by name, the best place first: (keys that lead there, the tensors)."""
    if not isinstance(content, Mapping) or len(way) > _DEEPEST:
        return []
    found = [place for key in _UNDER for place in _places(content.get(key), (*way, key))]
    tensors = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    return found + [("/".join(way), tensors)] * bool(tensors)


def _load(path: Path) -> object:
    stand_ins = [(Nothing, name) for name in (*NUMPY_NAMES, *PLAIN_NAMES)] + [(plain_table, TABLE_NAME)]
    with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(stand_ins):
        scan(path)
        if path.suffix.lower() == ".safetensors":  # by its path, torch would read it as such, whatever it holds
            with open(path, "rb") as stream:
                return torch.load(stream, "cpu", weights_only=True)
        # Records that lie in the file as they are can be mapped: then nothing is read but what is used.
        mapped = is_zip(path) and _check_sums(path)
        return torch.load(str(path), "cpu", weights_only=True, mmap=mapped)


def _check_sums(path: Path) -> bool:
    """Compare all records with their checksums, at which torch does not look; True where none is compressed."""
    with zipfile.ZipFile(path) as archive:
        for record in archive.infolist():
            if record.CRC:  # torch can be told to write none
                with archive.open(record) as stream:
                    while stream.read(1 << 20):
                        pass
        return all(record.compress_type == zipfile.ZIP_STORED for record in archive.infolist())


def _reason(path: Path, error: Exception) -> str:
    # torch's own words go on for pages and end in the advice to run the file's code.
    if isinstance(error, Refused):
        return str(error)
    mask = disguise(path)
    if mask and mask != "a zip archive":  # torch's own files are
        return f"is {mask}"
    kind = "a safetensors file" if path.suffix == ".safetensors" or _is_safetensors(path) else "a checkpoint of torch"
    return f"is cut off, damaged, or not {kind}"
