"""The samples of a run as columns, which keep a million samples small."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from record.folder import read_batches
from record.structs import SampleRecord

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

UNKNOWN = -1
"""Stands for None in a column of integers."""


@dataclass(slots=True, kw_only=True)
class Samples:
    """One entry per line of `samples.jsonl`, in that order (of completion).

    Times are in ns of the coordinator's clock, `UNKNOWN` where there is none. Durations
    are in ns, NaN where unknown.
    """

    seq: IntArray
    qsl_index: IntArray
    replica: IntArray
    attempt: IntArray
    issued: IntArray
    dispatched: IntArray
    first_token: IntArray
    completed: IntArray
    queue: FloatArray
    prefill: FloatArray
    decode: FloatArray
    residence: FloatArray
    """From arrival in the replica to sending of the answer: `residence_ns`."""
    prompt_tokens: IntArray
    output_tokens: IntArray
    done: BoolArray
    """Whether the sample was answered; False: lost."""
    cut: BoolArray
    """Whether the answer ended by the limit on its length."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.seq)

    def where(self, mask: BoolArray | IntArray) -> Self:
        """Return the samples that a mask selects, or those at these indices."""
        columns = {f.name: getattr(self, f.name)[mask] for f in fields(self)}
        return type(self)(**columns)

    @property
    def service_ns(self) -> FloatArray:
        """Service latency: dispatch to completion; NaN where either is unknown."""
        return _between(self.dispatched, self.completed)

    @property
    def latency_ns(self) -> FloatArray:
        """Issue to completion; NaN for lost samples."""
        return _between(self.issued, self.completed)

    @property
    def wait_ns(self) -> FloatArray:
        """Issue to dispatch: the time in the coordinator's queue."""
        return _between(self.issued, self.dispatched)

    @property
    def ttft_ns(self) -> FloatArray:
        """Issue to first token; NaN where first tokens were not streamed."""
        return _between(self.issued, self.first_token)

    @property
    def tpot_ns(self) -> FloatArray:
        """Mean time per output token after the first; NaN below two tokens.

        (completion - first token) / (tokens - 1), as LoadGen computes it.
        """
        later = np.where(self.output_tokens > 1, self.output_tokens - 1.0, np.nan)
        values: FloatArray = _between(self.first_token, self.completed) / later
        return values

    @property
    def overhead_ns(self) -> FloatArray:
        """Service latency less the residence time in the replica.

        That is the time of network and messages. If the residence time is unknown, the
        time in the engine takes its place, and the overhead also includes the wait for
        the engine's next step.
        """
        in_engine = self.queue + self.prefill + self.decode
        inside = np.where(np.isnan(self.residence), in_engine, self.residence)
        values: FloatArray = self.service_ns - inside
        return values

    @property
    def started(self) -> IntArray:
        """Start of the prefill; the dispatch where the prefill is unknown."""
        work = self.prefill + self.decode
        start = self.completed - np.nan_to_num(work).astype(np.int64)
        return np.where(np.isnan(work), self.dispatched, start)


def join(parts: Sequence[Samples]) -> Samples:
    """Return the samples of all `parts`; there must be at least one part."""
    return Samples(
        **{
            f.name: np.concatenate([getattr(part, f.name) for part in parts])
            for f in fields(Samples)
        }
    )


def read_samples(path: Path) -> Samples:
    """Return the samples in the file `path`, without those that a campaign cut off.

    Raises:
        RecordError: the file is missing or a line is damaged.
    """
    parts = [_columns(batch) for batch in _batches(path)]
    return join([Samples(**part) for part in parts or [_columns([])]])


def _batches(path: Path) -> Iterator[list[SampleRecord]]:
    batches: Iterator[list[SampleRecord]] = read_batches(path, SampleRecord)
    for batch in batches:
        # In no count and no rate: the campaign stopped the run, not the system.
        yield [one for one in batch if one.status != "unfinished"]


_WHOLE = {
    "seq": "seq",
    "qsl_index": "qsl_index",
    "replica": "replica",
    "attempt": "attempt",
    "issued": "issued_ns",
    "dispatched": "dispatched_ns",
    "first_token": "first_token_ns",
    "completed": "completed_ns",
    "prompt_tokens": "prompt_tokens",
    "output_tokens": "output_tokens",
}
"""Columns of integers, and the fields that they hold."""
_REAL = {
    "queue": "queue_ns",
    "prefill": "prefill_ns",
    "decode": "decode_ns",
    "residence": "residence_ns",
}
_WORDS = {"done": ("status", "completed"), "cut": ("finish_reason", "length")}
_FIELDS = (*_WHOLE.values(), *_REAL.values(), *(name for name, _ in _WORDS.values()))
_of_sample = attrgetter(*_FIELDS)


def _columns(batch: list[SampleRecord]) -> dict[str, Any]:
    """Return the columns of samples; a million of them take two seconds."""
    rows = zip(*map(_of_sample, batch), strict=True) if batch else ((),) * len(_FIELDS)
    values = dict(zip(_FIELDS, rows, strict=True))
    found: dict[str, Any] = {}
    for name, record in _WHOLE.items():
        own = values[record]
        if None in own:
            own = tuple(UNKNOWN if value is None else value for value in own)
        found[name] = np.array(own, np.int64)
    for name, record in _REAL.items():
        # numpy makes NaN of None.
        found[name] = np.array(values[record], np.float64)
    for name, (record, word) in _WORDS.items():
        found[name] = np.array([value == word for value in values[record]], bool)
    return found


def _between(begin: IntArray, end: IntArray) -> FloatArray:
    known = (begin != UNKNOWN) & (end != UNKNOWN)
    return np.where(known, (end - begin).astype(np.float64), np.nan)
