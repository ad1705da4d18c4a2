"""Ctrl-C is held back until code asks for it."""

import signal
import threading
from collections.abc import Callable

import pytest
from interrupting import lost_interrupt

from tinsmith_data.interrupts import held_interrupts, interrupt_once


def held(work: Callable[[Callable[[], None]], None]) -> None:
    with held_interrupts() as check:
        work(check)


def held_thrice(number: signal.Signals) -> list[int]:
    """Sends a signal three times while it is held; gives after which ones the work went on."""
    done = []

    def work(_: Callable[[], None]) -> None:
        for time in range(3):
            signal.raise_signal(number)
            done.append(time)

    with pytest.raises(KeyboardInterrupt):
        held(work)
    return done


def test_it_is_raised_where_code_asks_for_it() -> None:
    done = []

    def work(check: Callable[[], None]) -> None:
        check()
        signal.raise_signal(signal.SIGINT)
        done.append("before")
        check()
        done.append("after")

    with pytest.raises(KeyboardInterrupt):
        held(work)
    assert done == ["before"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_nobody_asked_for_is_raised_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt):
        held(lambda _: lost_interrupt())


def test_a_second_one_is_raised_at_once() -> None:
    assert held_thrice(signal.SIGINT) == [0]


def test_another_error_is_not_hidden() -> None:
    def work(_: Callable[[], None]) -> None:
        signal.raise_signal(signal.SIGINT)
        raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        held(work)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_handler_of_the_program_stays(number: signal.Signals) -> None:
    heard = []
    before = signal.signal(number, lambda *_: heard.append(number))
    try:
        held(lambda _: signal.raise_signal(number))
        assert heard == [number]
    finally:
        signal.signal(number, before)


def test_terminations_that_mean_one_ctrl_c() -> None:
    before = signal.signal(signal.SIGTERM, interrupt_once)
    try:
        assert held_thrice(signal.SIGTERM) == [0, 1, 2]
        assert signal.getsignal(signal.SIGTERM) is interrupt_once
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_than_the_main_one_changes_no_handler() -> None:
    found: list[object] = []
    thread = threading.Thread(
        target=held, args=(lambda _: found.append(signal.getsignal(signal.SIGINT)),)
    )
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
