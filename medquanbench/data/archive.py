"""Read zip, tar and tar.gz archives that may be hostile: their files one by one, in bounded memory (floor 5)."""

from __future__ import annotations

import errno
import gzip
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from medquanbench.data.archive_names import Refused, shown
from medquanbench.files import disguise

CHUNK_BYTES = 1 << 20
_MAX_HEADER_BYTES = 4 << 20  # of one member of a tar: names and attributes; tarfile holds them in memory
_MAX_BEYOND_BYTES = 64 << 20  # behind the end of a tar, where zeros fill a record
# zipfile reads the others without a bound: a few kB of bzip2 become gigabytes in memory.
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error,
    EOFError, ValueError, ArithmeticError, LookupError, RuntimeError,
)  # fmt: skip
"""What the readers of the standard library raise where bytes are not what they should be."""


@dataclass(frozen=True)
class Member:
    """One file or folder of an archive, as the archive describes it: nothing is believed yet.

    Attributes:
        size_bytes: of its content, as announced.
        chunks: its content; to be read before the next member is asked for.
    """

    name: str
    is_folder: bool
    size_bytes: int
    chunks: Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class Archive:
    """An open archive.

    Attributes:
        announced_bytes: of all content; None where only reading it would tell.
        members: to be gone through once; raises Refused.
    """

    announced_bytes: int | None
    members: Iterator[Member]


@contextmanager
def open_archive(file: Path) -> Iterator[Archive]:
    """Open an archive by its content, whatever its name says.

    Raises:
        Refused: it is no archive, is damaged or locked, or holds links or devices; here or while it is read.
        OSError: the file cannot be read.
    """
    with open(file, "rb") as raw:
        head = raw.read(2)
        raw.seek(0)
        if head == b"PK":
            with _damage_told():
                zipped = zipfile.ZipFile(raw)
            infos = zipped.infolist()
            yield Archive(sum(info.file_size for info in infos), _zip_members(zipped, infos))
        elif head == b"\x1f\x8b":
            with gzip.open(raw) as stream:
                _expect_tar(stream, "what it holds compressed is no tar archive")
                yield Archive(None, _tar_members(stream))
        else:
            _expect_tar(raw, f"it is {disguise(file) or 'something else'}")
            yield Archive(None, _tar_members(raw))


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise Refused("is damaged or cut off: not all that it holds can be read") from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # the machine's, not the archive's
            raise
        raise Refused("is damaged or cut off: not all that it holds can be read") from error


def _zip_members(zipped: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> Iterator[Member]:
    for info in infos:
        name = info.orig_filename  # `filename` is what zipfile made of it
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise Refused(_special(name, kind == stat.S_IFLNK))
        if info.flag_bits & 1:
            raise Refused(f"is locked with a password ({shown(name)})")
        if info.compress_type not in _ZIP_METHODS:
            raise Refused(f"holds {shown(name)}, compressed in a way that is not read here (stored and deflated are)")
        is_folder = name.endswith("/") or kind == stat.S_IFDIR
        yield Member(name, is_folder, info.file_size, lambda info=info: _zip_chunks(zipped, info))


def _zip_chunks(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with _damage_told():
        stream = zipped.open(info)
    with stream:
        yield from _chunks(stream)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while True:
        with _damage_told():
            chunk = stream.read(CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


def _expect_tar(stream: IO[bytes], instead: str) -> None:
    """A tar begins with a header whose checksum fits; zeros are an empty one."""
    with _damage_told():
        block = stream.read(tarfile.BLOCKSIZE)
        stream.seek(0)
    try:
        tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        if block != bytes(tarfile.BLOCKSIZE):
            raise Refused(f"is no zip, tar or tar.gz archive: {instead}") from None


class _Bounded:
    """A stream of which so much may be read at a time: tarfile reads headers at the size that they announce."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.left = stream, 0
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.left:
            raise Refused("is damaged or hostile: it announces a header without end")
        self.left -= size
        return self.stream.read(size)


def _tar_members(raw: IO[bytes]) -> Iterator[Member]:
    stream = _Bounded(raw)
    stream.left = _MAX_HEADER_BYTES
    with _damage_told():
        tar = tarfile.open(fileobj=stream, mode="r:")  # type: ignore[call-overload]
    while True:
        stream.left = _MAX_HEADER_BYTES
        with _damage_told():
            info = tar.next()
        if info is None:
            break
        tar.members.clear()  # it would hold all of them in memory
        if not (info.isreg() or info.isdir()) or info.issparse():
            raise Refused(_special(info.name, info.issym() or info.islnk()))
        if info.size < 0:
            raise Refused("is damaged: a size in it is below 0")
        yield Member(info.name, info.isdir(), info.size, lambda info=info: _tar_chunks(tar, stream, info))
    _expect_end(raw, tar.offset)


def _tar_chunks(tar: tarfile.TarFile, stream: _Bounded, info: tarfile.TarInfo) -> Iterator[bytes]:
    left = info.size
    source = tar.extractfile(info)
    while left > 0:
        stream.left = CHUNK_BYTES
        with _damage_told():
            chunk = source.read(min(left, CHUNK_BYTES))
        if not chunk:
            raise Refused("is damaged or cut off: not all that it holds can be read")
        left -= len(chunk)
        yield chunk


def _expect_end(raw: IO[bytes], offset: int) -> None:
    """A tar ends with a block of zeros. Where none is, tarfile met a damaged header or the end, and says nothing.

    What follows is read up to the end, where gzip has its checksum.
    """
    with _damage_told():
        raw.seek(offset)
        if raw.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise EOFError
        beyond = 0
        while chunk := raw.read(CHUNK_BYTES):
            beyond += len(chunk)
            if beyond > _MAX_BEYOND_BYTES:
                raise Refused("is damaged or hostile: it goes on behind its end")


def _special(name: str, is_link: bool) -> str:
    what = "is a link" if is_link else "is no plain file (a device, a pipe or a file with holes)"
    return f"holds {shown(name)}, which {what}"
