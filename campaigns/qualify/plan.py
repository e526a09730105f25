"""What a qualification would do, without a run."""

from campaigns.qualify.options import QualifyOptions
from campaigns.qualify.runs import ANSWERS, TITLES
from report.wording import count


def planned_runs(options: QualifyOptions, size: int) -> list[str]:
    """Return the runs in words, one a line.

    How many replicas a node has is known after the first run only; if there is one
    node, each replica is a round of its own.

    Args:
        options: of the command line.
        size: replicas of the whole cluster.
    """
    rate = f"{options.rate:g} queries/s" if options.rate else "60% of its Offline speed"
    queries = options.queries or "a minute of"
    prompts = options.answers or ANSWERS * size
    rounds = f"one for each replica of a node (at most {size})"
    each = f"{options.samples:,} samples for each replica"
    lines = [
        f"1 run: {TITLES['offline_all']}: {count(size, 'replica')}, {each}",
        f"runs, {rounds}: {TITLES['offline_alone']}, {each}",
        f"runs, {rounds}: {TITLES['server_alone']}, {queries} queries at {rate}",
        f"1 run: {TITLES['server_all']}",
        f"at most {options.confirm} more of each that fails a check",
    ]
    if size > 1:
        lines.insert(2, f"2 runs: {TITLES['answers']}, {prompts:,} prompts in each")
    most = 2 * size + (4 if size > 1 else 2)
    return [*lines, f"at most {most} runs if nothing fails"]
