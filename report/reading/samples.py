"""The samples of a run as columns, which keep a million samples small."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
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


def _columns(batch: list[SampleRecord]) -> dict[str, Any]:
    def whole(name: str) -> IntArray:
        values = (getattr(s, name) for s in batch)
        filled = (UNKNOWN if value is None else value for value in values)
        return np.fromiter(filled, np.int64, len(batch))

    def real(name: str) -> FloatArray:
        values = (getattr(s, name) for s in batch)
        filled = (np.nan if value is None else value for value in values)
        return np.fromiter(filled, np.float64, len(batch))

    def flag(name: str, word: str) -> BoolArray:
        return np.fromiter((getattr(s, name) == word for s in batch), bool, len(batch))

    return {
        "seq": whole("seq"),
        "qsl_index": whole("qsl_index"),
        "replica": whole("replica"),
        "attempt": whole("attempt"),
        "issued": whole("issued_ns"),
        "dispatched": whole("dispatched_ns"),
        "first_token": whole("first_token_ns"),
        "completed": whole("completed_ns"),
        "queue": real("queue_ns"),
        "prefill": real("prefill_ns"),
        "decode": real("decode_ns"),
        "residence": real("residence_ns"),
        "prompt_tokens": whole("prompt_tokens"),
        "output_tokens": whole("output_tokens"),
        "done": flag("status", "completed"),
        "cut": flag("finish_reason", "length"),
    }


def _between(begin: IntArray, end: IntArray) -> FloatArray:
    known = (begin != UNKNOWN) & (end != UNKNOWN)
    return np.where(known, (end - begin).astype(np.float64), np.nan)
