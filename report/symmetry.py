"""How evenly the replicas of one run worked."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from record.json_types import Json
from report.figures import Figure, Table, figure, table
from report.run import FloatArray, Run, service_ms, tpot_ms, ttft_ms

_BLOCKS = 8
_FEWEST_IN_BLOCK = 5
_SIGNIFICANCE = 0.01
_WORDS = ((1.0, "perfect"), (7.5, "good"), (20.0, "moderate"))


def status(spread_pct: float, beyond_noise: bool) -> str:
    """Return the word for a spread; worse than "good" only for more than noise."""
    word = next((w for limit, w in _WORDS if spread_pct < limit), "critical")
    if word in ("moderate", "critical") and not beyond_noise:
        return "good"
    return word


def spread_pct(values: Sequence[float]) -> float | None:
    """Return (max - min) / min in percent; 0 for one value, None if one is 0."""
    if not values or min(values) <= 0:
        return None
    return (max(values) - min(values)) / min(values) * 100


def replica_table(run: Run) -> Table:
    """Return one row per replica."""
    completed, wall_s = run.completed, run.wall_s
    rows: list[list[Json]] = []
    for record in run.replicas:
        own = [s for s in run.samples if s.replica == record.replica]
        done = [s for s in own if s.status == "completed"]
        tokens = sum(s.output_tokens for s in done)
        service, ttft, tpot = service_ms(done), ttft_ms(done), tpot_ms(done)
        rows.append(
            [
                record.node,
                record.replica,
                len(done),
                _ratio(100.0 * len(done), len(completed)),
                _ratio(100.0 * len(done), len(own)),
                _ratio(len(done), wall_s),
                _ratio(tokens, wall_s),
                _percentile(service, 50),
                _percentile(service, 99),
                _percentile(ttft, 50),
                _percentile(ttft, 99),
                _percentile(tpot, 50),
                _percentile(tpot, 99),
                _gib(run.peak_memory(record.replica)),
            ]
        )
    return table(
        [
            ("node", "", "host of the replica"),
            ("replica", "", "number of the replica"),
            ("samples", "samples", "samples completed"),
            ("share", "%", "share of all completed samples"),
            ("success", "%", "completed of those it ended up with"),
            ("samples/s", "samples/s", "completed samples over the run's wall time"),
            ("tokens/s", "tokens/s", "output tokens over the run's wall time"),
            ("service p50", "ms", "dispatch to completion, median"),
            ("service p99", "ms", "dispatch to completion, 99th percentile"),
            ("TTFT p50", "ms", "issue to first token, median; empty if not streamed"),
            ("TTFT p99", "ms", "issue to first token, 99th percentile"),
            ("TPOT p50", "ms", "time per output token after the first, median"),
            (
                "TPOT p99",
                "ms",
                "time per output token after the first, 99th percentile",
            ),
            ("memory", "GiB", "most device memory in use (CPU: the process)"),
        ],
        rows,
    )


def throughput_symmetry(run: Run) -> dict[str, Figure]:
    """Return the spread of tokens/s among replicas and whether it exceeds noise."""
    rates = [_busy_rate(run, record.replica) for record in run.replicas]
    spread = spread_pct(rates)
    lost = sum(s.status == "lost" for s in run.samples)
    p_value = _difference_p(_token_blocks(run))
    method = (
        f"Friedman test over {_BLOCKS} time blocks in which all replicas worked"
        " (a sign test for two replicas); noise unless p < 0.01; empty where a block"
        f" has fewer than {_FEWEST_IN_BLOCK} answers of a replica"
    )
    return {
        "success_rate": figure(
            _ratio(100.0 * len(run.completed), len(run.samples)),
            "%",
            "completed samples of those that were issued",
        ),
        "success_status": figure(
            "critical" if lost else "perfect", "", "critical as soon as one is lost"
        ),
        "throughput_spread": figure(
            None if spread is None else round(spread, 3),
            "%",
            "empty where a replica did nothing; (max - min) / min of each"
            " replica's output tokens / seconds from its"
            " first dispatch to its last completion",
        ),
        "throughput_p": figure(p_value, "", f"probability by a {method}"),
        "throughput_status": figure(
            "not comparable: a replica did nothing"
            if spread is None
            else status(spread, p_value is not None and p_value < _SIGNIFICANCE),
            "",
            "perfect < 1%, good < 7.5%, moderate < 20%, critical; worse than good"
            " only where the difference exceeds noise",
        ),
    }


def _busy_rate(run: Run, replica: int) -> float:
    """Return output tokens/s of a replica while it had work; 0 if it did nothing."""
    own = [s for s in run.completed if s.replica == replica]
    if not own:
        return 0.0
    begin = min(s.dispatched_ns or s.issued_ns for s in own)
    end = max(s.completed_ns or 0 for s in own)
    return sum(s.output_tokens for s in own) / max((end - begin) / 1e9, 1e-9)


def _token_blocks(run: Run) -> FloatArray | None:
    """Return output tokens by (replica, block of time); None for too few answers."""
    by_replica = [
        [s for s in run.completed if s.replica == record.replica]
        for record in run.replicas
    ]
    if len(by_replica) < 2 or not all(by_replica):
        return None
    ends = [np.array([s.completed_ns for s in own], float) for own in by_replica]
    begin = max(float(times.min()) for times in ends)
    end = min(float(times.max()) for times in ends)
    if end <= begin:
        return None
    edges = np.linspace(begin, end, _BLOCKS + 1)
    counts = np.array([np.histogram(times, edges)[0] for times in ends])
    if counts.min() < _FEWEST_IN_BLOCK:
        return None
    weights = [np.array([s.output_tokens for s in own], float) for own in by_replica]
    return np.array(
        [
            np.histogram(times, edges, weights=tokens)[0]
            for times, tokens in zip(ends, weights, strict=True)
        ]
    )


def _difference_p(blocks: FloatArray | None) -> float | None:
    """Return the probability of such a difference among equal replicas, or None."""
    if blocks is None:
        return None
    if len(blocks) == 2:
        wins = int((blocks[0] > blocks[1]).sum())
        unequal = int((blocks[0] != blocks[1]).sum())
        return float(stats.binomtest(wins, unequal).pvalue) if unequal else 1.0
    value = float(stats.friedmanchisquare(*blocks).pvalue)
    return None if np.isnan(value) else value


def _percentile(values: FloatArray, percentile: float) -> float | None:
    return round(float(np.percentile(values, percentile)), 3) if len(values) else None


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 3) if whole else None


def _gib(value: int | None) -> float | None:
    return round(value / 2**30, 3) if value is not None else None
