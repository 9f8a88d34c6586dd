"""The progress line: time left counts computed cases only, and a log gets a line now and then."""

from __future__ import annotations

import io

import pytest

from medquanbench.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_cases_found_on_disk_take_no_time(clock):
    stream = io.StringIO()
    progress = Progress(lambda: None, stream, clock)
    progress.live = True
    progress.case("run 1", 6, 16)  # found
    clock.now += 3
    progress.case("run 1", 7, 16)
    progress.case("run 2", 14, 16)  # found
    clock.now += 5
    progress.case("run 2", 15, 16)
    told = stream.getvalue().split("\r\033[K")[1:]
    assert told == [
        "run 1", "run 1, about 27 s left in all", "run 2, about 6 s left in all", "run 2, about 4 s left in all"
    ]  # fmt: skip


def test_when_all_cases_are_done_no_time_is_left_to_tell(clock):
    stream = io.StringIO()
    progress = Progress(lambda: None, stream, clock)
    progress.live = True
    progress.case("run 1", 0, 1)
    clock.now += 3
    progress.case("run 1", 1, 1)
    progress.case("statistics", 1, 1)
    assert stream.getvalue().split("\r\033[K")[1:] == ["run 1", "run 1", "statistics"]


def test_a_log_gets_the_first_line_and_then_one_in_ten_seconds(clock):
    stream = io.StringIO()
    progress = Progress(lambda: None, stream, clock)
    for second in range(25):
        progress.say(str(second))
        clock.now += 1
    assert stream.getvalue() == "0\n10\n20\n"


def test_a_stop_is_asked_for_with_every_line():
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Progress(stop, io.StringIO()).case("run 1", 0, 1)
