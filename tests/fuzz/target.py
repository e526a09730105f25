"""One decoder or parser under test, and how it is driven."""

import itertools
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType

from tests.fuzz.damage import Inputs, damaged_bytes, damaged_text

_LONGEST_S = 20
"""No input of a few kB may take longer, also on a busy host."""


class Finding(Exception):
    """An input, and what it led to as the cause."""


class Hangs(BaseException):
    """One input took too long; it is no Exception, so nothing under test hides it."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A decoder or parser: whatever it is given, only its own errors may leave it."""

    name: str
    inputs: Inputs
    run: Callable[[bytes], object]
    """Decodes one input."""
    errors: tuple[type[Exception], ...]
    """What it says that it raises."""
    reset: Callable[[], object] = lambda: None
    """Called after the last case."""
    slow: bool = False
    """Whether one case takes milliseconds."""

    def try_out(self, seed: int, until: Callable[[int], bool]) -> int:
        """Run cases until `until` of their number says so; return the number.

        Raises:
            Finding: another exception than `errors` came, or a message of some lines.
        """
        try:
            return self._try_out(Random(f"{self.name} {seed}"), until)
        finally:
            self.reset()

    def _try_out(self, random: Random, until: Callable[[int], bool]) -> int:
        for number in itertools.count():
            if until(number):
                break
            data = self.inputs(random)
            try:
                with _limited():
                    self.run(data)
            except self.errors as error:
                # What a command prints: one line.
                if "\n" in str(error).strip():
                    raise Finding(f"{data!r}: {error}") from error
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                raise Finding(f"{data[:5000]!r}") from error
        return number


def file_target(
    path: Path,
    read: Callable[[Path], object],
    errors: tuple[type[Exception], ...],
    *,
    name: str,
    slow: bool = False,
    binary: bool = False,
) -> Target:
    """Return a target that reads the file `path`, whose content is valid now."""
    valid = path.read_bytes()

    def run(data: bytes) -> None:
        path.write_bytes(data)
        read(path)

    make = damaged_bytes if binary else damaged_text
    return Target(
        name=name,
        inputs=make([valid]),
        run=run,
        errors=errors,
        reset=lambda: path.write_bytes(valid),
        slow=slow,
    )


@contextmanager
def _limited() -> Iterator[None]:
    def expire(_signal: int, _frame: FrameType | None) -> None:
        raise Hangs(f"more than {_LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, _LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
