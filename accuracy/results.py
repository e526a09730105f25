"""The results of a run's accuracy, written as `accuracy.json` and `accuracy.txt`."""

from dataclasses import dataclass

import msgspec

from accuracy.replicas import METHOD
from accuracy.rouge import METRICS
from accuracy.statistics import CONFIDENCE, ConfidenceInterval, TokenStatistics
from record.answers import OddAnswers, ReplicaScores
from record.folder import RunFolder, write_json, write_text
from record.structs import Json


@dataclass(slots=True, kw_only=True)
class AccuracyResult:
    """Scores of one run."""

    scores: dict[str, float]
    """ROUGE in percent, by metric."""
    intervals: dict[str, ConfidenceInterval | None]
    """95% interval of each score, in percent; None for a single sample."""
    gen_len: int
    """Characters of all answers, one sentence per line, as the benchmark counts."""
    gen_num: int
    """Number of answers."""
    tokens: TokenStatistics
    tokens_interval: ConfidenceInterval | None
    """95% interval of the mean number of tokens."""
    missed: list[str]
    """Targets that were not reached."""
    no_target: str
    """Why the benchmark's targets do not apply; empty where they do."""
    problems: list[str]
    """What is wrong with the log."""
    replicas: list[ReplicaScores]
    """Scores of each replica."""
    odd_replicas: list[OddAnswers]
    """Replicas whose scores are lower than those of the others, beyond chance."""
    splitter: str
    """The sentence splitter that ROUGE-Lsum and gen_len were computed with."""
    official_splitter: bool
    """Whether it is the benchmark's own."""

    @property
    def target_applies(self) -> bool:
        """Whether the benchmark's targets apply to this run."""
        return not self.no_target

    @property
    def tokens_per_sample(self) -> float:
        """Mean length of an answer in tokens."""
        return float(self.tokens.lengths.mean())

    @property
    def good(self) -> bool:
        """Whether the log is sound and every target that applies was reached."""
        return not self.missed and not self.problems


def write_result(folder: RunFolder, result: AccuracyResult) -> None:
    """Write accuracy.json and accuracy.txt.

    Raises:
        OSError: the folder cannot be written.
    """
    write_json(folder / "accuracy.json", as_json(result))
    # The submission checker reads this line by regular expressions: plain numbers.
    line = {name: result.scores[name] for name in METRICS} | {
        "gen_len": result.gen_len,
        "gen_num": result.gen_num,
    }
    write_text(folder / "accuracy.txt", f"{line}\n")


def as_json(result: AccuracyResult) -> dict[str, Json]:
    """Return the content of `accuracy.json`; every figure with unit and definition."""
    tokens = result.tokens
    listed = {
        "empty_answers": (tokens.empty, "answers without a token"),
        "single_token_answers": (tokens.single, "answers of one token"),
        "double_stop_answers": (
            tokens.double_stop,
            "answers with a stop token before their last token",
        ),
        "other_first_token": (
            tokens.other_first,
            "answers that begin with another token than was reported first;"
            " null if answers were not streamed",
        ),
    }
    return {
        **{
            name: _figure(
                value,
                "%",
                f"mean {name} F-measure over samples, stemmed",
                result.intervals[name],
            )
            for name, value in result.scores.items()
        },
        "gen_len": _figure(result.gen_len, "characters", "length of all answers"),
        "gen_num": _figure(
            result.gen_num, "samples", "answers scored, one for each index"
        ),
        "tokens_per_sample": _figure(
            result.tokens_per_sample,
            "tokens",
            "mean answer length",
            result.tokens_interval,
        ),
        "ended_by_stop": _figure(
            100 * tokens.ended_by_stop, "%", "answers whose last token is a stop token"
        ),
        "ended_by_length": _figure(
            100 * tokens.ended_by_length, "%", "answers that the token limit ended"
        ),
        **{
            name: _figure(None if found is None else len(found), "samples", definition)
            | {"indices": found}
            for name, (found, definition) in listed.items()
        },
        "target_applies": result.target_applies,
        "no_target": result.no_target,
        "missed": result.missed,
        "problems": result.problems,
        "replicas": [msgspec.to_builtins(one) for one in result.replicas],
        "odd_replicas": [msgspec.to_builtins(one) for one in result.odd_replicas],
        "odd_replicas_method": METHOD,
        "sentence_splitter": result.splitter,
        "official_sentence_splitter": result.official_splitter,
    }


def _figure(
    value: Json, unit: str, definition: str, interval: ConfidenceInterval | None = None
) -> dict[str, Json]:
    figure: dict[str, Json] = {"value": value, "unit": unit, "definition": definition}
    if interval is not None:
        figure["interval"] = list(interval)
        figure["confidence"] = CONFIDENCE
    return figure
