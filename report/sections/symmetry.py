"""How evenly nodes and replicas worked, and whether a difference is more than noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from record.json_types import Json
from report.figures import Section, figure, table
from report.reading.run import Run
from report.reading.samples import Samples, join
from report.reading.telemetry import Series
from report.statistics.busy import busy_s
from report.statistics.comparison import RATES, Comparison
from report.statistics.noise import SIGNIFICANCE
from report.statistics.numbers import MS, gib, mean, percentile, ratio, rounded

_WORDS = ((1.0, "perfect"), (7.5, "good"), (20.0, "moderate"))
_SEVERE = 7.5
"""Spread beyond noise, in %, from which a status may be worse than good."""
_COLUMNS = [
    ("issued", "samples", "samples that were handed to it last: completed or lost"),
    ("completed", "samples", "samples that it answered"),
    ("success", "%", "completed / issued"),
    ("share given", "%", "of all prompt tokens that were handed out"),
    ("share done", "%", "of all output tokens"),
    (
        "samples/s",
        "samples/s",
        "completed samples / seconds in which it had work, summed over its replicas",
    ),
    ("tokens/s", "tokens/s", "output tokens / the same seconds"),
    (
        "tokens/s per sample",
        "tokens/s",
        "mean over samples of output tokens / service latency",
    ),
    ("service mean", "ms", "service latency: dispatch to completion"),
    ("service p50", "ms", "median of the same"),
    ("service p99", "ms", "99th percentile of the same, as LoadGen orders it"),
    ("TTFT p50", "ms", "issue to first token; empty where nothing is streamed"),
    ("TTFT p99", "ms", "99th percentile of the same"),
    ("TPOT p50", "ms", "(completion - first token) / (output tokens - 1)"),
    ("TPOT p99", "ms", "99th percentile of the same"),
    ("prompt", "tokens", "mean prompt length"),
    ("memory", "GiB", "most memory in use on its devices (CPU: by the process)"),
]

_COMPARED = (
    ("throughput", "samples/s", "samples/s", "samples_per_s"),
    ("tokens/s", "tokens/s", "tokens/s", "tokens_per_s"),
    ("tokens/s per sample", "tokens/s per sample", "tokens/s", "rate"),
    ("service latency", "service mean", "ms", "service"),
    ("TTFT", "TTFT p50", "ms", "ttft"),
    ("TPOT", "TPOT p50", "ms", "tpot"),
    ("memory", "memory", "GiB", None),
)
"""Row, column that it compares, unit, measure that is tested (None: no noise)."""


NOT_TESTED = "not tested"
"""Status of a spread that may be noise or may not: the run is too short to say."""
BALANCED = "set by the balancer"
"""Status of rates under a rate of arrivals: a replica does what it is given."""


def status(spread_pct: float, beyond_noise: bool) -> str:
    """Return the word for a spread; worse than "good" only for more than noise."""
    word = next((w for limit, w in _WORDS if spread_pct < limit), "critical")
    if word in ("moderate", "critical") and not beyond_noise:
        return "good"
    return word


def spread_pct(values: Sequence[float]) -> float | None:
    """Return (max - min) / min in percent; None where one is 0 or there is none."""
    if not values or min(values) <= 0:
        return None
    return (max(values) - min(values)) / min(values) * 100


def symmetry(run: Run, nodes: Comparison, replicas: Comparison) -> Section:
    """Return how evenly the nodes and replicas worked."""
    by_node, by_replica = _rows(run, nodes), _rows(run, replicas)
    return {
        "success_rate": figure(
            ratio(100.0 * len(run.done), run.issued),
            "%",
            "completed samples of those that LoadGen issued",
        ),
        "success_status": figure(
            "critical" if len(run.done) < run.issued or not run.issued else "perfect",
            "",
            "critical where a sample was lost or is not in the record",
        ),
        "method": figure(
            (replicas if run.size > len(run.nodes) else nodes).method,
            "",
            f"how a difference is told from noise; beyond noise: p < {SIGNIFICANCE}",
        ),
        "summary": table(
            [
                ("measure", "", "what is compared"),
                ("between", "", "nodes or replicas"),
                ("least", "", "smallest value, and whose"),
                ("most", "", "largest value, and whose"),
                ("unit", "", "of both"),
                ("spread", "%", "(max - min) / min; success rate: points"),
                ("beyond noise", "", "whether the difference is more than noise"),
                (
                    "p",
                    "",
                    "probability among equals, least over groups, corrected for groups"
                    " and measures",
                ),
                (
                    "status",
                    "",
                    "perfect < 1%, good < 7.5%, moderate < 20%, critical; worse than"
                    f" good only for what is beyond noise; {NOT_TESTED}: the run does"
                    f" not show what is noise; {BALANCED}: under a rate of arrivals a"
                    " replica completes what it is given; success rate: critical as"
                    " soon as a sample is lost",
                ),
            ],
            [
                row
                for comparison, rows in ((nodes, by_node), (replicas, by_replica))
                for row in _summary(comparison, rows)
            ],
        ),
        "nodes": table(
            [("node", "", "host"), ("replicas", "", "on it"), *_COLUMNS],
            [
                [name, len(own), *row]
                for name, own, row in zip(
                    nodes.names, nodes.members, by_node, strict=True
                )
            ],
        ),
        "replicas": table(
            [("node", "", "host"), ("replica", "", "its number"), *_COLUMNS],
            [
                [run.node_of[own[0]], own[0], *row]
                for own, row in zip(replicas.members, by_replica, strict=True)
            ],
        ),
    }


def _rows(run: Run, comparison: Comparison) -> list[list[Json]]:
    given_all = float(run.samples.prompt_tokens.sum())
    done_all = float(run.done.output_tokens.sum())
    memory = _peak_memory(run.telemetry.devices)
    rows = []
    for members in comparison.members:
        parts = [run.by_replica[r] for r in members]
        done = join(parts)
        lost = run.lost.where(np.isin(run.lost.replica, members))
        issued = len(done) + len(lost)
        given = float(done.prompt_tokens.sum() + lost.prompt_tokens.sum())
        rows.append(
            [
                issued,
                len(done),
                ratio(100.0 * len(done), issued),
                ratio(100 * given, given_all),
                ratio(100 * float(done.output_tokens.sum()), done_all),
                rounded(sum(_rate(part, False) for part in parts)),
                rounded(sum(_rate(part, True) for part in parts)),
                mean(done.output_tokens / done.service_ns, 1e-9),
                mean(done.service_ns, MS),
                percentile(done.service_ns, 50, MS),
                percentile(done.service_ns, 99, MS),
                percentile(done.ttft_ns, 50, MS),
                percentile(done.ttft_ns, 99, MS),
                percentile(done.tpot_ns, 50, MS),
                percentile(done.tpot_ns, 99, MS),
                mean(done.prompt_tokens.astype(float)),
                gib(sum(memory.get(r, 0.0) for r in members) or None),
            ]
        )
    return rows


def _rate(done: Samples, tokens: bool) -> float:
    seconds = busy_s(done)
    work = done.output_tokens.sum() if tokens else len(done)
    return float(work) / seconds if seconds else 0.0


def _peak_memory(devices: Series) -> dict[int, float]:
    """Return the most bytes in use on each replica's devices together."""
    peaks: dict[tuple[int, str], float] = {}
    used = devices.values["memory_used_bytes"]
    for replica, device, value in zip(
        devices.replica.tolist(), devices.device, used.tolist(), strict=True
    ):
        if value == value:
            key = (replica, device)
            peaks[key] = max(value, peaks.get(key, 0.0))
    total: dict[int, float] = {}
    for (replica, _), value in peaks.items():
        total[replica] = total.get(replica, 0.0) + value
    return total


@dataclass(slots=True)
class _Extreme:
    least: float
    least_at: str
    most: float
    most_at: str


def _summary(comparison: Comparison, rows: list[list[Json]]) -> list[list[Json]]:
    if len(comparison.members) < 2:
        return []
    level = f"{comparison.level}s"
    names = [name for name, _, _ in _COLUMNS]
    found: list[list[Json]] = [_success(comparison, rows, names.index("success"))]
    given = comparison.run.settings.loadgen_scenario == "Server"
    tested = [
        measure
        for _, _, _, measure in _COMPARED
        if measure
        and not (given and measure in RATES)
        and comparison.difference(measure).tested
    ]
    for label, column, unit, measure in _COMPARED:
        extreme = _extremes(comparison, [row[names.index(column)] for row in rows])
        if extreme is None:
            continue
        spread = spread_pct([extreme.least, extreme.most])
        beyond, p, word = _verdict(comparison, measure, tested, spread)
        if given and measure in RATES:
            word = BALANCED
        found.append(
            [
                label,
                level,
                f"{extreme.least:,.5g} ({extreme.least_at})",
                f"{extreme.most:,.5g} ({extreme.most_at})",
                unit,
                None if spread is None else round(spread, 1),
                beyond,
                p,
                word,
            ]
        )
    return found


def _verdict(
    comparison: Comparison,
    measure: str | None,
    tested: list[str],
    spread: float | None,
) -> tuple[Json, float | None, str]:
    """Return whether a spread is beyond noise, its p, and its status.

    Args:
        comparison: of the groups.
        measure: that is tested; None for what has no noise.
        tested: all measures that are tested beside each other.
        spread: in percent; None where it cannot be computed.
    """
    words = "not comparable" if spread is None else None
    if measure is None:
        return None, None, words or status(spread or 0.0, True)
    if measure not in tested:
        return NOT_TESTED, None, words or NOT_TESTED
    difference = comparison.difference(measure)
    shown = difference.spread_beyond_noise_pct(len(tested))
    p = min(1.0, float(np.nanmin(difference.whole_p)) * len(tested))
    return shown >= 1, rounded(p, 2), words or status(spread or 0.0, shown >= _SEVERE)


def _success(comparison: Comparison, rows: list[list[Json]], column: int) -> list[Json]:
    values = [row[column] for row in rows]
    extreme = _extremes(comparison, values) or _Extreme(0.0, "-", 0.0, "-")
    points = extreme.most - extreme.least
    run = comparison.run
    lost = run.issued > len(run.done) or any((v or 100) < 100 for v in values)
    return [
        "success rate",
        f"{comparison.level}s",
        f"{extreme.least:,.5g} ({extreme.least_at})",
        f"{extreme.most:,.5g} ({extreme.most_at})",
        "%",
        round(points, 1),
        lost,
        None,
        "critical" if lost else "perfect",
    ]


def _extremes(comparison: Comparison, values: list[Json]) -> _Extreme | None:
    known = [
        (float(value), name)
        for value, name in zip(values, comparison.names, strict=True)
        if value is not None
    ]
    if len(known) < 2:
        return None
    least, most = min(known), max(known)
    return _Extreme(least[0], least[1], most[0], most[1])
