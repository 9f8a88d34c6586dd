"""Download a file: goes on where it broke off, and believes nothing but size and checksum (floor 5)."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import time
from pathlib import Path

from medquanbench.data.connection import PATIENCE, Broken, Patience, connect, failure, shown
from medquanbench.data.meter import Meter, in_words
from medquanbench.data.part import Checksums, Part, Version
from medquanbench.dataset import Download
from medquanbench.files import unwritable
from medquanbench.progress import Progress
from medquanbench.values import RequestError, RunError

_CHUNK_BYTES = 1 << 20
_PROGRESS_BYTES = 1 << 20  # after so much, patience begins anew


def download(
    wanted: Download, folder: Path, progress: Progress, *, room: float = 1.0, patience: Patience = PATIENCE
) -> Path:
    """Bring a file into a folder that exists; the file, whole and checked.

    Until then what has come stands in ``FILE.part``, with the server's word on its version in ``FILE.part.json``: a
    command that was stopped or killed goes on from there, if the server still offers that version. A file that is
    there already and is right is not fetched again.

    Args:
        wanted: with a ``url``; size and checksums as far as they are known.
        room: how much must be free for it, as a multiple of its size.

    Raises:
        RequestError: the disk has no room, the folder cannot be written, another file stands in its place.
        RunError: the server fails, or what it sends is not what is wanted. What came is kept for the next try, but
            for a file with a wrong checksum or longer than promised: that one is removed.
    """
    target = folder / wanted.file
    try:
        if os.path.lexists(target):
            _check_there(wanted, target, progress)
            return target
        with Part(folder / f"{wanted.file}.part", wanted) as part:
            part.reload(Meter(progress, f"checking what there is of {wanted.file}"))
            _Fetching(wanted, part, progress, room, patience).to_the_end()
            if complaint := part.sums.complaint():
                part.remove()
                raise RunError(f"{wanted.file} came with {complaint}; it was removed, nothing is unpacked")
            part.become(target)
    except OSError as error:
        raise RequestError(unwritable(folder, error)) from error
    return target


def _check_there(wanted: Download, target: Path, progress: Progress) -> None:
    if not target.is_file():
        raise RequestError(f"{target} stands where {wanted.file} goes, and is no file; move it away")
    size, sums = target.stat().st_size, Checksums(wanted)
    if wanted.bytes not in (None, size):
        raise RequestError(f"{target} is there with {size} bytes, and {wanted.bytes} are right; move it away")
    sums.read(target, Meter(progress, f"checking {wanted.file}", size))
    if complaint := sums.complaint():
        raise RequestError(f"{target} is there with {complaint}; move it away")


class _Fetching:
    """One file, one server, as many tries as patience has."""

    def __init__(self, wanted: Download, part: Part, progress: Progress, room: float, patience: Patience) -> None:
        self.wanted, self.part, self.progress, self.room, self.patience = wanted, part, progress, room, patience

    def to_the_end(self) -> None:
        failures = 0
        while not self.part.is_whole:
            before = self.part.size_bytes
            try:
                self._try()
            except Broken as broken:
                came = self.part.size_bytes - before
                failures = 1 if came >= _PROGRESS_BYTES else failures + 1
                if failures >= self.patience.tries:
                    raise RunError(f"{self.wanted.file}: {broken}, {failures} times; {self._kept()}") from None
                wait_s = broken.wait_s if broken.wait_s is not None else self.patience.wait_s * 2 ** (failures - 1)
                self.progress.say(f"{broken}; trying again in {wait_s:.0f} s")
                time.sleep(wait_s)

    def _kept(self) -> str:
        if not self.part.size_bytes:
            return "nothing of it came"
        return f"{in_words(self.part.size_bytes)} of it are kept, and the same command goes on from there"

    def _try(self) -> None:
        with connect(self.wanted.url, self.part.conditions(), self.patience) as answer:
            self._agree(answer)
            self._check_room()
            version, have = self.part.version, self.part.size_bytes
            meter = Meter(self.progress, f"downloading {self.wanted.file}", version.total_bytes, have)
            while chunk := self._read(answer):
                if self.part.size_bytes + len(chunk) > version.total_bytes:
                    self.part.remove()
                    raise RunError(
                        f"{shown(self.wanted.url)} sends more than the {version.total_bytes} bytes that were promised; "
                        "what came is removed"
                    )
                self.part.write(chunk)
                meter.add(len(chunk))
        if not self.part.is_whole:
            raise Broken(f"it broke off at {self.part.size_bytes} of {version.total_bytes} bytes")

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        try:
            return answer.read1(_CHUNK_BYTES)  # what is there: a stop loses nothing that came
        except (OSError, http.client.HTTPException) as error:
            raise failure(error, self.wanted.url, self.patience.timeout_s) from error

    def _agree(self, answer: http.client.HTTPResponse) -> None:
        """Go on with the part where the answer is its rest; else begin anew."""
        if answer.status == 200:
            self.part.begin(self._version(answer, answer.headers.get("Content-Length")))
            return
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range") or "")
        have = self.part.size_bytes
        fits = answer.status == 206 and span is not None and have and int(span[1]) == have
        if not fits or not self._version(answer, span[2]).may_continue(self.part.version):
            self.part.clear()
            raise Broken(f"{shown(self.wanted.url)} has another version than before", wait_s=0.0)

    def _version(self, answer: http.client.HTTPResponse, total: str | None) -> Version:
        """What the server offers. Raises RunError where that is not what is wanted, or without an end."""
        promised, offered = self.wanted.bytes, int(total) if total and re.fullmatch(r"\d{1,18}", total) else None
        if offered is None and promised is None:
            raise RunError(f"neither {shown(self.wanted.url)} nor the card says how many bytes {self.wanted.file} has")
        if None not in (offered, promised) and offered != promised:
            raise RunError(
                f"{shown(self.wanted.url)} offers {self.wanted.file} with {offered} bytes, and {promised} are right; "
                "it is not fetched"
            )
        said = (answer.headers.get(name) or "" for name in ("ETag", "Last-Modified"))
        return Version(promised if offered is None else offered, *said)

    def _check_room(self) -> None:
        needed = self.part.version.total_bytes * self.room - self.part.size_bytes
        free = shutil.disk_usage(self.part.file.parent).free
        if needed > free:
            raise RequestError(
                f"{self.wanted.file} needs {in_words(int(needed))} in {self.part.file.parent}, where {in_words(free)} "
                "are free; make room and give the same command again"
            )
