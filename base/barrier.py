"""Lets several child processes go on at one moment.

The parent makes a folder. Each child writes a file into it when it is ready, and waits
for the file `go`, which holds a time of CLOCK_MONOTONIC, or `cancelled`. All processes
are on one host.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from base.decode import whole_number
from base.errors import Aborted

_VARIABLE = "MLPERF_SUT_BARRIER"
_GO, _CANCELLED, _READY = "go", "cancelled", ".ready"
_AHEAD_NS = 1_000_000_000
"""From the decision to the moment itself: longer than a child needs to see it."""
_POLL_S = 0.05
_LARGEST = 2**63 - 1


class Barrier:
    """The parent's side."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """Wait for the children `names` in `folder`, which is empty."""
        self._folder, self._names = folder, names
        self._done = False

    def environment(self, name: str) -> dict[str, str]:
        """Return what the child `name` needs in its environment."""
        return {_VARIABLE: str(self._folder / f"{name}{_READY}")}

    def update(self, codes: Sequence[int | None]) -> None:
        """Let the children go if all are ready; cancel if one has ended before.

        Args:
            codes: exit code of each child; None: it runs.
        """
        if self._done:
            return
        ready = all((self._folder / f"{n}{_READY}").exists() for n in self._names)
        if ready:
            # Renamed once it is whole: a child may read it at any moment.
            draft = self._folder / ".go"
            draft.write_text(str(time.monotonic_ns() + _AHEAD_NS))
            draft.replace(self._folder / _GO)
        elif any(code is not None for code in codes):
            (self._folder / _CANCELLED).touch()
        else:
            return
        self._done = True


def wait_for_others(update: Callable[[], None]) -> None:
    """Wait until all runs of this group are ready, if this run is one of a group.

    Args:
        update: called again and again meanwhile.

    Raises:
        Aborted: another run of the group ended before it was ready.
    """
    given = os.environ.pop(_VARIABLE, "")
    if not given:
        return
    ready = Path(given)
    ready.touch()
    go, cancelled = ready.with_name(_GO), ready.with_name(_CANCELLED)
    while not go.exists():
        if cancelled.exists() or not ready.parent.exists():
            raise Aborted("another run that was to start with this one has ended")
        update()
        time.sleep(_POLL_S)
    moment = whole_number(go.read_text(), _LARGEST) or 0
    while (left := moment - time.monotonic_ns()) > 0:
        update()
        time.sleep(min(_POLL_S, left / 1e9))
