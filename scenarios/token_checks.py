"""Checks on logged tokens, as MLPerf's TEST06 asks for them.

The official script's check of end-of-sequence tokens cannot fail (it compares a
string with numbers), hence one of our own.
"""

from collections.abc import Iterator, Sequence

from base.benchmark import MAX_TOKENS
from record.loadgen_log import Answer


def token_problems(
    answers: Sequence[Answer], stop_token_ids: Sequence[int], streaming: bool
) -> Iterator[str]:
    """Yield one line for each answer that breaks a rule.

    An answer has 1 to 128 tokens, at most one stop token, which comes last, and
    begins with the token that was reported first.
    """
    stops = set(stop_token_ids)
    for answer in answers:
        name = f"sample {answer.seq} (index {answer.qsl_index})"
        tokens = answer.tokens.tolist()
        if not 1 <= len(tokens) <= MAX_TOKENS:
            yield f"{name}: {len(tokens)} tokens"
        if any(token in stops for token in tokens[:-1]):
            yield f"{name}: a stop token before its end"
        if streaming:
            first = [] if answer.first is None else answer.first.tolist()
            if first != tokens[:1]:
                yield f"{name}: reported {first} first, but has {tokens[:1]}"
