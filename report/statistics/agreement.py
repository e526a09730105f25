"""Comparison of the report's figures with those that LoadGen logged."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from base.percentiles import loadgen_percentile
from report.reading.run import Run
from report.statistics.numbers import MS, rounded

_PRINTED = 1e-5
"""LoadGen prints rates with six digits."""
_DELAY_MS = 10.0
_DELAY_SHARE = 0.02
_TPOT_MS = 0.1
COUNTS = {"samples", "different samples"}
"""Figures that cannot agree if samples were lost."""


@dataclass(slots=True, kw_only=True)
class Agreement:
    """One figure as the report computes it, and as LoadGen logged it."""

    figure: str
    ours: float | None
    loadgen: float | None
    unit: str
    difference: float | None
    """LoadGen's value less ours."""
    tolerance: str
    agrees: bool
    method: str
    """How ours is computed."""


def agreement(run: Run) -> list[Agreement]:
    """Return the comparison of every figure that LoadGen logged."""
    return list(_agreement(run)) if len(run.done) else []


def record_agrees(run: Run) -> bool:
    """Whether every figure of the record agrees with LoadGen's log."""
    return all(one.agrees for one in agreement(run))


def _agreement(run: Run) -> Iterator[Agreement]:
    values, done = run.log.values, run.done
    issued = values.get("result_query_count")
    if issued is not None:
        issued = int(issued) * int(values.get("generated_samples_per_query", 1))
        yield _exact("samples", len(done), issued, "samples", "completed samples")
        yield _exact(
            "different samples",
            len(np.unique(done.seq)),
            issued,
            "samples",
            "different sequence numbers of completed samples",
        )
    yield from _rates(run)
    if run.trace is None:
        yield from _latencies_from_issue(run)
    else:
        yield from _latencies_from_trace(run)


def _rates(run: Run) -> Iterator[Agreement]:
    values, done = run.log.values, run.done
    last = int(done.completed[done.seq.argmax()])
    wall_ns = run.end_ns - run.begin_ns
    tokens = float(done.output_tokens.sum())
    for key, work, span_ns, unit, method in (
        (
            "result_tokens_per_second",
            tokens,
            wall_ns,
            "tokens/s",
            "output tokens / first issue to last completion",
        ),
        (
            "result_samples_per_second",
            float(len(done)),
            wall_ns,
            "samples/s",
            "samples / first issue to last completion",
        ),
        (
            "result_completed_tokens_per_second",
            tokens,
            last - run.begin_ns,
            "tokens/s",
            "output tokens / first issue to completion of the last issued sample",
        ),
        (
            "result_completed_samples_per_sec",
            len(done) - 1.0,
            last - run.begin_ns,
            "samples/s",
            "(samples - 1) / first issue to completion of the last issued sample",
        ),
    ):
        logged = values.get(key)
        if not isinstance(logged, int | float) or span_ns <= 0:
            continue
        ours = work / span_ns * 1e9
        # LoadGen's clock starts at the scheduled time, ours at the issue.
        delay = max(_DELAY_MS * MS, _longest_delay(run)) / span_ns
        tolerance = (delay + _PRINTED) * ours
        yield Agreement(
            figure=key,
            ours=rounded(ours, 7),
            loadgen=logged,
            unit=unit,
            difference=rounded(logged - ours, 3),
            tolerance=f"{tolerance:.3g} (issue delay, printed digits)",
            agrees=abs(logged - ours) <= tolerance,
            method=method,
        )


def _longest_delay(run: Run) -> float:
    return 0.0 if run.trace is None else float(run.trace.issue_delay_ns.max())


def _latencies_from_trace(run: Run) -> Iterator[Agreement]:
    trace, done = run.trace, run.done
    assert trace is not None
    order = np.argsort(done.seq)
    index = np.searchsorted(done.seq[order], trace.seq)
    index = order[np.minimum(index, len(done) - 1)]
    same = done.seq[index] == trace.seq
    later = done.output_tokens[index] - 1
    streamed = (trace.ttft_ns >= 0) & same & (later > 0)
    tpot = (trace.latency_ns - trace.ttft_ns)[streamed] // later[streamed]
    for key, values in (
        ("result_99.00_percentile_latency_ns", trace.latency_ns),
        (
            "result_first_token_99.00_percentile_latency_ns",
            trace.ttft_ns[trace.ttft_ns >= 0],
        ),
        ("result_time_per_output_token_99.00_percentile_ns", tpot),
    ):
        logged = run.log.values.get(key)
        if isinstance(logged, int) and len(values):
            ours = loadgen_percentile(values.astype(float), 0.99)
            yield _exact(
                key,
                int(ours or 0),
                logged,
                "ns",
                "from LoadGen's trace, joined by sequence number",
            )


def _latencies_from_issue(run: Run) -> Iterator[Agreement]:
    done = run.done
    for key, values, least_ms in (
        ("result_99.00_percentile_latency_ns", done.latency_ns, _DELAY_MS),
        ("result_first_token_99.00_percentile_latency_ns", done.ttft_ns, _DELAY_MS),
        ("result_time_per_output_token_99.00_percentile_ns", done.tpot_ns, _TPOT_MS),
    ):
        logged = run.log.values.get(key)
        ours = loadgen_percentile(values, 0.99)
        if not isinstance(logged, int) or ours is None:
            continue
        tolerance = max(least_ms * MS, _DELAY_SHARE * logged)
        yield Agreement(
            figure=key,
            ours=rounded(ours / MS),
            loadgen=rounded(logged / MS),
            unit="ms",
            difference=rounded((logged - ours) / MS, 3),
            tolerance=f"{tolerance / MS:.3g} (issue delay, unknown without the trace)",
            agrees=abs(logged - ours) <= tolerance,
            method="from the issue, element floor(0.99 n) in order, as in LoadGen",
        )


def _exact(name: str, ours: int, logged: int, unit: str, method: str) -> Agreement:
    return Agreement(
        figure=name,
        ours=ours,
        loadgen=logged,
        unit=unit,
        difference=logged - ours,
        tolerance="0",
        agrees=ours == logged,
        method=method,
    )
