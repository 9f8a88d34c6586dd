"""Files as wholes: written whole or not at all, and their checksums (floor 2)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal text; the file is never in memory as a whole."""
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_whole(file: Path, data: bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it, flushed to disk, then renamed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # Two commands may write the same file at once: each has its own temporary file, and the rename is atomic.
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
