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


class Parts:
    """Finished pieces of one run in a folder: JSON with its own checksum, written whole or not at all."""

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
        except (ValueError, KeyError, TypeError, RequestError):
            pass
        return None  # damaged: it is computed again

    def write(self, value: object, name: str) -> None:
        """Keep a value under a name."""
        content = to_plain(value)
        self._write(json.dumps({"sha256": _digest(content), "content": content}).encode(), f"{name}.json")

    def read_slice(self, name: str) -> np.ndarray | None:
        """The slice that was written under a name, or None."""
        file = self.folder / f"{name}.npy" if self.folder else None
        try:
            return np.load(file, allow_pickle=False) if file and file.is_file() else None
        except (ValueError, EOFError, OSError):
            return None

    def write_slice(self, slice_: np.ndarray | None, name: str) -> None:
        """Keep a slice; None keeps nothing."""
        if slice_ is None:
            return
        buffer = io.BytesIO()
        np.save(buffer, slice_)
        self._write(buffer.getvalue(), f"{name}.npy")

    def _write(self, data: bytes, name: str) -> None:
        if self.folder is not None:
            write_whole(self.folder / name, data)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
