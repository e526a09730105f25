"""`python -m sut.clusters.guard FOLDER`: cleans up after a coordinator that is killed.

Started by a cluster, not by the user. It reads from its standard input, one a line, the
numbers of process groups, negative once a group is gone, and the paths of their shared
memory. When that ends, so did its coordinator: it kills what is left and removes the
shared memory and the run's scratch folder.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

from sut.clusters.cleanup import kill_group, members, remove_unused

WAIT_S = 10.0
"""Longest that it waits for what it killed to be gone."""


def main() -> None:
    """Wait for the end of the coordinator, then clean up."""
    # A terminal's Ctrl-C and a job's SIGTERM are for the coordinator.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    segments: set[Path] = set()
    for line in map(os.fsdecode, map(bytes.rstrip, sys.stdin.buffer)):
        if line.startswith("/"):
            segments.add(Path(line))
        elif line.startswith("-"):
            groups.discard(int(line[1:]))
        else:
            groups.add(int(line))
    for group in groups:
        segments |= kill_group(group)
    deadline = time.monotonic() + WAIT_S
    while any(members(group) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.02)
    remove_unused(segments)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
