"""Finished pieces of a run on disk: written whole or not at all, checked when read (floor 2)."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from medquanbench.files import write_whole
from medquanbench.values import RequestError, from_plain, to_plain

_DIGEST_BYTES = hashlib.sha256().digest_size


class Parts:
    """Finished pieces of one run in a folder, each with its own checksum, written whole or not at all."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def read(self, kind: type, name: str) -> Any:
        """The value of a kind that was written under a name; None where there is none, or it is damaged."""
        if self.folder is None:
            return None
        try:
            part = json.loads((self.folder / f"{name}.json").read_text())
            if part["sha256"] == _digest(part["content"]):
                return from_plain(kind, part["content"])
        except (OSError, ValueError, KeyError, TypeError, RequestError):
            pass
        return None  # not there, or damaged: it is computed again

    def write(self, value: object, name: str) -> None:
        """Keep a value under a name."""
        content = to_plain(value)
        self._write(json.dumps({"sha256": _digest(content), "content": content}).encode(), f"{name}.json")

    def read_slice(self, name: str) -> np.ndarray | None:
        """The slice that was written under a name; None where there is none, or it is damaged."""
        array = self.read_bytes(f"{name}.npy")
        try:
            return np.load(io.BytesIO(array), allow_pickle=False) if array is not None else None
        except (ValueError, EOFError):
            return None

    def write_slice(self, slice_: np.ndarray | None, name: str) -> None:
        """Keep a slice as .npy with its SHA-256 behind it, which numpy does not read; None keeps nothing."""
        if slice_ is None:
            return
        buffer = io.BytesIO()
        np.save(buffer, slice_)
        self.write_bytes(buffer.getvalue(), f"{name}.npy")

    def read_bytes(self, file_name: str) -> bytes | None:
        """The bytes that were written to a file; None where there are none, or they are damaged."""
        file = self.folder / file_name if self.folder else None
        if file is None or not file.is_file():
            return None
        try:
            content = file.read_bytes()
        except OSError:
            return None
        data, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
        return data if hashlib.sha256(data).digest() == digest else None

    def write_bytes(self, data: bytes, file_name: str) -> None:
        """Keep bytes with their SHA-256 behind them."""
        self._write(data + hashlib.sha256(data).digest(), file_name)

    def _write(self, data: bytes, name: str) -> None:
        if self.folder is not None:
            write_whole(self.folder / name, data)


class FloatAnswers:
    """The float network's answers, packed, case by case: what the answers of quantized networks are compared with.

    They lie in the folder of the float run's parts; without a folder they stay in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._parts, self._kept = Parts(folder), {}

    def read(self, case: str) -> bytes | None:
        """The packed answer to a case; None where there is none, or it is damaged."""
        return self._kept.get(case) if self._parts.folder is None else self._parts.read_bytes(_file_of(case))

    def write(self, packed: bytes, case: str) -> None:
        """Keep the packed answer to a case."""
        if self._parts.folder is None:
            self._kept[case] = packed
        else:
            self._parts.write_bytes(packed, _file_of(case))


def _file_of(case: str) -> str:
    return f"{case}.answer"


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
