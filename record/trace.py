"""Parses LoadGen's trace, which times each sample by LoadGen's own clock.

The file is no JSON document (it holds `"key":""loadgen_version""`), so it is searched
line by line.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from record.errors import RecordError

IntArray = NDArray[np.int64]

_SAMPLE = re.compile(
    rb'"name":"Sample".*?"ts":([\d.]+),"args":\{"sample_seq":(\d+),.*?'
    rb'"issue_start_ns":(-?\d+),"complete_ns":(-?\d+)'
)
_TOKEN = re.compile(
    rb'"name":"Token_Latency".*?"ts":([\d.]+),"args":\{ ?'
    rb'"issue_delay":(-?\d+),"issue_to_done":(-?\d+)'
)


@dataclass(slots=True, kw_only=True)
class Trace:
    """Times by LoadGen's clock, one entry per traced sample, in order of `seq`."""

    seq: IntArray
    issue_delay_ns: IntArray
    """From the scheduled time to the issue."""
    latency_ns: IntArray
    """From the scheduled time to the completion."""
    ttft_ns: IntArray
    """From the scheduled time to the first token; -1 where none was reported."""


def read_trace(path: Path) -> Trace | None:
    """Return the samples in `mlperf_log_trace.json`; None where it is empty.

    A line that was cut off when the run died is left out.

    Raises:
        RecordError: the file cannot be read.
    """
    rows: list[tuple[int, int, int, bytes]] = []
    first: dict[bytes, int] = {}
    try:
        with path.open("rb") as file:
            for line in file:
                if match := _SAMPLE.search(line):
                    ts, seq, issue, complete = match.groups()
                    rows.append((int(seq), int(issue), int(complete), ts))
                elif match := _TOKEN.search(line):
                    ts, delay, done = match.groups()
                    # The token event names no sample: both carry the scheduled time.
                    first[ts] = int(delay) + int(done)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error
    except ValueError as error:
        raise RecordError(path, f"a number that is no time: {error}") from error
    if not rows:
        return None
    rows.sort()
    try:
        return Trace(
            seq=np.array([row[0] for row in rows], np.int64),
            issue_delay_ns=np.array([row[1] for row in rows], np.int64),
            latency_ns=np.array([row[2] for row in rows], np.int64),
            ttft_ns=np.array([first.get(row[3], -1) for row in rows], np.int64),
        )
    except OverflowError as error:
        raise RecordError(path, "a number beyond 64 bits") from error
