"""Look through the pickles of a torch file without running them: what they call on, what they claim to hold (floor 2).

A pickle is a program. This reader runs it with every name that it calls on replaced by a class that does nothing, so
that names outside a short table, and tensors larger than the file that should hold them, are told before torch reads a
byte. ``torch.load(weights_only=True)`` comes after it, and alone would take a storage's size on trust.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from pathlib import Path
from typing import IO, Any

import torch

MOST_TIMES_ITS_SIZE = 8
"""A zip archive that says it holds more than this, times its own size, is no checkpoint: numbers hardly compress."""

_ALLOWED = re.compile(
    r"collections\.(OrderedDict|Counter)|builtins\.(set|complex)|_codecs\.encode"
    r"|torch\.(Size|device|Tensor|nn\.parameter\.Parameter|serialization\._get_layout|_tensor\._rebuild_from_type_v2)"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state|sparse_tensor|qtensor)"
    r"|torch\.per_(tensor|channel)_(affine|symmetric|affine_float_qparams)"
    r"|torch\.(b?float|u?int|complex|bits|quint|qint)\w*|torch\.bool|torch\.(cuda\.|storage\.)?\w+Storage"
)
NUMPY_NAMES = (
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"numpy.{kind}{bits}" for kind in ("float", "int", "uint") for bits in (8, 16, 32, 64)),
    "numpy.bool_",
)
"""Names that training logs beside the weights call on (nnU-Net's, SwinUNETR's best score); read as nothing at all."""
PLAIN_NAMES = (
    "argparse.Namespace",
    *(f"pathlib.{place}{system}Path" for place in ("", "_local.") for system in ("Posix", "Windows", "PurePosix")),
    *(f"builtins.{kind}" for kind in ("dict", "list", "int", "float")),
)
"""Names that settings beside the weights call on (a command's arguments, folders, tables); read as nothing at all."""
TABLE_NAME = "collections.defaultdict"
"""Read as a plain dict: see :func:`plain_table`."""


def plain_table(*_: object) -> dict:
    """Stands for a defaultdict: torch fills nothing but tables of Python's own."""
    return {}


class Refused(ValueError):
    """Why a file is not read, as the rest of a sentence that begins with "it"."""


class Nothing:
    """Stands for what a pickle would make: takes whatever is done to it, and does nothing."""

    def __new__(cls, *_: object) -> Nothing:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def _ignore(self, *_: object) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = update = _ignore


class _Type(Nothing):
    """Stands for a class that is only ever pointed to; called, it would make room for numbers that no file holds."""

    def __new__(cls, *_: object) -> Nothing:
        raise Refused(f"makes {cls.__name__} of nothing, which no checkpoint does, and was not run")


class _Storage(Nothing):
    """Stands for the numbers of one storage."""

    def __init__(self, numbers: int = 0) -> None:
        self.numbers = numbers


class _Tensor(Nothing):
    """Stands for a tensor: a view of a storage."""

    def __init__(self, *given: Any) -> None:
        storage, first, shape, strides, *_ = given
        if isinstance(storage, _Storage) and 0 not in shape:
            last = first + sum((edge - 1) * stride for edge, stride in zip(shape, strides, strict=True))
            if not 0 <= first <= last < storage.numbers:
                raise Refused(f"says that a tensor reaches from {first:,} to {last:,} in {storage.numbers:,} numbers")


_KINDS = {"_rebuild_tensor": _Tensor, "_rebuild_tensor_v2": _Tensor, "Tensor": _Type, "ndarray": _Type}


def scan(path: Path) -> None:
    """Look at all that a torch file calls on and claims to hold, before anything is read or room is made for it.

    Raises:
        Refused: it calls on a name that no checkpoint needs, or holds less than it says.
    """
    if is_zip(path):
        _scan_zip(path)
    else:
        _scan_old(path)


def is_zip(path: Path) -> bool:
    """True for the form that torch writes since 1.6; torch, too, goes by the first bytes."""
    with open(path, "rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def _scan_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        records = {record.filename: record.file_size for record in archive.infolist()}
        said, size = sum(record.file_size for record in archive.infolist()), path.stat().st_size
        if said > MOST_TIMES_ITS_SIZE * size + (1 << 20):
            raise Refused(f"says that it holds {said / 1e6:,.0f} MB, which a file of {size / 1e6:,.2f} MB cannot")
        if len(records) < len(archive.infolist()):
            raise Refused("holds two records of one name")
        if any(name.endswith("/constants.pkl") for name in records):
            raise Refused("is a TorchScript program; the state_dict of its network is needed")
        pickles = [name for name in records if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Refused("is a zip archive without a checkpoint of torch in it")
        content = archive.getinfo(pickles[0])
        content.CRC = content.CRC or None  # torch can be told to write none
        with archive.open(content) as stream:
            storages = _claims(stream, 1)
    for key, claimed in storages.items():
        _compare(key, claimed, records.get(f"{pickles[0].removesuffix('data.pkl')}data/{key}", 0))


def _scan_old(path: Path) -> None:
    with open(path, "rb") as stream:
        storages = _claims(stream, 4)  # a number to know it by, a version, the system, the content; then the numbers
    _compare("all", sum(storages.values()), path.stat().st_size)


def _claims(stream: IO[bytes], pickles: int) -> dict[str, int]:
    """Bytes that each storage claims to have, by its key."""
    found: dict[str, int] = {}
    for _ in range(pickles):
        _Reader(stream, found).load()
    return found


def _compare(key: str, claimed: int, there: int) -> None:
    if claimed > there:
        raise Refused(f"says that storage {key} has {claimed:,} bytes; it has {there:,} at most")


class _Reader(pickle._Unpickler):  # the one in Python: the one in C makes room for whatever a pickle asks for
    def __init__(self, stream: IO[bytes], storages: dict[str, int]) -> None:
        super().__init__(stream, encoding="latin1")
        self.storages = storages

    def find_class(self, module: str, name: str) -> type[Nothing]:
        if (module, name) in NAME_MAPPING:
            module, name = NAME_MAPPING[module, name]
        full = f"{IMPORT_MAPPING.get(module, module)}.{name}"
        if not _ALLOWED.fullmatch(full) and full not in (*NUMPY_NAMES, *PLAIN_NAMES, TABLE_NAME):
            name = full.removeprefix("builtins.")
            raise Refused(f"holds {name}, which is no tensor and was not run; save the network's state_dict alone")
        return type(full, (_KINDS.get(name, _Type if name.endswith("Storage") else Nothing),), {})

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage, key, _, numbers, *_ = pid
        if kind != "storage" or not isinstance(numbers, int) or numbers < 0:
            raise Refused("points to something that is no storage of numbers")
        self.storages[str(key)] = max(self.storages.get(str(key), 0), numbers * _item_bytes(storage))
        return _Storage(numbers)


def _item_bytes(storage: object) -> int:
    known = getattr(torch, getattr(storage, "__name__", "").rpartition(".")[2], None)
    return getattr(getattr(known, "dtype", None), "itemsize", 1)
