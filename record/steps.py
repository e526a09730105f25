"""`steps.bin`: one record for each engine step of each replica.

The file has a header of `HEADER_BYTES` bytes, then records of `STEP.itemsize` bytes in
the order in which batches arrived. The records of one replica are in order of time. The
header is one line of JSON, padded with spaces, with the version and the fields. A
record that was cut off at the end is left out.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from record.folder import RecordError, refuse_pipe

STEP = np.dtype(
    [
        ("start_ns", "<i8"),
        ("duration_ns", "<i8"),
        ("prefill_tokens", "<u4"),
        ("decode_sequences", "<u4"),
        ("running", "<u4"),
        ("waiting", "<u4"),
        ("kv_blocks_free", "<i4"),
        ("replica", "<u2"),
        ("preempted", "<u2"),
    ]
)
"""One step of a replica's engine; `docs/steps.md` defines the fields.

start_ns: when it began, in ns, by the run's clock.
duration_ns: until its tokens were known, in ns. Steps of a replica do not overlap.
prefill_tokens: prompt tokens that it computed.
decode_sequences: sequences that had finished their prompt and got one more token.
running, waiting: requests in either state after the step was scheduled.
kv_blocks_free: free KV cache blocks at that time; -1 if the engine has none.
preempted: requests whose cache was freed for this step; at most 65,535.
"""
_DAY_NS = 86_400 * 10**9
_BOUNDS = (
    ("start_ns", 0, 2**62),
    ("duration_ns", 0, _DAY_NS),
    ("kv_blocks_free", -1, 2**31 - 1),
)
"""Least and largest possible values, so that sums of times fit 64 bits. A record is
refused as a whole: nothing shows which of its other values are true."""
_FORMAT = "mlperf-sut steps"
_VERSION = 1
HEADER_BYTES = 512

Steps = NDArray[np.void]
"""Records of type `STEP`, shape (steps,)."""


def header() -> bytes:
    """Return the header of the file."""
    text = json.dumps(
        {"format": _FORMAT, "version": _VERSION, "fields": STEP.descr}
    ).encode()
    assert len(text) < HEADER_BYTES
    return text.ljust(HEADER_BYTES - 1) + b"\n"


def read_steps(path: Path) -> Steps:
    """Return the records of the file `path`, as a memory map.

    If the file is still growing, the records that it has now are returned.

    Raises:
        RecordError: the file is missing, is not a `steps.bin` of this version, or has
            an impossible value.
    """
    try:
        refuse_pipe(path)
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
            size = file.seek(0, 2)
        if head != header():
            raise RecordError(path, _header_problem(head))
        count = (size - HEADER_BYTES) // STEP.itemsize
        if not count:
            return np.zeros(0, STEP)
        steps: Steps = np.memmap(path, STEP, "r", HEADER_BYTES, (count,))
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error
    for name, least, most in _BOUNDS:
        values = steps[name]
        if values.min() < least or values.max() > most:
            place = int(((values < least) | (values > most)).argmax())
            raise RecordError(
                path,
                f"record {place}: {name} is {values[place]}, not {least} to {most}",
            )
    return steps


def _header_problem(head: bytes) -> str:
    if len(head) < HEADER_BYTES:
        return "its header is cut off"
    try:
        found = json.loads(head)
        if found["format"] == _FORMAT and found["version"] != _VERSION:
            return f"version {found['version']!r} of the format, not {_VERSION}"
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    return "not a file of engine steps: its header is different"
