"""The tokens section: output tokens in total, per device and per sample."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from record.structs import Json, ReplicaRecord
from report.figures import Column, Section, figure, table
from report.reading.run import Run
from report.reading.samples import FloatArray, Samples
from report.sections.answers import answers
from report.statistics.busy import busy_s
from report.statistics.numbers import known, lengths, ratio, rounded


def tokens(run: Run, runs: Sequence[Run]) -> Section:
    """Return the output tokens of a run, and how its answers agree.

    Args:
        run: the run that the section describes.
        runs: all runs of the report: their answers to the same prompts are compared.
    """
    done = run.done
    rates = _rates(done)
    node_means = [
        float(known(_rates(own)).mean()) for own in run.by_node.values() if len(own)
    ]
    devices = sum(max(1, len(r.devices)) for r in run.replicas)
    limit = run.settings.max_output_tokens
    longer = int((done.output_tokens > limit).sum())
    return {
        "output_tokens": figure(
            int(done.output_tokens.sum()), "tokens", "of completed samples"
        ),
        "tokens_per_s": figure(
            rounded(run.tokens_per_s), "tokens/s", "output tokens / wall time"
        ),
        "tokens_per_s_per_device": figure(
            ratio(run.tokens_per_s, devices),
            "tokens/s",
            "output tokens / wall time / number of devices",
        ),
        "prompt_and_output_tokens_per_s": figure(
            ratio(
                float(done.output_tokens.sum() + done.prompt_tokens.sum()), run.wall_s
            ),
            "tokens/s",
            "prompt and output tokens of completed samples / wall time",
        ),
        "tokens_per_sample": figure(
            lengths(done.output_tokens), "tokens", f"the limit is {limit}"
        ),
        "over_limit": figure(longer, "samples", f"answers of more than {limit} tokens"),
        "ended_by_length": figure(
            ratio(100.0 * float(done.cut.sum()), len(done)),
            "%",
            "share of answers that the token limit ended",
        ),
        "sample_peak": figure(
            _extreme(run, rates, highest=True),
            "tokens/s",
            "fastest sample: output tokens / service latency",
        ),
        "sample_lowest": figure(
            _extreme(run, rates, highest=False),
            "tokens/s",
            "slowest sample: output tokens / service latency",
        ),
        "consistency": figure(
            ratio(100 * min(node_means), max(node_means)) if node_means else None,
            "%",
            "lowest / highest of the nodes' mean tokens/s per sample",
        ),
        "replicas": table(_COLUMNS, [_replica(run, r) for r in run.replicas]),
        "answers": answers(run, runs),
    }


@dataclass(slots=True)
class _Replica:
    record: ReplicaRecord
    tokens: int
    seconds: float
    """Time in which the replica had work."""
    samples: int
    rates: FloatArray
    """Tokens/s of each sample."""


_COLUMNS: list[Column[_Replica]] = [
    Column("node", "", "host", lambda r: r.record.node),
    Column("replica", "", "number of the replica", lambda r: r.record.replica),
    Column("tokens", "tokens", "output tokens of its samples", lambda r: r.tokens),
    Column(
        "tokens/s",
        "tokens/s",
        "output tokens / seconds in which it had work",
        lambda r: ratio(r.tokens, r.seconds),
    ),
    Column(
        "per device",
        "tokens/s",
        "output tokens / seconds in which it had work / number of its devices",
        lambda r: ratio(r.tokens, r.seconds * max(1, len(r.record.devices))),
        "tokens/s per device",
    ),
    Column(
        "per sample",
        "tokens",
        "mean output tokens of a sample",
        lambda r: ratio(r.tokens, r.samples),
        "tokens per sample",
    ),
    Column(
        "fastest sample",
        "tokens/s",
        "output tokens / service latency",
        lambda r: rounded(r.rates.max()) if len(r.rates) else None,
    ),
    Column(
        "slowest sample",
        "tokens/s",
        "output tokens / service latency",
        lambda r: rounded(r.rates.min()) if len(r.rates) else None,
    ),
]


def _replica(run: Run, record: ReplicaRecord) -> _Replica:
    own = run.by_replica[record.replica]
    return _Replica(
        record=record,
        tokens=int(own.output_tokens.sum()),
        seconds=busy_s(own),
        samples=len(own),
        rates=known(_rates(own)),
    )


def _rates(samples: Samples) -> FloatArray:
    rates: FloatArray = samples.output_tokens / samples.service_ns * 1e9
    return rates


def _extreme(run: Run, rates: FloatArray, *, highest: bool) -> dict[str, Json] | None:
    if not len(known(rates)):
        return None
    index = int(np.nanargmax(rates) if highest else np.nanargmin(rates))
    replica = int(run.done.replica[index])
    return {
        "value": rounded(rates[index]),
        "seq": int(run.done.seq[index]),
        "replica": replica,
        "node": run.node_of.get(replica),
    }
