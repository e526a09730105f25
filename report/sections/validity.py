"""The gate's verdict, the agreement with LoadGen's own figures, what a run was not."""

from collections.abc import Iterator

import numpy as np

from base.percentiles import loadgen_percentile
from record.json_types import Json
from report.figures import Section, figure, table
from report.reading.run import Run
from report.rendering.words import cell
from report.statistics.numbers import MS, rounded

_PRINTED = 1e-5
"""LoadGen prints rates with six digits."""
_DELAY_MS = 10.0
_DELAY_SHARE = 0.02
_TPOT_MS = 0.1
DOUBTFUL = "record disagrees"
"""State of a run whose record no longer shows what LoadGen logged."""
_NANOSECONDS = ("ttft_latency", "tpot_latency")
"""LoadGen's settings in ns whose names do not say so."""


def validity(run: Run) -> Section:
    """Return the verdict, the agreement with LoadGen, and what the run was not."""
    verdict = run.verdict
    rows = list(agreement(run))
    return {
        "state": figure(
            state(run),
            "",
            "the verdict, unless the record disagrees with LoadGen's log",
        ),
        "outcome": figure(
            verdict.outcome, "", "verdict of the gate when the run ended"
        ),
        "reason": figure(verdict.reason or None, "", "why it did not pass"),
        "submission_candidate": figure(
            verdict.submission_candidate, "", "whether it could be submitted to MLPerf"
        ),
        "is_not": figure(
            "; ".join(_is_not(run)) or None, "", "why this is not an MLPerf result"
        ),
        "relaxed": figure(
            relaxed(run) or None, "", "settings that differ from MLPerf's rules"
        ),
        "agrees_with_loadgen": figure(
            all(row[-2] for row in rows) if rows else None,
            "",
            "whether every figure below agrees within its tolerance",
        ),
        "agreement": table(
            [
                ("figure", "", "what is compared"),
                (
                    "ours",
                    "",
                    "from samples.jsonl, or from LoadGen's trace where it is on",
                ),
                ("LoadGen's", "", "from its detail log"),
                ("unit", "", "of both"),
                ("difference", "", "LoadGen's less ours"),
                ("tolerance", "", "largest difference that is accepted"),
                ("agrees", "", "whether it does"),
                ("how", "", "how ours is computed"),
            ],
            rows,
        ),
        "checks": table(
            [
                ("check", "", "what the gate looked at"),
                ("limit", "", "what is required"),
                ("value", "", "what was found"),
                ("outcome", "", "passed, failed or skipped"),
                ("note", "", "where it failed, or why it was skipped"),
            ],
            [
                [c.name, c.limit, c.value, c.outcome, c.note or None]
                for c in verdict.checks
            ],
        ),
        "notes": figure(
            "; ".join([*run.notes, *_switched_off(run)]) or None,
            "",
            "what was not recorded",
        ),
    }


def state(run: Run) -> str:
    """Return the verdict; `DOUBTFUL` where it passed and the record is damaged."""
    if run.verdict.outcome == "passed" and not all(r[6] for r in agreement(run)):
        return DOUBTFUL
    return run.verdict.outcome


def relaxed(run: Run) -> str:
    """Return the settings that differ from the rules, durations in s and ms."""
    told = [
        f"{one.setting}: {setting(one.setting, one.value)}"
        f" (rule: {setting(one.setting, one.rule)})"
        for one in run.settings.relaxed
    ]
    return "; ".join(told or run.verdict.relaxed)


def setting(name: str, value: Json) -> str:
    """Return the value of a LoadGen setting, a duration in s or ms."""
    nanoseconds = name in _NANOSECONDS or name.endswith("_ns")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return cell(value)
    if not nanoseconds and not name.endswith("_ms"):
        return cell(value)
    milliseconds = value / MS if nanoseconds else float(value)
    if abs(milliseconds) >= 1000 or not milliseconds:
        return f"{milliseconds / 1000:,.10g} s"
    return f"{milliseconds:,.10g} ms"


def _switched_off(run: Run) -> Iterator[str]:
    if run.trace is None:
        yield (
            "LoadGen's trace is off (run.trace=true writes it): latencies of nodes and"
            " replicas begin at the issue, not at the scheduled time, and the issue"
            " delay is not known"
        )


def _is_not(run: Run) -> Iterator[str]:
    settings, config = run.settings, run.config
    if run.verdict.outcome == "aborted":
        yield "the run was aborted"
    elif run.verdict.degraded:
        yield "the run was disturbed: it lost a replica or was paused"
    if settings.kind == "smoke":
        yield "run=smoke shortens the run and relaxes its rules"
    if not settings.is_benchmark:
        yield "the model or the data are not the benchmark's"
    if config.engine.name == "synthetic":
        yield "the engine is synthetic, so no device was measured"
    if config.model.weights == "dummy":
        yield "the weights are random"
    if config.dataset.name in ("sample", "synthetic"):
        yield f"the data set is {config.dataset.name}, not CNN/DailyMail"


def agreement(run: Run) -> Iterator[list[Json]]:
    """Yield rows that set our figures against LoadGen's: see the table's columns."""
    values, done = run.log.values, run.done
    if not len(done):
        return
    issued = values.get("result_query_count")
    if issued is not None:
        issued = int(issued) * int(values.get("generated_samples_per_query", 1))
        yield _exact("samples", len(done), issued, "samples", "completed samples")
        yield _exact(
            "different samples",
            len(np.unique(done.seq)),
            issued,
            "samples",
            "different seq among them",
        )
    yield from _rates(run)
    if run.trace is None:
        yield from _own_latencies(run)
    else:
        yield from _traced_latencies(run)


def _rates(run: Run) -> Iterator[list[Json]]:
    values, done = run.log.values, run.done
    last = int(done.completed[done.seq.argmax()])
    wall_ns = run.end_ns - run.begin_ns
    tokens = float(done.output_tokens.sum())
    for key, work, span_ns, unit, how in (
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
        theirs = values.get(key)
        if not isinstance(theirs, int | float) or span_ns <= 0:
            continue
        ours = work / span_ns * 1e9
        # Its clock starts at the scheduled time, ours at the issue.
        delay = max(_DELAY_MS * MS, _worst_delay(run)) / span_ns
        room = (delay + _PRINTED) * ours
        yield [
            key,
            rounded(ours, 7),
            theirs,
            unit,
            rounded(theirs - ours, 3),
            f"{room:.3g}: issue delay, printed digits",
            abs(theirs - ours) <= room,
            how,
        ]


def _worst_delay(run: Run) -> float:
    return 0.0 if run.trace is None else float(run.trace.issue_delay_ns.max())


def _traced_latencies(run: Run) -> Iterator[list[Json]]:
    trace, done = run.trace, run.done
    assert trace is not None
    order = np.argsort(done.seq)
    place = np.searchsorted(done.seq[order], trace.seq)
    place = order[np.minimum(place, len(done) - 1)]
    same = done.seq[place] == trace.seq
    later = done.output_tokens[place] - 1
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
        theirs = run.log.values.get(key)
        if isinstance(theirs, int) and len(values):
            ours = loadgen_percentile(values.astype(float), 0.99)
            yield _exact(
                key, int(ours or 0), theirs, "ns", "LoadGen's trace, joined by seq"
            )


def _own_latencies(run: Run) -> Iterator[list[Json]]:
    done = run.done
    for key, values, room_ms in (
        ("result_99.00_percentile_latency_ns", done.latency_ns, _DELAY_MS),
        ("result_first_token_99.00_percentile_latency_ns", done.ttft_ns, _DELAY_MS),
        ("result_time_per_output_token_99.00_percentile_ns", done.tpot_ns, _TPOT_MS),
    ):
        theirs = run.log.values.get(key)
        ours = loadgen_percentile(values, 0.99)
        if not isinstance(theirs, int) or ours is None:
            continue
        room = max(room_ms * MS, _DELAY_SHARE * theirs)
        yield [
            key,
            rounded(ours / MS),
            rounded(theirs / MS),
            "ms",
            rounded((theirs - ours) / MS, 3),
            f"{room / MS:.3g}: the issue delay, unknown without the trace",
            abs(theirs - ours) <= room,
            "from the issue, element floor(0.99 n) in order, as LoadGen takes it",
        ]


def _exact(name: str, ours: int, theirs: int, unit: str, how: str) -> list[Json]:
    return [name, ours, theirs, unit, theirs - ours, "0", ours == theirs, how]
