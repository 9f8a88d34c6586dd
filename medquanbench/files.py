"""Files as wholes: written whole or not at all, their checksums, and why one cannot be used (floor 2)."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import os
import re
import shutil
import zlib
from pathlib import Path

from medquanbench.values import RequestError

_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")
_FULL = {errno.ENOSPC: "the disk", errno.EDQUOT: "the quota on the disk"}
_PAGE = "a web page (a download that went wrong)"
# What is often found in a file's place, by its first bytes in lower case.
_SIGNS = {
    b"<!doctype": _PAGE,
    b"<html": _PAGE,
    b"<?xml": _PAGE,
    b"version https://git-lfs": "a pointer of Git LFS, not the file that it points to",
    b"pk\x03\x04": "a zip archive",
    b"\x1f\x8b": "compressed with gzip",
}


def file_sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal text; the file is never in memory as a whole.

    Raises:
        RequestError: it cannot be read.
    """
    try:
        with open(file, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise RequestError(f"{file} {obstacle(file) or f'cannot be read: {error.strerror}'}") from error


def obstacle(file: Path) -> str:
    """Why a file cannot be opened, as the rest of a sentence that begins with its name; empty where it can."""
    try:
        if file.is_symlink() and not file.exists():
            return f"is a link to {os.readlink(file)}, which is missing"
        if not file.is_file():
            return "is a folder" if file.is_dir() else "is no file" if file.exists() else "is missing"
        with open(file, "rb"):
            return ""
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def disguise(file: Path) -> str:
    """What a readable file's first bytes show it to be, where that is a thing often found in a file's place."""
    with open(file, "rb") as stream:
        head = stream.read(64)
    found = (what for sign, what in _SIGNS.items() if head.lstrip().lower().startswith(sign))
    return next(found, "") if head else "empty"


def write_whole(file: Path, data: bytes) -> None:
    """Write a file whole or not at all: a temporary file beside it, flushed to disk, then renamed.

    Raises:
        RequestError: the disk is full, or the folder cannot be written; the file is as it was before.
    """
    try:
        _write_whole(file, data)
    except OSError as error:
        raise RequestError(unwritable(file.parent, error)) from error


def unwritable(folder: Path, error: OSError) -> str:
    """Why a folder cannot be written, as a sentence; of a full disk, with the room that there is."""
    if folder.is_symlink() and not folder.exists():
        return f"{folder} cannot be written: it {obstacle(folder)}"
    if error.errno not in _FULL:
        return f"{folder} cannot be written: {error.strerror}"
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    free = f"{shutil.disk_usage(there).free / 1e6:.0f} MB free"
    keep = "what was finished is kept; make room and give the same command again"
    return f"{_FULL[error.errno]} of {folder} is full ({free}): {keep}"


def _write_whole(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Two commands may write the same file at once: each has its own temporary file, and the rename is atomic.
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
        _flush_folder(file.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    # The rename itself must outlive a power cut. File systems that cannot flush a folder refuse.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def clear_temporaries(folder: Path) -> None:
    """Remove from a folder what killed writers left there; only where no other command writes at the same time."""
    for file in folder.iterdir() if folder.is_dir() else ():
        if _TEMPORARY.fullmatch(file.name):
            file.unlink(missing_ok=True)


def is_whole_gzip(file: Path) -> bool:
    """True where a file is there and holds gzip data up to its end, with the checksum that stands there."""
    try:
        with gzip.open(file) as stream:
            return all(iter(lambda: stream.read(1 << 20), b"")) and file.stat().st_size > 0
    except (OSError, EOFError, zlib.error):
        return False
