"""Hands step records from an engine to its replica through shared memory.

The engine may be a process of its own, and the one that records must never wait for the
one that reads. So records go into a ring of fixed size: the writer stores a record and
then the count, the reader copies what is new and finds out whether the writer has
overtaken it meanwhile.
"""

import mmap
import os
import struct
from pathlib import Path

from record.steps import STEP

_RECORD = struct.Struct("<qqIIIIiHH")
assert _RECORD.size == STEP.itemsize
_COUNT = struct.Struct("<Q")
_HEAD_BYTES = 64
CAPACITY = 1 << 16
"""Records that the ring holds (2.6 MB): at 1,000 steps/s those of a minute."""
_MOST_U2, _MOST_U4 = 2**16 - 1, 2**32 - 1
PATH_VARIABLE = "MLPERF_SUT_STEPS"
"""Environment variable by which an engine in another process finds its ring."""


class StepRing:
    """Records of engine steps, from one writing thread to one reading thread."""

    def __init__(self, path: Path | None = None) -> None:
        """Make a ring, or open the one that is there.

        Args:
            path: file that another process maps as well; None: this process alone.

        Raises:
            OSError: the file cannot be made or mapped.
        """
        size = _HEAD_BYTES + CAPACITY * STEP.itemsize
        if path is None:
            self._memory = mmap.mmap(-1, size)
        else:
            with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
                # Reserved now: a page that finds no room later would be a SIGBUS.
                os.posix_fallocate(file.fileno(), 0, size)
                self._memory = mmap.mmap(file.fileno(), size)
        self._written = self._count()
        self._read = self._written

    def append(
        self,
        start_ns: int,
        duration_ns: int,
        prefill_tokens: int,
        decode_sequences: int,
        running: int,
        waiting: int,
        kv_blocks_free: int,
        preempted: int,
    ) -> None:
        """Record a step; fields as in `record.steps.STEP`, times by CLOCK_MONOTONIC."""
        _RECORD.pack_into(
            self._memory,
            _HEAD_BYTES + self._written % CAPACITY * STEP.itemsize,
            start_ns,
            duration_ns,
            min(prefill_tokens, _MOST_U4),
            min(decode_sequences, _MOST_U4),
            min(running, _MOST_U4),
            min(waiting, _MOST_U4),
            kv_blocks_free,
            0,
            min(preempted, _MOST_U2),
        )
        self._written += 1
        _COUNT.pack_into(self._memory, 0, self._written)

    def drain(self) -> tuple[bytes, int]:
        """Return the records since the last call, and how many were overwritten."""
        seen, written = self._read, self._count()
        begin = max(seen, written - CAPACITY)
        data = self._copy(begin, written)
        # The slot that is being written now is not counted yet.
        intact = max(begin, min(written, self._count() + 1 - CAPACITY))
        self._read = written
        return data[(intact - begin) * STEP.itemsize :], intact - seen

    def _copy(self, begin: int, end: int) -> bytes:
        """Return the records of these numbers; at most `CAPACITY` of them."""
        if begin == end:
            return b""
        first = _HEAD_BYTES + begin % CAPACITY * STEP.itemsize
        size = (end - begin) * STEP.itemsize
        until_end = _HEAD_BYTES + CAPACITY * STEP.itemsize - first
        wrapped = size - until_end
        data = self._memory[first : first + min(size, until_end)]
        if wrapped > 0:
            data += self._memory[_HEAD_BYTES : _HEAD_BYTES + wrapped]
        return data

    def _count(self) -> int:
        count: int = _COUNT.unpack_from(self._memory)[0]
        return count
