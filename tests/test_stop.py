"""A stop is a KeyboardInterrupt at the end of the block, whatever the block makes of it."""

from __future__ import annotations

import signal
import threading

import pytest

from medquanbench.stop import stoppable

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def own_handlers():
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    assert {number: signal.getsignal(number) for number in NUMBERS} == before, "handlers were not put back"


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_interrupts(number):
    with pytest.raises(KeyboardInterrupt), stoppable():
        signal.raise_signal(number)
        raise AssertionError("it went on")


@pytest.mark.parametrize("number", NUMBERS)
def test_an_interrupt_that_became_another_error_is_an_interrupt(number):
    with pytest.raises(KeyboardInterrupt), stoppable():
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt as error:
            raise ValueError("cannot be read") from error


def test_an_interrupt_that_was_dropped_comes_with_the_next_check(capsys):
    class Dropping:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    went_on = False
    with pytest.raises(KeyboardInterrupt), stoppable() as check:
        check()
        Dropping()
        went_on = True
        check()
    assert went_on and "Traceback" not in capsys.readouterr().err


def test_errors_without_a_signal_stay_what_they_are():
    with pytest.raises(ValueError, match="mine"), stoppable() as check:
        check()
        raise ValueError("mine")


def test_what_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable() as check:
            signal.raise_signal(signal.SIGINT)
            check()
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_has_no_signals():
    ended = []

    def work() -> None:
        with stoppable() as check:
            check()
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended
