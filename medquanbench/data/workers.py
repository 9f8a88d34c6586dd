"""The same work on many cases, in several processes (floor 5)."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, connection, get_context, parent_process
from typing import TypeVar

from medquanbench.progress import Progress
from medquanbench.values import RequestError, RunError

T, R = TypeVar("T"), TypeVar("R")


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def check_jobs(jobs: int | None) -> int:
    """The number of processes that was asked for; None: one a core.

    Raises:
        RequestError: fewer than one.
    """
    if jobs is not None and jobs < 1:
        raise RequestError(f"--jobs {jobs}: at least one process is needed")
    return jobs or cores()


def each(work: Callable[[T], R], items: Sequence[T], jobs: int, progress: Progress, doing: str) -> list[R]:
    """``work`` on every item, in ``jobs`` processes, one item at a time in each; the results in the order of the items.

    Args:
        work: a function of a module, which other processes can import; so are items and results sent to them.
        doing: begins the line of progress: ``doing 3/30``.

    Raises:
        RunError: a process was ended from outside (by the system, where memory ran out).
    """
    if jobs == 1 or len(items) < 2:
        results = []
        for number, item in enumerate(items, 1):
            results.append(work(item))
            progress.case(f"{doing} {number}/{len(items)}", number, len(items))
    else:
        results = _in_processes(work, items, min(jobs, len(items)), progress, doing)
    progress.clear()
    return results


def _in_processes(work: Callable[[T], R], items: Sequence[T], jobs: int, progress: Progress, doing: str) -> list[R]:
    before = set(active_children())
    # A fork would copy the threads' locks of whatever the caller has loaded: torch's, above all.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_begin, initargs=(work,))
    results: dict[int, R] = {}
    try:
        places = {pool.submit(_work_on, item): place for place, item in enumerate(items)}
        for done, future in enumerate(as_completed(places), 1):
            results[places[future]] = future.result()
            progress.case(f"{doing} {done}/{len(items)}", done, len(items))
    except BrokenProcessPool:
        raise RunError("a process was ended from outside, perhaps for want of memory; fewer --jobs need less") from None
    except BaseException:
        for process in set(active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return [results[place] for place in range(len(items))]


_work: Callable | None = None  # of this process, if it works for another


def _begin(work: Callable) -> None:
    """Make a process one that works for another: one thread, no word at Ctrl-C, no life after its parent's."""
    global _work
    _work = work  # sent once: it may carry a dataset of thousands of cases
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent ends its children
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _work_on(item: object) -> object:
    return _work(item)


def _end_with_parent() -> None:
    connection.wait([parent_process().sentinel])
    os._exit(1)
