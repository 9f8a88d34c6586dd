"""Archives as an attacker, a broken disk or a careless colleague makes them; each is made in a moment."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

GOOD = (
    ("Task/imagesTr/a.nii.gz", b"an image"),
    ("Task/labelsTr/a.nii.gz", b"a label map"),
    ("Task/dataset.json", b"{}"),
)
Files = Sequence[tuple[str, bytes]]


def write_zip(file: Path, files: Files = GOOD) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, zipfile.ZIP_DEFLATED  # as it is: ZipInfo would tidy it
            archive.writestr(info, content)
    return file


def tar_bytes(files: Files = GOOD, more: Sequence[tarfile.TarInfo] = (), kind: int = tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=kind) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return stream.getvalue()


def write_tar(file: Path, files: Files = GOOD) -> Path:
    file.write_bytes(tar_bytes(files))
    return file


def write_tar_gz(file: Path, files: Files = GOOD) -> Path:
    file.write_bytes(gzip.compress(tar_bytes(files), 1))
    return file


WRITERS: dict[str, Callable[..., Path]] = {"zip": write_zip, "tar": write_tar, "tar.gz": write_tar_gz}


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A member of a tar that is no plain file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link(file: Path, target: str) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, target)
    return file


def zeros(size_bytes: int, compressor: object) -> bytes:
    """So many zeros, compressed: one block is deflated, and repeated as often as it takes."""
    block = 1 << 20
    compressor.compress(bytes(block))
    compressor.flush(zlib.Z_FULL_FLUSH)  # from here on every block comes out alike
    one = compressor.compress(bytes(block)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return one * (size_bytes // block)


def deflated_zeros(size_bytes: int) -> bytes:
    """A raw deflate stream of zeros, 1 / 1000 of their size."""
    return zeros(size_bytes, zlib.compressobj(9, zlib.DEFLATED, -15)) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


def zip_bomb(file: Path, size_bytes: int, announced_bytes: int | None = None) -> Path:
    """A zip of one file of zeros, which its headers announce with another size, if one is given."""
    body, name = deflated_zeros(size_bytes), b"bomb"
    announced = size_bytes if announced_bytes is None else announced_bytes
    extra = struct.pack("<HHQQ", 1, 16, announced, len(body))
    full = 0xFFFFFFFF  # the sizes stand in the extra field
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 45, 0, 8, 0, 0, 0, full, full, len(name), len(extra)) + name + extra
    numbers = (45, 45, 0, 8, 0, 0, 0, full, full, len(name), len(extra), 0, 0, 0, 0, 0)
    central = struct.pack("<4s6H3I5H2I", b"PK\1\2", *numbers) + name + extra
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local) + len(body), 0)
    file.write_bytes(local + body + central + end)
    return file


def tar_gz_bomb(file: Path, size_bytes: int, n_files: int = 1) -> Path:
    """A tar.gz of files of zeros, so many bytes in all; its headers say so."""
    each = size_bytes // n_files
    info = [special(f"bomb{number}", tarfile.REGTYPE) for number in range(n_files)]
    body = deflated_zeros(each)[:-2]  # without the mark of its end
    with open(file, "wb") as stream:
        stream.write(b"\x1f\x8b\x08" + bytes(5) + b"\x02\xff")
        for one in info:
            one.size = each
            header = zlib.compressobj(9, zlib.DEFLATED, -15)
            stream.write(header.compress(one.tobuf()) + header.flush(zlib.Z_FULL_FLUSH) + body)
        stream.write(zlib.compressobj(9, zlib.DEFLATED, -15).flush() + bytes(8))
    return file
