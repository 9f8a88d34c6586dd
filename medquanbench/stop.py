"""Ctrl-C and SIGTERM, with which a cluster ends a job whose time is up: both stop a command politely (floor 2)."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stoppable() -> Iterator[Callable[[], None]]:
    """Turn both signals into KeyboardInterrupt while the block runs, whatever the block makes of it.

    Code that is interrupted may catch the exception, or raise another in its place (readers of files that are
    written in C do), and Python drops those that come while an object is deleted. So another error that follows a
    signal leaves the block as KeyboardInterrupt, and the function that is handed out raises it where none came
    through: call it often.
    """
    asked: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    before = _listen(stop)
    loud, sys.unraisablehook = sys.unraisablehook, lambda error: None if asked else loud(error)
    try:
        yield check
    except BaseException:
        check()
        raise
    finally:
        sys.unraisablehook = loud
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(stop: Callable[[int, FrameType | None], None]) -> dict[int, object]:
    """Set the handlers; those that were there. A signal that is ignored (nohup) stays so."""
    if threading.current_thread() is not threading.main_thread():
        return {}  # signals are the main thread's business
    heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    return {number: signal.signal(number, stop) for number in heard}
