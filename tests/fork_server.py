"""A warm process that runs the eval door in forked children and kills them: an order a line in, an end a line out.

Importing torch takes seconds; a child of this process begins in milliseconds, so that a test can afford many kills.
An order is JSON: `argv`; `log`, a file for what the child prints; and how it is to end, if not by itself:

- `kill_after_s`: by SIGKILL that long after its beginning, wherever it then is; or by `signal` after its first word;
- `moment` and `write`: by SIGKILL at that moment of that write (counted from 1): `half` of the data is in the temporary
  file; `whole`: all of it is, and it is not renamed; `renamed`: it is renamed, and nothing else is done.

An order with `here` runs in this process itself, which loads what a run loads late. The end is JSON: `status`, the exit
code or minus the signal; `seconds`.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import time
from collections.abc import Callable

from medquanbench.eval import __main__ as door


def die_at(moment: str, write: int) -> None:
    """Have this process killed at a moment of a write, where the operating system is asked to do something."""
    flush, rename, count = os.fsync, os.replace, {"flush": 0, "rename": 0}

    def now(call: str) -> bool:
        count[call] += 1
        return count[call] == write

    def fsync(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and moment != "renamed" and now("flush"):
            if moment == "half":
                os.truncate(descriptor, os.fstat(descriptor).st_size // 2)
            flush(descriptor)
            os.kill(os.getpid(), signal.SIGKILL)
        flush(descriptor)

    def replace(source: str, target: str) -> None:
        rename(source, target)
        if moment == "renamed" and now("rename"):
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync, os.replace = fsync, replace


def forked(work: Callable[[], int], order: dict) -> int:
    """Run in a child; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if "moment" in order:
            die_at(order["moment"], order["write"])
        code = work()
        sys.stdout.flush()
        os._exit(code)
    while "signal" in order and not os.path.getsize(order["log"]):
        time.sleep(0.0005)
    deadline = time.monotonic() + order.get("kill_after_s", 120)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, order.get("signal", signal.SIGKILL))
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        time.sleep(0.0005)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed here is no answer
    for line in sys.stdin:
        order = json.loads(line)
        began = time.monotonic()
        status = door.main(order["argv"]) if order.get("here") else forked(lambda o=order: door.main(o["argv"]), order)
        print(json.dumps({"status": status, "seconds": time.monotonic() - began}), file=answers, flush=True)
    os._exit(0)  # taking torch down takes seconds


if __name__ == "__main__":
    main()
