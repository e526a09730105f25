"""MLPerf's accuracy targets."""

from dataclasses import dataclass

from accuracy.rouge import METRICS
from record.structs import SettingsRecord


@dataclass(frozen=True, slots=True)
class Target:
    """Scores of the benchmark's reference model; a result must reach 99% of each."""

    rouge: dict[str, float]
    """Percent."""
    gen_len: int
    """Characters of its answers; a result must be within 10% of it."""


# From the submission checker of the v6.1 round.
TARGETS = {
    "datacenter": Target(
        dict(zip(METRICS, (38.7792, 15.9075, 24.4957, 35.793), strict=True)), 8_167_644
    ),
    "edge": Target(
        dict(zip(METRICS, (39.06, 16.1147, 24.6375, 36.124), strict=True)), 3_051_113
    ),
}


def why_no_target(settings: SettingsRecord, answers: int) -> str:
    """Return why the benchmark's targets do not apply; empty where they do.

    Args:
        settings: of the run.
        answers: number of indices with an answer.
    """
    if not settings.is_benchmark:
        return "model or data set is not the benchmark's own"
    whole = settings.rules["performance_sample_count_override"]
    if answers != whole:
        return f"{answers} answers, the benchmark's data set has {whole} samples"
    return ""


def missed_targets(scores: dict[str, float], gen_len: int, target: Target) -> list[str]:
    """Return one line for each target that was not reached.

    Args:
        scores: ROUGE in percent.
        gen_len: characters of all answers.
        target: the scores to compare with.
    """
    missed = [
        f"{name} is {scores[name]}, needs {0.99 * value:.4f}"
        for name, value in target.rouge.items()
        if scores[name] < 0.99 * value
    ]
    if not 0.9 * target.gen_len <= gen_len <= 1.1 * target.gen_len:
        missed.append(f"gen_len is {gen_len}, needs {target.gen_len} within 10%")
    return missed
