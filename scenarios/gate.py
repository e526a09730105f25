"""Judges a finished run from its folder alone, without LoadGen.

LoadGen's VALID and the official checker miss most faults. Both accept a sample that was
completed twice, an error in the log, and a run that was stopped early. The gate does
not.
"""

from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from base.benchmark import COMPLIANCE_SAMPLES
from record.folder import RecordError, RunFolder, read_json, read_lines
from record.loadgen_log import Answer, DetailLog, read_answers, read_detail
from record.structs import (
    Check,
    CheckOutcome,
    ClockRecord,
    EventRecord,
    Json,
    ReplicaRecord,
    SampleRecord,
    SettingsRecord,
    Verdict,
)
from scenarios.checks import time_problems, token_problems
from scenarios.steady_state import judge_samples

DRIFT_LIMIT_MS = 10.0
"""Largest accepted change of (wall clock - monotonic clock): far above reading errors
and far below MLPerf's latency limits."""
_AUDIT_WARNING = "Found Audit Config file"
_UNMET = {
    "result_perf_constraints_met": "latency limits were exceeded",
    "result_min_duration_met": "it was too short",
    "result_min_queries_met": "it had too few queries",
}
_STOPPING = ("", "ttft_", "tpot_")
_UNSTOPPED = ("Would need", "Need to process")


def judge(folder: RunFolder) -> Verdict:
    """Return the verdict on the run in `folder`.

    Raises:
        RecordError: a file that every finished run has is missing or damaged.
    """
    settings = read_json(folder.settings, SettingsRecord)
    if settings.mode not in _BY_MODE:
        raise RecordError(folder.settings, f"{settings.mode!r:.40} is no mode")
    log = read_detail(folder.detail_log)
    samples: list[SampleRecord] = list(read_lines(folder.samples, SampleRecord))
    events: list[EventRecord] = list(read_lines(folder.events, EventRecord))
    clock = read_json(folder.clock, ClockRecord) if folder.clock.exists() else None
    checks = [
        *_common(settings, log, samples),
        _clock(clock, events),
        _times(clock, log, samples),
        *_BY_MODE[settings.mode](folder, settings, log, samples),
    ]
    failures = [check for check in checks if check.outcome == "failed"]
    degraded = any(event.kind in ("fence", "death", "pause") for event in events)
    mismatch = any(event.kind == "protocol" for event in events)
    eligible = (
        not degraded
        and not mismatch
        and clock is not None
        and not _unknown(folder, samples)
        and settings.kind == "full"
        and settings.is_benchmark
    )
    return Verdict(
        outcome="failed" if failures else "passed",
        degraded=degraded,
        submission_candidate=eligible and not failures,
        relaxed=_relaxed(settings),
        checks=checks,
        reason=failures[0].reason if failures else "",
        eligible=eligible,
    )


def _unknown(folder: RunFolder, samples: list[SampleRecord]) -> bool:
    """Return whether prefix-cache hits or the token ids of answers are unknown."""
    if any(s.status == "completed" and s.cached_tokens is None for s in samples):
        return True
    if not folder.replicas.exists():
        return False
    replicas = read_json(folder.replicas, list[ReplicaRecord])
    return any(record.engine.get("token_ids") == "tokenizer" for record in replicas)


def _relaxed(settings: SettingsRecord) -> list[str]:
    return [f"{r.setting}: {r.value} (rule: {r.rule})" for r in settings.relaxed]


def _common(
    settings: SettingsRecord, log: DetailLog, samples: list[SampleRecord]
) -> Iterator[Check]:
    yield _check("loadgen_errors", 0, len(log.errors), not log.errors, log.errors)
    seqs = Counter(s.seq for s in samples if s.status == "completed")
    repeated = [seq for seq, count in seqs.items() if count > 1]
    lost = [s.seq for s in samples if s.status == "lost"]
    yield _check("samples_lost", 0, len(lost), not lost, lost)
    yield _check("samples_completed_twice", 0, len(repeated), not repeated, repeated)
    issued = _issued(settings, log)
    yield _check("samples_completed", issued, len(seqs), issued == len(seqs) > 0)
    tokens = [s.output_tokens for s in samples if s.status == "completed"]
    longest = max(tokens, default=0)
    limit = settings.max_output_tokens
    yield _check("tokens_per_sample_max", limit, longest, longest <= limit)
    yield _prefix_cache(samples)
    audited = any(_AUDIT_WARNING in warning for warning in log.warnings)
    wanted = settings.mode == "compliance"
    yield _check("audit_file_read", wanted, audited, audited == wanted)


def _issued(settings: SettingsRecord, log: DetailLog) -> int:
    """Return the number of samples that LoadGen issued, by its log."""
    if settings.mode == "accuracy":
        return int(log.values.get("effective_accuracy_sample_count", 0))
    per_query = int(log.values.get("generated_samples_per_query", 1))
    return int(log.values.get("result_query_count", 0)) * per_query


def _prefix_cache(samples: list[SampleRecord]) -> Check:
    hits = [s.cached_tokens for s in samples if s.status == "completed"]
    cached = sum(hit or 0 for hit in hits)
    check = _check("prefix_cache_hit_tokens", 0, cached, not cached)
    if not cached and None in hits:
        return _skipped(check, "the engine does not report it")
    return check


def _clock(clock: ClockRecord | None, events: list[EventRecord]) -> Check:
    """Check that the host's clock, which LoadGen reads, was not set during the test."""
    if clock is None:
        check = _check("clock", DRIFT_LIMIT_MS, None, True)
        return _skipped(check, "the run did not watch the host's clock")
    drift_ms = round(clock.largest_drift_ns / 1e6, 3)
    steps = [
        f"{event.cause} at {(event.t_ns - clock.begin_ns) / 1e9:.1f} s"
        for event in events
        if event.kind == "clock"
    ]
    holds = abs(drift_ms) <= DRIFT_LIMIT_MS
    return _check("clock", DRIFT_LIMIT_MS, drift_ms, holds, steps)


def _times(
    clock: ClockRecord | None, log: DetailLog, samples: list[SampleRecord]
) -> Check:
    """Check that all times are possible: in order and within the run."""
    problems = time_problems(clock, log, samples)
    return _check("times_possible", 0, len(problems), not problems, problems)


def _performance(
    folder: RunFolder,
    settings: SettingsRecord,
    log: DetailLog,
    samples: list[SampleRecord],
) -> Iterator[Check]:
    validity = log.values.get("result_validity")
    reason = log.values.get("result_invalid_reason") or _unmet(log)
    yield _check("loadgen_validity", "VALID", validity, validity == "VALID", reason)
    latencies = log.values.get("requested_use_token_latencies")
    yield _check("token_latencies", True, latencies, latencies is True)
    rule = _rule_value(folder, settings, "sample_concatenate_permutation")
    permuted = log.values.get("effective_sample_concatenate_permutation")
    yield _rule(settings, _check("equal_issue", rule, permuted, permuted == rule))
    names = [r.setting for r in settings.relaxed]
    yield _rule(
        settings, _check("settings_equal_rules", 0, len(names), not names, names)
    )
    if settings.loadgen_scenario == "Server":
        yield _steady_state(settings, samples)


def _steady_state(settings: SettingsRecord, samples: list[SampleRecord]) -> Check:
    """Check that the system sustained the arrival rate.

    A full run is as long as MLPerf's rules require, so LoadGen's result counts and a
    growing queue is only noted. A smoke run fails if its queue grew: a longer run would
    have exceeded the limits.
    """
    judged = judge_samples(samples)
    check = _check(
        "steady_state", "steady", judged.word, judged.word == "steady", judged.reason
    )
    if settings.kind == "full" or judged.word == "too_short":
        check.outcome = "passed" if judged.word == "steady" else "skipped"
    return check


def _unmet(log: DetailLog) -> str:
    """Return which of LoadGen's conditions failed, if LoadGen gives no reason."""
    parts = [text for key, text in _UNMET.items() if log.values.get(key) is False]
    if log.values.get("early_stopping_met") is False:
        results = [str(log.values.get(f"early_stopping_{k}result")) for k in _STOPPING]
        unmet = next((r for r in results if any(w in r for w in _UNSTOPPED)), "")
        reason = " ".join(unmet.replace("*", "").split())
        parts.append(f"early stopping: {reason or 'not satisfied'}")
    return "; ".join(parts)


def _accuracy(
    folder: RunFolder,
    settings: SettingsRecord,
    log: DetailLog,
    _samples: list[SampleRecord],
) -> Iterator[Check]:
    answers = read_answers(folder.accuracy_log)
    expected = _issued(settings, log)
    counts = Counter(answer.qsl_index for answer in answers)
    once = sum(count == 1 for count in counts.values())
    yield _check(
        "indices_answered_once",
        expected,
        once,
        once == len(counts) == expected > 0,
        [index for index, count in counts.items() if count > 1],
    )
    rule = _rule_value(folder, settings, "performance_sample_count_override")
    yield _rule(settings, _check("data_set_size", rule, expected, expected == rule))
    yield _tokens(answers, settings)


def _compliance(
    folder: RunFolder,
    settings: SettingsRecord,
    _log: DetailLog,
    _samples: list[SampleRecord],
) -> Iterator[Check]:
    answers = read_answers(folder.accuracy_log)
    logged = len(answers)
    yield _check(
        "samples_logged", COMPLIANCE_SAMPLES, logged, logged == COMPLIANCE_SAMPLES
    )
    yield _tokens(answers, settings)


_BY_MODE: dict[
    str,
    Callable[
        [RunFolder, SettingsRecord, DetailLog, list[SampleRecord]], Iterator[Check]
    ],
] = {
    "performance": _performance,
    "accuracy": _accuracy,
    "compliance": _compliance,
}


def _tokens(answers: list[Answer], settings: SettingsRecord) -> Check:
    problems = list(
        token_problems(
            answers,
            settings.stop_token_ids,
            settings.streaming,
            settings.max_output_tokens,
        )
    )
    return _check("token_checks", 0, len(problems), not problems, problems)


def _check(
    name: str, limit: object, value: object, holds: bool, note: object = ""
) -> Check:
    outcome: CheckOutcome = "passed" if holds else "failed"
    return Check(
        name=name,
        limit=limit,
        value=value,
        outcome=outcome,
        note="" if holds else _text(note),
    )


def _rule(settings: SettingsRecord, check: Check) -> Check:
    """In a smoke run, skip a failed check of MLPerf's rules, since they are relaxed."""
    if settings.kind == "smoke" and check.outcome == "failed":
        return _skipped(check, "relaxed by run=smoke")
    return check


def _skipped(check: Check, note: str) -> Check:
    check.outcome, check.note = "skipped", note
    return check


def _rule_value(folder: RunFolder, settings: SettingsRecord, name: str) -> Json:
    """Return the value that the rules require for a setting.

    Raises:
        RecordError: `settings.json` does not have it.
    """
    if name not in settings.rules:
        raise RecordError(folder.settings, f"no value for {name} in its rules")
    return settings.rules[name]


def _text(note: object) -> str:
    if isinstance(note, list):
        shown = "; ".join(str(item) for item in note[:5])
        return shown + (f"; and {len(note) - 5} more" if len(note) > 5 else "")
    return str(note)


def aborted(folder: RunFolder, reason: str) -> Verdict:
    """Return the verdict on a run that ended before LoadGen did."""
    try:
        relaxed = _relaxed(read_json(folder.settings, SettingsRecord))
    except RecordError:
        relaxed = []
    return Verdict(
        outcome="aborted",
        degraded=True,
        submission_candidate=False,
        relaxed=relaxed,
        reason=reason,
    )


def stopped(folder: RunFolder, reason: str) -> Verdict:
    """Return the verdict on a run that the campaign that made it ended early."""
    return msgspec.structs.replace(
        aborted(folder, reason), outcome="stopped", degraded=False
    )
