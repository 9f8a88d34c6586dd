"""Work in several processes: the order stays, and nothing outlives the command, however it ends."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medquanbench.data.workers import check_jobs, each
from medquanbench.progress import Progress
from medquanbench.values import RequestError, RunError

SLEEPER = """
import time
from medquanbench.data.workers import each
from medquanbench.doorway import answer
raise SystemExit(answer(lambda progress: len(each(time.sleep, [0.0, 60, 60, 60], 2, progress, "sleeping"))))
"""
ROOT = Path(__file__).resolve().parent.parent.parent


def quiet() -> Progress:
    return Progress(lambda: None, stream=open(os.devnull, "w"))


@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_results_have_the_order_of_the_items(jobs):
    assert each(math.sqrt, [9.0, 4.0, 1.0, 0.0], jobs, quiet(), "taking roots") == [3, 2, 1, 0]
    assert each(math.sqrt, [], jobs, quiet(), "taking roots") == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_the_work_comes_through(jobs):
    with pytest.raises(ValueError, match="math domain"):
        each(math.sqrt, [1.0, -1.0, 4.0], jobs, quiet(), "taking roots")


def test_a_process_that_is_ended_is_a_sentence():
    with pytest.raises(RunError, match="a process was ended from outside, perhaps for want of memory"):
        each(os._exit, [3, 3], 2, quiet(), "ending")


def test_jobs_are_one_or_more():
    assert check_jobs(3) == 3 and check_jobs(None) >= 1
    with pytest.raises(RequestError, match="--jobs -1"):
        check_jobs(-1)


@pytest.mark.parametrize("sent, to_all", [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGKILL, False)])
def test_no_process_outlives_the_command(sent, to_all):
    """Ctrl-C goes to all processes of a terminal, a cluster's signals to the first alone."""
    command = subprocess.Popen(
        [sys.executable, "-c", SLEEPER], cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert command.stderr.readline().startswith("sleeping 1/4")  # both processes are there
    (os.killpg if to_all else os.kill)(command.pid, sent)
    assert command.wait(30) == (-sent if sent == signal.SIGKILL else 1)
    until = time.monotonic() + 30
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < until:
            os.killpg(command.pid, 0)
            time.sleep(0.05)
    told = command.stderr.read()
    assert "Traceback" not in told
    assert sent == signal.SIGKILL or told.strip().endswith("stopped; what was finished is kept, and the same command "
                                                           "goes on from there")  # fmt: skip
