"""Parses LoadGen's detail and accuracy logs and its trace."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from base.decode import DecodeError, decode_with, finite_number
from record.folder import RecordError, refuse_pipe
from record.structs import Json

_PREFIX = ":::MLLOG "
_NO_NUMBER = re.compile(r'("value": )-?(?:nan|inf)\b')
_ACCURACY_LINE = re.compile(
    r'"seq_id" : (\d{1,18}), "qsl_idx" : (\d{1,18}), "data" : "([0-9A-F]*)"'
    r'(?:, "token_data" : "([0-9A-F]*)")?(?:, "token_count" : (\d{1,18}))?(?= ?})'
)
_COUNTS = (
    "effective_accuracy_sample_count",
    "effective_min_duration_ms",
    "generated_samples_per_query",
    "result_query_count",
)
_NUMBERS = re.compile(r"result_.*(_ns|_per_sec|_per_second)")
"""Values that readers of the log calculate with; null if LoadGen had none."""


class _Entry(msgspec.Struct):
    """What follows the prefix in a line of the detail log."""

    key: str
    value: Json
    metadata: dict[str, Json]


_DECODER = msgspec.json.Decoder(_Entry)


@dataclass(slots=True)
class DetailLog:
    """LoadGen's detail log: values by key, and its complaints."""

    values: dict[str, Json] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def number(self, key: str) -> float | None:
        """Return a value as a number; None: it was not logged, or is none."""
        return finite_number(self.values.get(key))


@dataclass(slots=True, kw_only=True)
class Answer:
    """One record of the accuracy log; tokens are int32."""

    seq: int
    qsl_index: int
    tokens: NDArray[np.int32]
    first: NDArray[np.int32] | None
    """What FirstTokenComplete reported; None if nothing was streamed."""
    token_count: int | None
    """Number of tokens that was reported to LoadGen."""


def read_detail(path: Path) -> DetailLog:
    """Return the parsed `mlperf_log_detail.txt`.

    A last line without a newline was cut off when the run died, and is left out.

    Raises:
        RecordError: the file is missing or another line is damaged.
    """
    log = DetailLog()
    for number, line in enumerate(_lines(path), 1):
        if not line.startswith(_PREFIX) or not line.endswith("\n"):
            continue
        try:
            # LoadGen writes the mean of no values as -nan, which is not JSON.
            text = _NO_NUMBER.sub(r"\1null", line[len(_PREFIX) :])
            entry = decode_with(_DECODER, text)
            _check_number(entry)
        except DecodeError as error:
            raise RecordError(path, f"not a LoadGen line: {error}", number) from error
        if entry.metadata.get("is_error"):
            log.errors.append(str(entry.value))
        elif entry.metadata.get("is_warning"):
            log.warnings.append(str(entry.value))
        else:
            log.values[entry.key] = entry.value
    return log


def read_answers(path: Path) -> list[Answer]:
    """Return the records of `mlperf_log_accuracy.json`, in order of completion.

    If the log has no closing bracket (the run died), the complete records are returned.

    Raises:
        RecordError: the file is missing or a record is damaged.
    """
    answers = []
    for number, line in enumerate(_lines(path), 1):
        text = line.strip().rstrip(",")
        if text in ("", "[", "]"):
            continue
        match = _ACCURACY_LINE.search(text)
        if match is None or not text.endswith("}"):
            raise RecordError(path, "not a record of the accuracy log", number)
        seq, index, data, first, count = match.groups()
        try:
            tokens = _tokens(data)
            first_tokens = None if first is None else _tokens(first)
        except ValueError as error:
            raise RecordError(path, f"damaged tokens: {error}", number) from error
        answers.append(
            Answer(
                seq=int(seq),
                qsl_index=int(index),
                tokens=tokens,
                first=first_tokens,
                token_count=None if count is None else int(count),
            )
        )
    return answers


def is_closed(path: Path) -> bool:
    """Return whether the accuracy log `path` ends as LoadGen ends it.

    Raises:
        RecordError: the file is missing.
    """
    lines = _lines(path)
    return bool(lines) and lines[-1].strip() == "]"


def _check_number(entry: _Entry) -> None:
    value, key = entry.value, entry.key
    if key in _COUNTS and not (type(value) is int and 0 <= value < 2**63):
        raise DecodeError(f"{key} is not a count: {value!r:.40}")
    wanted = value is not None and _NUMBERS.fullmatch(key) is not None
    # A whole number of any length would raise an error where it is calculated with.
    whole = isinstance(value, int) and not isinstance(value, bool)
    if (wanted or whole) and not _fits(value):
        raise DecodeError(f"{key} is not a number of 64 bits: {value!r:.40}")


def _fits(value: Json) -> bool:
    if isinstance(value, float):
        return True
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and -(2**63) <= value < 2**64


def _tokens(hexadecimal: str) -> NDArray[np.int32]:
    return np.frombuffer(bytes.fromhex(hexadecimal), dtype="<i4")


def _lines(path: Path) -> list[str]:
    try:
        refuse_pipe(path)
        return path.read_text(encoding="utf-8", errors="replace").splitlines(True)
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error


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
    """From the scheduled time to the first token; -1 if none was reported."""


def read_trace(path: Path) -> Trace | None:
    """Return the samples in `mlperf_log_trace.json`; None if there are none.

    A line that was cut off when the run died is left out.

    Raises:
        RecordError: the file cannot be read.
    """
    rows: list[tuple[int, int, int, bytes]] = []
    first: dict[bytes, int] = {}
    try:
        refuse_pipe(path)
        with path.open("rb") as file:
            for line in file:
                if match := _SAMPLE.search(line):
                    ts, seq, issue, complete = match.groups()
                    rows.append((int(seq), int(issue), int(complete), ts))
                elif match := _TOKEN.search(line):
                    ts, delay, done = match.groups()
                    # The token event does not name its sample, but both events have
                    # the scheduled time.
                    first[ts] = int(delay) + int(done)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error
    except ValueError as error:
        raise RecordError(path, f"a number that is not a time: {error}") from error
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
