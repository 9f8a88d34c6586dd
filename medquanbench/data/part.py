"""A file of which a part has come, and which version of it that is (floor 5)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from medquanbench.data.meter import Meter
from medquanbench.dataset import Download
from medquanbench.files import write_whole

_CHUNK_BYTES = 1 << 20
_KINDS = ("sha256", "md5")


class Checksums:
    """The checksums that a card or a record knows of a file, computed as its bytes go by."""

    def __init__(self, wanted: Download) -> None:
        kinds = [kind for kind in _KINDS if getattr(wanted, kind)]
        self.wanted = wanted
        self.sums = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}

    def add(self, chunk: bytes) -> None:
        """The next bytes of the file."""
        for one in self.sums.values():
            one.update(chunk)

    def read(self, file: Path, meter: Meter) -> None:
        """All bytes of a file."""
        with open(file, "rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                self.add(chunk)
                meter.add(len(chunk))

    def complaint(self) -> str:
        """What differs, as ``the md5 X, and Y is right``; empty where nothing does."""
        for kind, one in self.sums.items():
            right = getattr(self.wanted, kind).lower()
            if one.hexdigest() != right:
                return f"the {kind} {one.hexdigest()}, and {right} is right"
        return ""


@dataclass(frozen=True)
class Version:
    """What a server says of the version of a file that it offers; empty texts where it says nothing."""

    total_bytes: int
    etag: str
    last_modified: str

    def may_continue(self, other: Version) -> bool:
        """False where what two answers say cannot be true of the same file."""
        said = ((self.etag, other.etag), (self.last_modified, other.last_modified))
        return self.total_bytes == other.total_bytes and all(a == b for a, b in said if a and b)


class Part:
    """``FILE.part`` and ``FILE.part.json``; open while the block lasts.

    Attributes:
        version: that of the bytes that are there; None where none are.
        size_bytes: how many are there.
    """

    def __init__(self, file: Path, wanted: Download) -> None:
        self.file, self.note, self.wanted = file, file.with_name(f"{file.name}.json"), wanted
        self.version: Version | None = None
        self.size_bytes, self.sums = 0, Checksums(wanted)

    def __enter__(self) -> Part:
        self.stream = open(self.file, "ab", buffering=0)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stream.close()
        if not self.size_bytes:
            self.remove()

    def reload(self, meter: Meter) -> None:
        """Take over what an earlier command left, if it is known which version it is of; else begin anew."""
        version, size = self._noted(), os.fstat(self.stream.fileno()).st_size
        known = version is not None and (version.etag or version.last_modified or self.sums.sums)
        if not known or self.wanted.bytes not in (None, version.total_bytes):
            self.clear()
            return
        self.sums.read(self.file, meter)
        self.version, self.size_bytes = version, size

    def _noted(self) -> Version | None:
        try:
            version = Version(**json.loads(self.note.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        texts = isinstance(version.etag, str) and isinstance(version.last_modified, str)
        return version if texts and isinstance(version.total_bytes, int) else None

    def conditions(self) -> Mapping[str, str]:
        """The headers that ask for the rest, if the server still has this version."""
        if not self.size_bytes or self.version is None:
            return {}
        strong = self.version.etag if not self.version.etag.startswith("W/") else ""
        condition = strong or self.version.last_modified
        return {"Range": f"bytes={self.size_bytes}-"} | ({"If-Range": condition} if condition else {})

    def clear(self) -> None:
        """Begin anew."""
        self.stream.truncate(0)
        self.version, self.size_bytes, self.sums = None, 0, Checksums(self.wanted)

    def begin(self, version: Version) -> None:
        """Begin anew with a version, which is noted before its first byte is kept."""
        self.clear()
        write_whole(self.note, json.dumps(asdict(version)).encode())
        self.version = version

    def write(self, chunk: bytes) -> None:
        """Keep the next bytes."""
        left = memoryview(chunk)
        while left:  # a disk that is nearly full takes some of them
            left = left[self.stream.write(left) :]
        self.size_bytes += len(chunk)
        self.sums.add(chunk)

    @property
    def is_whole(self) -> bool:
        """All bytes of its version are there."""
        return self.version is not None and self.size_bytes == self.version.total_bytes

    def become(self, target: Path) -> None:
        """Give the file its name; its bytes are on the disk then."""
        os.fsync(self.stream.fileno())
        os.replace(self.file, target)
        self.note.unlink(missing_ok=True)

    def remove(self) -> None:
        """Keep nothing."""
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
