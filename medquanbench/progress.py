"""Progress of a command: one line on stderr (floor 2)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

_QUIET_S = 10.0


class Progress:
    """What is being done, how far it is, how long it will take. Rewritten on a terminal; in a log, a line now and then.

    Args:
        check_stop: called with every line; raises where the command was asked to stop.
    """

    def __init__(
        self, check_stop: Callable[[], None], stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.check_stop, self.stream, self.clock = check_stop, stream or sys.stderr, clock
        self.live = self.stream.isatty()
        self.told = -_QUIET_S
        self.before: tuple[int, float] | None = None  # cases done and the time, when last heard of
        self.computed, self.seconds = 0, 0.0

    def say(self, text: str) -> None:
        """Show a line; off a terminal at most one in ten seconds."""
        self.check_stop()
        if self.live:
            print(f"\r\033[K{text}", end="", file=self.stream, flush=True)
        elif self.clock() - self.told >= _QUIET_S:
            print(text, file=self.stream, flush=True)
            self.told = self.clock()

    def case(self, text: str, done: int, total: int) -> None:
        """So many cases of all runs are done; the time left is for all of them.

        Only a step of one is a case that was computed: those that are found on disk come at once and took no time.
        """
        now = self.clock()
        if self.before is not None and done == self.before[0] + 1:
            self.computed, self.seconds = self.computed + 1, self.seconds + now - self.before[1]
        self.before = (done, now)
        left = self.seconds / self.computed * (total - done) if self.computed and done < total else None
        self.say(text if left is None else f"{text}, about {left:.0f} s left in all")

    def clear(self) -> None:
        """Remove the line from a terminal."""
        if self.live:
            print("\r\033[K", end="", file=self.stream, flush=True)
