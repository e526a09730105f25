"""Lengths that a data set prescribes for its answers.

An engine then generates exactly so many tokens, whatever the model says. The lengths
are part of the data set's file, so that every run over it asks for the same work.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from tokenizers import Tokenizer

from base.errors import UserError
from qsl.articles import Article

LONGEST = 65_000
_SEED = 20_250_102
_FORMS = (
    "write N (all), LOW-HIGH (uniform), normal:MEAN:DEVIATION, reference (that of the"
    " reference) or column:NAME"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLengths:
    """A distribution of answer lengths in tokens."""

    kind: Literal["fixed", "uniform", "normal", "reference", "column"]
    first: float = 0.0
    """Of fixed: the length; uniform: the shortest; normal: the mean."""
    second: float = 0.0
    """Of uniform: the longest; normal: the standard deviation."""
    column: str | None = None

    def draw(self, articles: Sequence[Article], encoder: Tokenizer) -> list[int]:
        """Return a length for each article; the same ones in every call.

        Raises:
            UserError: a column has a value that is no length.
        """
        count = len(articles)
        random = np.random.default_rng(_SEED)
        if self.kind == "fixed":
            return [int(self.first)] * count
        if self.kind == "uniform":
            drawn = random.integers(int(self.first), int(self.second) + 1, count)
            return [int(length) for length in drawn]
        if self.kind == "normal":
            values = random.normal(self.first, self.second, count).round()
            return [int(length) for length in values.clip(1, LONGEST)]
        if self.kind == "reference":
            texts = [item.summary for item in articles]
            encoded = encoder.encode_batch(texts, add_special_tokens=False)
            return [max(1, len(tokens.ids)) for tokens in encoded]
        for item in articles:
            if item.length is None or not 1 <= item.length <= LONGEST:
                raise UserError(
                    f"{item.where}: {self.column} is {item.length}; a length is 1 to"
                    f" {LONGEST}"
                )
        return [item.length or 0 for item in articles]


def parse_answer_lengths(text: str) -> AnswerLengths:
    """Return the distribution that `text` names.

    Raises:
        UserError: it names none.
    """
    if text == "reference":
        return AnswerLengths(kind="reference")
    if text.startswith("column:") and text != "column:":
        return AnswerLengths(kind="column", column=text.partition(":")[2])
    if found := re.fullmatch(r"(\d{1,7})(?:-(\d{1,7}))?", text):
        low, high = int(found[1]), int(found[2] or found[1])
        if 1 <= low <= high <= LONGEST:
            kind: Literal["fixed", "uniform"] = "uniform" if found[2] else "fixed"
            return AnswerLengths(kind=kind, first=low, second=high)
    number = r"(\d{1,7}(?:\.\d+)?)"
    if found := re.fullmatch(f"normal:{number}:{number}", text):
        mean, deviation = float(found[1]), float(found[2])
        if 1 <= mean <= LONGEST:
            return AnswerLengths(kind="normal", first=mean, second=deviation)
    raise UserError(f"--output-tokens {text}: {_FORMS}")
