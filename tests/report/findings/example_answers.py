"""Runs in accuracy mode of which one replica answers wrongly."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from report.findings.answers import answer_findings
from report.findings.finding import Found
from report.reading.run import Run
from tests.report.findings.examples import run_of
from tests.run_folder import good_spec, sample

TOKENS = 40


def accuracy_run(
    path: Path,
    replicas: int,
    seed: int,
    wrong: float = 0.0,
    each: int = 60,
    fixed: bool = False,
) -> Run:
    """Return a run of which the last replica changes a share of its answers.

    Args:
        path: folder to write.
        replicas: number of replicas.
        seed: of the assignment of samples to replicas, and of what is wrong.
        wrong: share of its answers that are changed.
        each: answers of each replica.
        fixed: whether a wrong answer is the same in every run.
    """
    rng = np.random.default_rng(seed)
    count = each * replicas
    owner = rng.permutation(np.arange(count) % replicas)
    spec = good_spec(count, replicas)
    spec.mode = "accuracy"
    spec.samples = [
        sample(seq, int(owner[seq]), output_tokens=TOKENS, prompt_tokens=500 + seq % 97)
        for seq in range(count)
    ]
    for seq in range(count):
        tokens = np.random.default_rng(seq).integers(3, 30_000, TOKENS)
        fault = np.random.default_rng(count + seq) if fixed else rng
        if owner[seq] == replicas - 1 and fault.random() < wrong:
            tokens = fault.integers(30_001, 49_000, TOKENS)
        spec.answers.append((seq, tokens.tolist(), None))
    return run_of(path, spec)


def answers_of(runs: Sequence[Run]) -> list[Found]:
    """Return the findings on answers of these runs."""
    return list(answer_findings(runs))


def wrong_answers(root: Path) -> Iterator[Found]:
    """Yield the findings of runs with a wrong replica."""
    for name, replicas, fixed in (("four", 4, False), ("two", 2, True)):
        yield from answers_of(
            [
                accuracy_run(
                    root / f"{name}{i}", replicas, i, 0.6 if fixed else 0.3, fixed=fixed
                )
                for i in range(2)
            ]
        )
