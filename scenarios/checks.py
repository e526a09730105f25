"""Checks of a run's times and tokens that the gate and a submission use."""

import math
from collections.abc import Iterator, Sequence

from base.benchmark import MAX_TOKENS
from record.loadgen_log import Answer, DetailLog
from record.structs import ClockRecord, SampleRecord


def time_problems(
    clock: ClockRecord | None, log: DetailLog, samples: list[SampleRecord]
) -> list[str]:
    """Return one line for each time that is out of order or outside the run.

    Args:
        clock: begin and end of the run; None if they are not known.
        log: LoadGen's log, whose results in ns are checked, too.
        samples: the samples of the run.
    """
    begin_ns, end_ns = (-math.inf, math.inf)
    if clock is not None:
        begin_ns, end_ns = clock.begin_ns, clock.end_ns
    problems = [
        f"sample {sample.seq}: {problem}"
        for sample in samples
        if (problem := _impossible(sample, begin_ns, end_ns)) is not None
    ]
    problems += [
        f"LoadGen's {key} is {value}"
        for key, value in log.values.items()
        if key.startswith("result_")
        and key.endswith("_ns")
        and isinstance(value, int | float)
        and not 0 <= value <= end_ns - begin_ns
    ]
    return problems


def _impossible(sample: SampleRecord, begin_ns: float, end_ns: float) -> str | None:
    issued, dispatched = sample.issued_ns, sample.dispatched_ns
    first, completed = sample.first_token_ns, sample.completed_ns
    # If a sample was sent again, its first token may be from an earlier attempt.
    for earlier, later, problem in (
        (issued, dispatched, "it was dispatched before it was issued"),
        (issued, first, "its first token came before it was issued"),
        (first, completed, "it was completed before its first token"),
        (dispatched, completed, "it was completed before it was dispatched"),
    ):
        if earlier is not None and later is not None and later < earlier:
            return problem
    if issued < begin_ns or (completed or issued) > end_ns:
        return "its times are outside the run"
    for duration in (
        sample.queue_ns,
        sample.prefill_ns,
        sample.decode_ns,
        sample.residence_ns,
    ):
        if duration is not None and not 0 <= duration <= end_ns - begin_ns:
            return f"a duration of {duration} ns"
    return None


def token_problems(
    answers: Sequence[Answer],
    stop_token_ids: Sequence[int],
    streaming: bool,
    most: int = MAX_TOKENS,
) -> Iterator[str]:
    """Yield one line for each answer that breaks a rule of MLPerf's TEST06.

    An answer has 1 to `most` tokens. A stop token can only be its last token. It begins
    with the token that was reported first. The official script's check of stop tokens
    cannot fail, since it compares a string with numbers; hence this one.
    """
    stops = set(stop_token_ids)
    for answer in answers:
        name = f"sample {answer.seq} (index {answer.qsl_index})"
        tokens = answer.tokens.tolist()
        if not 1 <= len(tokens) <= most:
            yield f"{name}: {len(tokens)} tokens"
        if any(token in stops for token in tokens[:-1]):
            yield f"{name}: a stop token before its end"
        if streaming:
            first = [] if answer.first is None else answer.first.tolist()
            if first != tokens[:1]:
                yield f"{name}: reported {first} first, but has {tokens[:1]}"
