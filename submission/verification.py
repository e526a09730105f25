"""TEST06's token checks, in the form that the official checker reads."""

from collections.abc import Sequence
from pathlib import Path

from record.loadgen_log import Answer, read_answers
from record.structs import SettingsRecord

_MAX_STOPS_AT_END = 1


def verification_text(log: Path, settings: SettingsRecord) -> str:
    """Return the content of verify_accuracy.txt.

    Args:
        log: LoadGen's accuracy log of the compliance run.
        settings: of that run; its stop tokens are missing from the official script's
            check.

    Raises:
        RecordError: the log is missing or damaged.
    """
    answers = read_answers(log)
    first = _first_tokens_hold(answers) if settings.streaming else None
    stops = all(_stops_hold(answer, settings.stop_token_ids) for answer in answers)
    lengths = all(a.token_count == len(a.tokens) for a in answers)
    good = first is not False and stops and lengths and bool(answers)
    return (
        f"First token check pass: {'Skipped' if first is None else first}\n"
        f"EOS check pass: {stops}\n"
        f"Sample length check pass: {lengths}\n"
        f"TEST06 verification {'complete' if good else 'failed'}\n"
    )


def _first_tokens_hold(answers: Sequence[Answer]) -> bool:
    return all(
        a.first is not None and a.first.tolist() == a.tokens[:1].tolist()
        for a in answers
    )


def _stops_hold(answer: Answer, stop_token_ids: Sequence[int]) -> bool:
    stops = set(stop_token_ids)
    found = [token in stops for token in answer.tokens.tolist()]
    return sum(found) <= _MAX_STOPS_AT_END and not any(found[:-1])
