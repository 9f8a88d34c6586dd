"""Tensors that are put aside until they are due: in memory up to a budget, beyond it in a temporary file (floor 2)."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Hashable
from dataclasses import dataclass
from typing import BinaryIO

import torch

from medquanbench.values import RunError

BUDGET_BYTES = 3 << 30
"""What one volume may hold in memory: with the network and its answer to a window of 128^3, less than 8 GB in all."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class _Held:
    tensor: torch.Tensor
    due: int


@dataclass(frozen=True)
class _Spilled:
    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    bytes: int


class Store:
    """Keeps tensors under keys; each comes back once, bit for bit. What is due last goes to the file first.

    The file lies in the system's temporary folder (TMPDIR names another) and has no name there where the system allows
    that: nothing is left behind, however the process ends. Tensors on other devices than the CPU are never spilled.
    Plain reads and writes, no memory map: mapped pages would count as the memory that is to be saved.

    Attributes:
        most_bytes: the most that was put aside at a time, in memory and in the file.
        most_held_bytes: the most that was in memory at a time.
        spilled_bytes: all that was ever written.
    """

    def __init__(self, budget_bytes: int | None = None) -> None:
        self.budget_bytes = BUDGET_BYTES if budget_bytes is None else budget_bytes
        self.most_bytes = self.most_held_bytes = self.spilled_bytes = 0
        self._held: dict[Hashable, _Held] = {}
        self._spilled: dict[Hashable, _Spilled] = {}
        self._free: dict[int, list[int]] = {}  # bytes of a gap in the file -> where such gaps begin
        self._file: BinaryIO | None = None
        self._file_bytes = self._held_bytes = self._away_bytes = 0

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        """Forget everything, and remove the file."""
        self._held.clear()
        self._spilled.clear()
        self._free.clear()
        self._file_bytes = self._held_bytes = self._away_bytes = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def put(self, key: Hashable, tensor: torch.Tensor, due: int) -> None:
        """Put a contiguous tensor aside until the step ``due``.

        Raises:
            RunError: the temporary folder has no room, or cannot be written.
        """
        self._held[key] = _Held(tensor, due)
        if tensor.device.type == "cpu":
            self._held_bytes += tensor.nbytes
        while self._held_bytes > self.budget_bytes:
            self._spill(max((key for key in self._held), key=lambda key: self._held[key].due))
        self.most_held_bytes = max(self.most_held_bytes, self._held_bytes)
        self.most_bytes = max(self.most_bytes, self._held_bytes + self._away_bytes)

    def take(self, key: Hashable) -> torch.Tensor:
        """What was put aside under a key, which is free afterwards."""
        held = self._held.pop(key, None)
        if held is None:
            return self._load(self._spilled.pop(key))
        if held.tensor.device.type == "cpu":
            self._held_bytes -= held.tensor.nbytes
        return held.tensor

    def _spill(self, key: Hashable) -> None:
        tensor = self.take(key)
        gaps = self._free.get(tensor.nbytes)
        offset = gaps.pop() if gaps else self._file_bytes
        try:
            self._write(offset, tensor)
        except OSError as error:
            raise RunError(_no_room(error, self._away_bytes + tensor.nbytes)) from error
        self._file_bytes = max(self._file_bytes, offset + tensor.nbytes)
        self._spilled[key] = _Spilled(offset, tuple(tensor.shape), tensor.dtype, tensor.nbytes)
        self._away_bytes += tensor.nbytes
        self.spilled_bytes += tensor.nbytes

    def _write(self, offset: int, tensor: torch.Tensor) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="medquanbench-", buffering=0)
        self._file.seek(offset)
        rest = memoryview(tensor.numpy()).cast("B")
        while rest:  # a nearly full disk takes a part, and only then refuses
            rest = rest[self._file.write(rest) :]

    def _load(self, spilled: _Spilled) -> torch.Tensor:
        tensor = torch.empty(spilled.shape, dtype=spilled.dtype)
        rest = memoryview(tensor.numpy()).cast("B")
        self._file.seek(spilled.offset)
        while rest:
            count = self._file.readinto(rest)
            if not count:
                raise RunError(f"the temporary file in {tempfile.gettempdir()} was cut short by something else")
            rest = rest[count:]
        self._free.setdefault(spilled.bytes, []).append(spilled.offset)
        self._away_bytes -= spilled.bytes
        return tensor


def _no_room(error: OSError, needed_bytes: int) -> str:
    needs = f"unfinished logits that do not fit into memory need at least {needed_bytes / 1e9:.1f} GB"
    try:
        folder = tempfile.gettempdir()
    except OSError as nowhere:
        return f"{needs} on a disk: {nowhere.strerror}; TMPDIR names a folder for them"
    if error.errno not in _FULL:
        return f"{needs} in {folder}, which cannot be written: {error.strerror}; TMPDIR names another folder"
    free = f"{shutil.disk_usage(folder).free / 1e9:.1f} GB are free"
    return f"the disk of {folder} is full: {needs} there, {free}; TMPDIR names another folder"
