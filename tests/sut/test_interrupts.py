import os
import resource
import signal
from collections.abc import Iterator

import pytest

from base.errors import Aborted
from sut.interrupts import (
    abort_on_interrupt,
    ignore_interrupts,
    interruptible,
    raise_descriptor_limit,
)

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_aborts(number: signal.Signals) -> None:
    abort_on_interrupt()
    with pytest.raises(Aborted, match=f"interrupted by {number.name}"):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_interrupts_inside_the_block_alone(number: signal.Signals) -> None:
    ignore_interrupts()
    os.kill(os.getpid(), number)
    with pytest.raises(KeyboardInterrupt, match=number.name), interruptible():
        os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)


def _as_libraries_do() -> None:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except Exception:  # noqa: BLE001
        pytest.fail("a library could swallow it")


def test_no_library_swallows_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        _as_libraries_do()


def test_a_run_that_outlives_its_terminal_goes_on() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for handle in (abort_on_interrupt, ignore_interrupts, abort_on_interrupt):
        handle()
        os.kill(os.getpid(), signal.SIGHUP)
    with interruptible():
        os.kill(os.getpid(), signal.SIGHUP)


def test_the_limit_of_open_files_is_raised() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, hard = before
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
    try:
        raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
