"""How well a replica that computes wrongly is found by its answers.

    python -m benchmarks.odd_replicas [--runs 200] [--even 2000]

Simulated answers to 13,368 prompts, drawn apart from the code that judges them. In the
first table each answer has a ROUGE-L score (mean 28%, standard deviation 9, lower for
longer prompts) and one replica changes a share of its answers: to nonsense (4%), or to
fluent text about something else (15%). In the second table two runs answer each prompt
once, and a share of all pairs is equal token by token even if nothing is wrong, as in
bf16 with other batches. The replica that is wrong is wrong in both runs.
Prints Markdown tables.
"""

import argparse
import sys
import time
from dataclasses import dataclass

import numpy as np

from base.answer_pairs import AnswerPairs
from base.odd_replicas import OddReplica, length_strata, odd_replicas

_PROMPTS = 13_368
_REPLICAS = (2, 8, 64)
_LOW = "low scores"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one replica does wrong, and how it can be seen."""

    pairs: bool
    """Whether there are two runs."""
    share: float
    """Share of the wrong replica's answers that are changed."""
    fluent: bool = False
    same: float = 0.6
    """Pairs that are equal token by token if nothing is wrong."""


def found_in_scores(replicas: int, case: Case, seed: int) -> list[OddReplica]:
    """Return what the scores of one run show; the last replica is wrong."""
    rng = np.random.default_rng(seed)
    lengths = _lengths(rng)
    owner = rng.integers(0, replicas, _PROMPTS)
    score = rng.normal(28 - 3 * np.log(lengths / 765), 9).clip(0)
    wrong = (owner == replicas - 1) & (rng.random(_PROMPTS) < case.share)
    mean = 15.0 if case.fluent else 4.0
    score[wrong] = rng.normal(mean, mean / 3, int(wrong.sum())).clip(0)
    low = score < np.quantile(score, 0.02)
    return odd_replicas(
        owner[:, None], length_strata(lengths), {_LOW: low}, {"rougeL": score}
    )


def found_in_pairs(replicas: int, case: Case, seed: int) -> list[OddReplica]:
    """Return what two runs show."""
    rng = np.random.default_rng(seed)
    lengths = _lengths(rng)
    owners = rng.integers(0, replicas, (_PROMPTS, 2))
    # Long prompts are more often at a point where two tokens are about equally good.
    equal = case.same - 0.05 * np.log(lengths / 765) if case.same < 1 else 1.0
    same = rng.random(_PROMPTS) < equal
    wrong = (owners == replicas - 1) & (rng.random((_PROMPTS, 2)) < case.share)
    any_wrong = wrong.any(axis=1)
    common = np.where(same, 1.0, rng.beta(6, 3, _PROMPTS))
    worse = rng.beta(3, 6, _PROMPTS) if case.fluent else rng.beta(1, 20, _PROMPTS)
    return AnswerPairs(
        members=owners,
        prompt_tokens=lengths,
        identical=same & ~any_wrong,
        common=np.where(any_wrong, worse, common),
    ).odd()


def _lengths(rng: np.random.Generator) -> np.ndarray:
    return np.clip(rng.lognormal(np.log(765), 0.44, _PROMPTS), 141, 2267).astype(int)


def _two(same: float) -> Case:
    return Case(pairs=True, share=0, fluent=True, same=same)


def main() -> int:
    """Print the tables; return 1 if even runs have too many findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="of each planted case")
    parser.add_argument("--even", type=int, default=2000, help="even runs of each kind")
    parser.add_argument("--only", default="", help="rows whose name begins so")
    options = parser.parse_args()
    shares = (0.01, 0.03, 0.1, 0.3)
    kinds = {
        "one run, nonsense": Case(pairs=False, share=0),
        "one run, fluent": Case(pairs=False, share=0, fluent=True),
        "two runs, nonsense, 60% equal": Case(pairs=True, share=0),
        "two runs, fluent, 60% equal": _two(0.6),
        "two runs, fluent, 95% equal": Case(
            pairs=True, share=0, fluent=True, same=0.95
        ),
        "two runs, fluent, all equal": _two(1.0),
    }
    print("| answers | replicas | even runs with a finding |", end="")
    print("".join(f" {share:.0%} wrong |" for share in shares))
    print("|---|---|---|" + "---|" * len(shares))
    bad = 0
    for name, kind in kinds.items():
        if not name.startswith(options.only):
            continue
        look = found_in_pairs if kind.pairs else found_in_scores
        for replicas in _REPLICAS:
            begin = time.monotonic()
            false = sum(
                bool(look(replicas, kind, seed)) for seed in range(options.even)
            )
            bad += false > 0.01 * options.even + 3 * (0.01 * options.even) ** 0.5
            cells = []
            for share in shares:
                case = Case(
                    pairs=kind.pairs, share=share, fluent=kind.fluent, same=kind.same
                )
                right = sum(
                    [odd.replica for odd in look(replicas, case, 10_000 + seed)]
                    == [replicas - 1]
                    for seed in range(options.runs)
                )
                cells.append(f"{right / options.runs:.0%}")
            print(
                f"| {name} | {replicas} | {false} of {options.even} |"
                f" {' | '.join(cells)} |",
                flush=True,
            )
            seconds = time.monotonic() - begin
            print(f"{name}, {replicas}: {seconds:.0f} s", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
