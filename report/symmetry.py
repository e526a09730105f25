"""How evenly the replicas of one run worked."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from record.json_types import Json
from report.figures import Figure, Table, figure, table
from report.run import FloatArray, Run, service_ms, tpot_ms, ttft_ms

_BLOCKS = 8
_SIGNIFICANCE = 0.01
_WORDS = ((1.0, "perfect"), (7.5, "good"), (20.0, "moderate"))


def status(spread_pct: float, beyond_noise: bool) -> str:
    """Return the word for a spread; worse than "good" only for more than noise."""
    word = next((w for limit, w in _WORDS if spread_pct < limit), "critical")
    if word in ("moderate", "critical") and not beyond_noise:
        return "good"
    return word


def spread_pct(values: Sequence[float]) -> float:
    """Return (max - min) / min in percent; 0 for fewer than two values."""
    if len(values) < 2 or min(values) <= 0:
        return 0.0
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
    blocks = _token_blocks(run)
    rates = blocks.sum(axis=1).tolist()
    spread = spread_pct(rates)
    p_value = _difference_p(blocks)
    method = (
        f"Friedman test over {_BLOCKS} time blocks in which all replicas worked"
        " (a sign test for two replicas); noise unless p < 0.01"
    )
    return {
        "throughput_spread": figure(
            round(spread, 3),
            "%",
            "(max - min) / min of output tokens per replica, in the time in which all"
            " replicas worked",
        ),
        "throughput_p": figure(p_value, "probability", method),
        "throughput_status": figure(
            status(spread, p_value is not None and p_value < _SIGNIFICANCE),
            "",
            "perfect < 1%, good < 7.5%, moderate < 20%, critical; worse than good"
            " only where the difference exceeds noise",
        ),
    }


def _token_blocks(run: Run) -> FloatArray:
    """Return output tokens by (replica, block of time)."""
    ends = {
        record.replica: np.array(
            [s.completed_ns or 0 for s in run.completed if s.replica == record.replica]
        )
        for record in run.replicas
    }
    if not ends or any(len(values) == 0 for values in ends.values()):
        return np.zeros((len(run.replicas), _BLOCKS))
    begin = min(s.issued_ns for s in run.samples)
    edges = np.linspace(begin, min(v.max() for v in ends.values()) + 1, _BLOCKS + 1)
    rows = []
    for record in run.replicas:
        own = [s for s in run.completed if s.replica == record.replica]
        times = np.array([s.completed_ns for s in own], float)
        weights = np.array([s.output_tokens for s in own], float)
        rows.append(np.histogram(times, edges, weights=weights)[0])
    return np.array(rows)


def _difference_p(blocks: FloatArray) -> float | None:
    """Return the probability of such a difference among equal replicas, or None."""
    if len(blocks) < 2 or not blocks.any():
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
