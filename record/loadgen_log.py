"""Parses LoadGen's detail and accuracy logs."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from record.errors import RecordError
from record.json_types import Json

_PREFIX = ":::MLLOG "
_NO_NUMBER = re.compile(r'("value": )-?(?:nan|inf)\b')
_ACCURACY_LINE = re.compile(
    r'"seq_id" : (\d+), "qsl_idx" : (\d+), "data" : "([0-9A-F]*)"'
    r'(?:, "token_data" : "([0-9A-F]*)")?(?:, "token_count" : (\d+))?'
)


@dataclass(slots=True)
class DetailLog:
    """LoadGen's detail log: values by key, and its complaints."""

    values: dict[str, Json] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Answer:
    """One record of the accuracy log; tokens are int32."""

    seq: int
    qsl_index: int
    tokens: NDArray[np.int32]
    first: NDArray[np.int32] | None
    """What FirstTokenComplete carried; None where nothing was streamed."""
    token_count: int | None
    """Number of tokens as LoadGen was told it."""


def read_detail(path: Path) -> DetailLog:
    """Return the parsed `mlperf_log_detail.txt`.

    A last line without its newline was cut off when the run died: it is left out.

    Raises:
        RecordError: the file is missing or another line is damaged.
    """
    log = DetailLog()
    for number, line in enumerate(_lines(path), 1):
        if not line.startswith(_PREFIX) or not line.endswith("\n"):
            continue
        try:
            # LoadGen writes a mean over nothing as -nan, which is no JSON.
            entry = json.loads(_NO_NUMBER.sub(r"\1null", line[len(_PREFIX) :]))
            key, value = str(entry["key"]), entry["value"]
            metadata = dict(entry["metadata"])
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(path, f"not a LoadGen line: {error}", number) from error
        if metadata.get("is_error"):
            log.errors.append(str(value))
        elif metadata.get("is_warning"):
            log.warnings.append(str(value))
        else:
            log.values[key] = value
    return log


def read_answers(path: Path) -> list[Answer]:
    """Return the records of `mlperf_log_accuracy.json`, in order of completion.

    A log without its closing bracket (the run died) gives the records it holds.

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


def _tokens(hexadecimal: str) -> NDArray[np.int32]:
    return np.frombuffer(bytes.fromhex(hexadecimal), dtype="<i4")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines(True)
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error
