"""What is told while bytes go by."""

from __future__ import annotations

import io

import pytest

from medquanbench.data.meter import Meter, in_words
from medquanbench.progress import Progress


@pytest.mark.parametrize(
    "size, words",
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (27_512_000, "27.5 MB"),
        (999_400, "999 kB"),
        (999_999, "1 MB"),
        (999_999_999, "1 GB"),
        (23_581_218_285, "23.6 GB"),
        (10**13, "10000 GB"),
    ],
)
def test_sizes_in_words(size, words):
    assert in_words(size) == words


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_rate_and_time_left_are_of_what_came_now():
    """40 MB were there; 10 MB come in 2 s; 50 MB more take 10 s."""
    clock, stream = Clock(), io.StringIO()
    meter = Meter(Progress(lambda: None, stream, clock), "downloading a", 100_000_000, 40_000_000)
    clock.now = 2.0
    meter.add(10_000_000)
    assert stream.getvalue() == "downloading a: 50 of 100 MB, 5.0 MB/s, about 10 s left\n"


def test_where_nobody_knows_how_much_there_is():
    clock, stream = Clock(), io.StringIO()
    meter = Meter(Progress(lambda: None, stream, clock), "unpacking a")
    clock.now = 1.0
    meter.add(3_000_000)
    assert stream.getvalue() == "unpacking a: 3 MB, 3.0 MB/s\n"


def test_a_terminal_is_told_four_times_a_second_and_a_stop_is_heeded_each_time():
    clock, checks = Clock(), []
    progress = Progress(lambda: checks.append(1), io.StringIO(), clock)
    progress.live = True
    meter = Meter(progress, "a", 10_000)
    for step in range(1000):
        clock.now = step / 100
        meter.add(10)
    assert len(checks) >= 1000
    assert 30 <= progress.stream.getvalue().count("\r") <= 41
