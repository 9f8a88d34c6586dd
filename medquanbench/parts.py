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
        file = self.folder / f"{name}.json" if self.folder else None
        if file is None or not file.is_file():
            return None
        try:
            part = json.loads(file.read_text())
            if part["sha256"] == _digest(part["content"]):
                return from_plain(kind, part["content"])
        except (OSError, ValueError, KeyError, TypeError, RequestError):
            pass
        return None  # damaged: it is computed again

    def write(self, value: object, name: str) -> None:
        """Keep a value under a name."""
        content = to_plain(value)
        self._write(json.dumps({"sha256": _digest(content), "content": content}).encode(), f"{name}.json")

    def read_slice(self, name: str) -> np.ndarray | None:
        """The slice that was written under a name; None where there is none, or it is damaged."""
        file = self.folder / f"{name}.npy" if self.folder else None
        if file is None or not file.is_file():
            return None
        try:
            data = file.read_bytes()
            array, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
            whole = hashlib.sha256(array).digest() == digest
            return np.load(io.BytesIO(array), allow_pickle=False) if whole else None
        except (OSError, ValueError, EOFError):
            return None

    def write_slice(self, slice_: np.ndarray | None, name: str) -> None:
        """Keep a slice as .npy with its SHA-256 behind it, which numpy does not read; None keeps nothing."""
        if slice_ is None:
            return
        buffer = io.BytesIO()
        np.save(buffer, slice_)
        self._write(buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest(), f"{name}.npy")

    def _write(self, data: bytes, name: str) -> None:
        if self.folder is not None:
            write_whole(self.folder / name, data)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
