"""Unpack an archive that may be hostile: all of it or nothing, below one folder, within limits (floor 5)."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medquanbench.data.archive import Member, open_archive
from medquanbench.data.archive_names import Names, Refused, shown
from medquanbench.data.meter import Meter, in_words
from medquanbench.files import obstacle, unwritable
from medquanbench.progress import Progress
from medquanbench.values import RequestError


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold: ``ratio`` times its own size, or ``least_bytes`` where that is more."""

    ratio: int = 100
    least_bytes: int = 1 << 30
    entries: int = 500_000

    def content_bytes(self, archive_bytes: int) -> int:
        """The content that is allowed to an archive of a size."""
        return max(self.least_bytes, self.ratio * archive_bytes)


@dataclass(frozen=True)
class Unpacked:
    """What an archive held: (path below the folder, size in bytes) of its files, and how many were left out."""

    files: tuple[tuple[str, int], ...]
    left_out: int


def unpack(archive: Path, folder: Path, progress: Progress, limits: Limits = Limits()) -> Unpacked:
    """Unpack a zip, tar or tar.gz, told apart by content, into a folder that exists.

    It is unpacked beside and moved into place when it is whole. Files get the permissions of new files; those that
    macOS adds (``._*``, ``__MACOSX``, ``.DS_Store``) are left out. A file that is there already with the same content
    stays.

    Raises:
        RequestError: it is no archive, is damaged, holds what no dataset needs (paths that leave the folder, links,
            devices, doubles, names that differ between systems), more than the limits allow or than the disk has
            room for, or a file that is there with other content. The folder is as it was before.
    """
    if hidden := obstacle(archive):
        raise RequestError(f"{archive} {hidden}")
    place = folder / f".{archive.name}.unpacking"
    try:
        _clear(place)
        place.mkdir()
        told = _write_members(archive, place, progress, limits)
        _expect_no_others(place, folder)
        _move(place, folder)
        return told
    except Refused as refused:
        raise RequestError(f"{archive} is not unpacked: it {refused}") from refused
    except OSError as error:
        raise RequestError(unwritable(folder, error)) from error
    finally:
        with contextlib.suppress(OSError):
            _clear(place)


def _clear(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _write_members(archive: Path, place: Path, progress: Progress, limits: Limits) -> Unpacked:
    names, files, left_out = Names(limits.entries), [], 0
    allowance = _Allowance(limits.content_bytes(archive.stat().st_size), place)
    with open_archive(archive) as opened:
        meter = Meter(progress, f"unpacking {archive.name}", opened.announced_bytes)
        allowance.expect(opened.announced_bytes or 0)
        for member in opened.members:
            path = names.take(member.name, member.is_folder)
            allowance.expect(member.size_bytes)
            if member.is_folder:
                (place / path).mkdir(parents=True, exist_ok=True)
            elif _is_of_macos(path):
                left_out += 1
                _through(member, allowance, meter)
            else:
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                with open(place / path, "xb") as stream:
                    for chunk in _content(member, allowance, meter):
                        stream.write(chunk)
                files.append((path, member.size_bytes))
    return Unpacked(tuple(files), left_out)


class _Allowance:
    """What may still be written: bytes are counted as they come, headers are only believed where they ask for more."""

    def __init__(self, allowed_bytes: int, place: Path) -> None:
        self.allowed, self.left, self.place = allowed_bytes, allowed_bytes, place

    def expect(self, size_bytes: int) -> None:
        """So much is announced. Raises Refused where it is not allowed or the disk has no room for it."""
        if size_bytes > self.left:
            raise Refused(f"holds more than {in_words(self.allowed)}, as a bomb of zeros does")
        free = shutil.disk_usage(self.place).free
        if size_bytes > free:
            raise Refused(f"needs {in_words(size_bytes)} in {self.place.parent}, where {in_words(free)} are free")

    def spend(self, size_bytes: int) -> None:
        """So much has come."""
        self.left -= size_bytes
        if self.left < 0:
            raise Refused(f"holds more than {in_words(self.allowed)}, as a bomb of zeros does")


def _content(member: Member, allowance: _Allowance, meter: Meter) -> Iterator[bytes]:
    come = 0
    for chunk in member.chunks():
        come += len(chunk)
        allowance.spend(len(chunk))
        meter.add(len(chunk))
        yield chunk
    if come != member.size_bytes:
        raise Refused(f"announces {shown(member.name)} with {member.size_bytes} bytes and holds {come}")


def _through(member: Member, allowance: _Allowance, meter: Meter) -> None:
    for _ in _content(member, allowance, meter):
        pass


def _is_of_macos(path: str) -> bool:
    *folders, name = path.split("/")
    return name.startswith("._") or name == ".DS_Store" or "__MACOSX" in folders


def _expect_no_others(source: Path, target: Path) -> None:
    """Whatever stands where something goes must be the same."""
    for child in sorted(source.iterdir()):
        there = target / child.name
        if not os.path.lexists(there):
            continue
        if child.is_dir() and there.is_dir():
            _expect_no_others(child, there)
        elif not (child.is_file() and there.is_file() and filecmp.cmp(child, there, shallow=False)):
            raise Refused(f"holds {there.name}, and {there} is there with other content; move that away")


def _move(source: Path, target: Path) -> None:
    for child in sorted(source.iterdir()):
        there = target / child.name
        if child.is_dir() and there.is_dir():
            _move(child, there)
        else:
            os.replace(child, there)
