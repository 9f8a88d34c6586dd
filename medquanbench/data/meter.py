"""How many bytes have come, how fast, and how long the rest will take (floor 5)."""

from __future__ import annotations

from medquanbench.progress import Progress

_EVERY_S = 0.25


def in_words(size_bytes: int) -> str:
    """A number of bytes as a person reads it: ``812 bytes``, ``27.5 MB``, ``23.6 GB`` (powers of ten)."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        number = size_bytes / 10**power
        if number >= 0.9995:  # what would be told as 1000 of the next smaller unit
            return f"{number:.3g} {unit}" if number < 1000 else f"{number:.0f} {unit}"
    return f"{size_bytes} bytes"


class Meter:
    """Tells of bytes that go by, a few times a second at most, and stops where the command was asked to.

    Args:
        what: what is done, as the beginning of the line.
        total_bytes: how many there will be; None where nobody knows.
        done_bytes: how many were there before; they took no time.
    """

    def __init__(self, progress: Progress, what: str, total_bytes: int | None = None, done_bytes: int = 0) -> None:
        self.progress, self.what, self.total, self.done = progress, what, total_bytes, done_bytes
        self.before, self.began = done_bytes, progress.clock()
        self.told = self.began

    def add(self, count_bytes: int) -> None:
        """So many more have gone by."""
        self.progress.check_stop()
        self.done += count_bytes
        now = self.progress.clock()
        if now - self.told >= _EVERY_S:
            self.told = now
            self.progress.say(self.line(now))

    def line(self, now_s: float) -> str:
        """``downloading x.zip: 512 of 23600 MB, 45 MB/s, about 513 s left``."""
        seconds = now_s - self.began
        rate = (self.done - self.before) / seconds if seconds > 0 else 0.0
        total = f" of {self.total / 1e6:.0f}" if self.total is not None else ""
        text = f"{self.what}: {self.done / 1e6:.0f}{total} MB, {rate / 1e6:.1f} MB/s"
        left = f", about {(self.total - self.done) / rate:.0f} s left" if self.total is not None and rate > 0 else ""
        return text + left
