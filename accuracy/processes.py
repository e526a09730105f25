"""Work spread over processes."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from base.errors import UserError

A = TypeVar("A")
B = TypeVar("B")


def parallel_map(
    function: Callable[[A], B], items: Sequence[A], processes: int
) -> Iterator[B]:
    """Yield `function(item)` for each item, in their order.

    Args:
        function: of a module's top level, where there is more than one process.
        items: the work.
        processes: how many to parallel_map it over; 1: the caller's own.

    Raises:
        UserError: a process was killed.
    """
    if processes == 1:
        yield from map(function, items)
        return
    # A fork would copy the locks of the caller's threads, LoadGen's among them.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn) as pool:
        try:
            with _interrupts_held():
                results = pool.map(function, items)
            yield from results
        except BrokenProcessPool as error:
            raise UserError(
                f"one of {processes} processes was killed; is there memory left?"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back, for good in processes that are started meanwhile.

    A pool whose processes are interrupted while they start can hang.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
