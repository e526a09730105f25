"""How long samples took, and in which part of their life."""

import numpy as np

from base.percentiles import loadgen_percentile
from record.json_types import Json
from report.figures import Section, Table, figure, table
from report.reading.run import Run
from report.reading.samples import FloatArray, Samples
from report.statistics.numbers import MS, known, percentile, ratio, rounded

_PERCENTILES = (50, 90, 95, 99, 99.9)
_WAIT = "wait for dispatch"
PARTS = (
    "queue",
    "prefill",
    "decode",
    "rest in the replica",
    "outside the replica",
    _WAIT,
    "issue delay",
)
"""Parts of a sample's life; the first six have colors of their own in every plot."""
_ORDER = "as LoadGen takes it: element floor(n x percentile) in order"
_OUTLIERS = 10
_FROM_ISSUE = " from issue"
_KINDS = (
    ("service", "dispatch to completion"),
    ("latency", "scheduled time to completion, by LoadGen's trace"),
    ("TTFT", "scheduled time to first token, by LoadGen's trace"),
    ("TPOT", "(completion - first token) / (output tokens - 1)"),
    (
        f"latency{_FROM_ISSUE}, TTFT{_FROM_ISSUE}",
        "the same from the issue, where the trace is off: less the issue delay, which"
        " LoadGen counts",
    ),
)
_LOGGED = (
    ("latency", "result_{}_latency_ns", "result_{}_latency_ns"),
    ("TTFT", "result_first_token_{}_latency_ns", "result_first_token_{}_latency_ns"),
    ("TPOT", "result_time_per_output_token_{}_ns", "result_time_to_output_token_{}"),
)
"""Measures of LoadGen's detail log: names of its percentiles, of its extremes."""


def latency(run: Run) -> Section:
    """Return latencies per node, outliers, the parts of a life, and the limits."""
    means = {node: _mean_ms(own.service_ns) for node, own in run.by_node.items()}
    told = [value for value in means.values() if value is not None]
    return {
        "loadgen": _loadgen(run),
        "sample_weighted_mean": figure(
            _mean_ms(run.done.service_ns),
            "ms",
            "mean service latency over all samples, wherever they were answered",
        ),
        "mean_of_node_means": figure(
            rounded(np.mean(told)) if told else None,
            "ms",
            "mean of the nodes' means; differs where nodes answered unequal numbers",
        ),
        "nodes": table(
            [
                ("node", "", "host"),
                ("kind", "", "; ".join(f"{k}: {what}" for k, what in _KINDS)),
                ("samples", "samples", "completed samples with a known value"),
                *((name, "ms", "over these samples") for name in ("min", "mean")),
                *((f"p{p:g}", "ms", _ORDER) for p in _PERCENTILES),
                *((name, "ms", "over these samples") for name in ("max", "std")),
                ("min at", "seq", "the sample"),
                ("max at", "seq", "the sample"),
            ],
            [
                row
                for node, own in run.by_node.items()
                for kind, values in _kinds(run, own)
                if (row := _row(node, kind, own, values)) is not None
            ],
        ),
        "life": _life(run),
        "limits": _limits(run),
        "outliers": _outliers(run),
    }


def _kinds(run: Run, own: Samples) -> list[tuple[str, FloatArray]]:
    kinds = [("service", own.service_ns)]
    if run.streaming:
        delay = _issue_delay(run, own) if run.trace is not None else 0.0
        clock = "" if run.trace is not None else _FROM_ISSUE
        kinds += [
            (f"latency{clock}", own.latency_ns + delay),
            (f"TTFT{clock}", own.ttft_ns + delay),
            ("TPOT", own.tpot_ns),
        ]
    return kinds


def _loadgen(run: Run) -> Table:
    """Return what LoadGen logged of the whole run: the figures of its summary."""
    values = run.log.values
    rows: list[list[Json]] = []
    for kind, ordered, extreme in _LOGGED:
        keys = [
            *(extreme.format(name) for name in ("min", "mean")),
            *(ordered.format(f"{p:.2f}_percentile") for p in _PERCENTILES),
            extreme.format("max"),
        ]
        told = [values.get(key) for key in keys]
        if any(isinstance(value, int | float) for value in told):
            rows.append(
                [
                    kind,
                    *(
                        rounded(value / MS) if isinstance(value, int | float) else None
                        for value in told
                    ),
                ]
            )
    return table(
        [
            (
                "kind",
                "",
                "as LoadGen has it: latency and TTFT begin at the scheduled time,"
                " TPOT is (latency - TTFT) / (output tokens - 1)",
            ),
            *((name, "ms", "over all samples") for name in ("min", "mean")),
            *((f"p{p:g}", "ms", _ORDER) for p in _PERCENTILES),
            ("max", "ms", "over all samples"),
        ],
        rows,
    )


def _row(node: str, kind: str, own: Samples, values: FloatArray) -> list[Json] | None:
    told = known(values) / MS
    if not len(told):
        return None
    figures = [
        told.min(),
        told.mean(),
        *(loadgen_percentile(told, p / 100) for p in _PERCENTILES),
        told.max(),
        told.std(ddof=1) if len(told) > 1 else 0.0,
    ]
    return [
        node,
        kind,
        len(told),
        *(rounded(value) for value in figures),
        int(own.seq[np.nanargmin(values)]),
        int(own.seq[np.nanargmax(values)]),
    ]


def parts_of_life(run: Run, own: Samples) -> dict[str, FloatArray]:
    """Return the parts of the samples' lives in ns, in order; NaN where unknown."""
    inside = own.queue + own.prefill + own.decode
    return {
        "issue delay": _issue_delay(run, own),
        _WAIT: own.wait_ns,
        "queue": own.queue,
        "prefill": own.prefill,
        "decode": own.decode,
        "rest in the replica": own.held - inside,
        "outside the replica": own.way_ns,
    }


def _issue_delay(run: Run, own: Samples) -> FloatArray:
    if run.trace is None:
        return np.full(len(own), np.nan)
    place = np.searchsorted(run.trace.seq, own.seq)
    place = np.minimum(place, len(run.trace.seq) - 1)
    delays = run.trace.issue_delay_ns[place].astype(float)
    return np.where(run.trace.seq[place] == own.seq, delays, np.nan)


def _life(run: Run) -> Table:
    definitions = {
        "issue delay": "scheduled to issued, by LoadGen's trace",
        _WAIT: "issued to handed to a replica",
        "queue": "in the engine, before its prefill",
        "prefill": "in the engine, to the first token",
        "decode": "in the engine, first to last token",
        "rest in the replica": "waiting for the engine's step, sending",
        "outside the replica": "network and messages between dispatch and completion"
        " (with the rest in the replica where that was not recorded)",
    }
    rows: list[list[Json]] = []
    for node, own in run.by_node.items():
        parts = parts_of_life(run, own)
        told = {name: known(values) for name, values in parts.items()}
        # Offline issues all at once: that wait is the run's length, not a cost.
        counted = {k: v for k, v in told.items() if not (run.offline and k == _WAIT)}
        whole = sum(float(values.mean()) for values in counted.values() if len(values))
        rows += [
            [
                node,
                name,
                rounded(values.mean() / MS),
                percentile(values, 50, MS),
                percentile(values, 99, MS),
                ratio(100 * float(values.mean()), whole) if name in counted else None,
                definitions[name],
            ]
            for name, values in told.items()
            if len(values)
        ]
    return table(
        [
            ("node", "", "host"),
            ("part", "", "part of a sample's life, in order"),
            ("mean", "ms", "over completed samples"),
            ("p50", "ms", _ORDER),
            ("p99", "ms", _ORDER),
            ("share", "%", "of the means' sum; Offline: without the wait for dispatch"),
            ("meaning", "", "from when to when"),
        ],
        rows,
    )


def _limits(run: Run) -> Table:
    rows: list[list[Json]] = []
    if run.settings.loadgen_scenario == "Server":
        effective = run.settings.effective
        share = effective.get("server_target_latency_percentile")
        for name, key, values in (
            ("TTFT", "ttft_latency", run.done.ttft_ns),
            ("TPOT", "tpot_latency", run.done.tpot_ns),
        ):
            limit = effective.get(key)
            if not isinstance(share, float) or not limit:
                continue
            found = by_loadgen(run, name, share)
            if found is None:
                found = loadgen_percentile(values, share)
            over = int((known(values) > limit).sum())
            rows.append(
                [
                    name,
                    100 * share,
                    rounded((found or 0) / MS) if found else None,
                    rounded(limit / MS),
                    ratio(100 * (limit - (found or 0)), limit),
                    over,
                ]
            )
    return table(
        [
            ("limit", "", "what is limited"),
            ("percentile", "%", "at which it is judged"),
            (
                "value",
                "ms",
                "LoadGen's figure; where it logged none, from the issue in the same"
                " order",
            ),
            ("allowed", "ms", "the limit in force"),
            ("headroom", "%", "(allowed - value) / allowed"),
            ("over", "samples", "that exceed it"),
        ],
        rows,
    )


def by_loadgen(run: Run, kind: str, share: float) -> float | None:
    """Return a percentile (0 to 1) of the run in ns that LoadGen logged, if it did.

    Args:
        run: the run.
        kind: `latency`, `TTFT` or `TPOT`.
        share: 0.99 for p99.
    """
    names = {name: ordered for name, ordered, _ in _LOGGED}
    key = names[kind].format(f"{100 * share:.2f}_percentile")
    logged = run.log.values.get(key)
    return float(logged) if isinstance(logged, int | float) else None


def _outliers(run: Run) -> Table:
    service = run.done.service_ns
    rows: list[list[Json]] = []
    if len(known(service)) >= 4:
        low, middle, high = np.nanpercentile(service, (25, 50, 75))
        fence = high + 3 * (high - low)
        far = np.flatnonzero(service > fence)
        far = far[np.argsort(-service[far])][:_OUTLIERS]
        for place in far.tolist():
            rows.append(_outlier(run, place, float(middle)))
    return table(
        [
            ("sample", "seq", "in order of issue; the longest first, ten at most"),
            ("node", "", "host"),
            ("replica", "", "its number"),
            ("service", "ms", "beyond the upper quartile by 3 interquartile ranges"),
            ("against the median", "times", "service / median service"),
            ("at", "s", "completion, since the first issue"),
            ("prompt", "tokens", "its length"),
            ("answer", "tokens", "its length"),
            ("attempt", "", "1: the first"),
            ("longest part", "", "of its life, against that part's median"),
        ],
        rows,
    )


def _outlier(run: Run, place: int, middle: float) -> list[Json]:
    one = run.done.where(np.array([place]))
    replica = int(one.replica[0])
    excess = {
        name: float(values[0])
        for name, values in parts_of_life(run, one).items()
        if values[0] == values[0] and name not in (_WAIT, "issue delay")
    }
    longest = max(excess, key=lambda name: excess[name]) if excess else None
    return [
        int(one.seq[0]),
        run.node_of.get(replica),
        replica,
        rounded(one.service_ns[0] / MS),
        rounded(one.service_ns[0] / middle, 3),
        rounded((one.completed[0] - run.begin_ns) / 1e9),
        int(one.prompt_tokens[0]),
        int(one.output_tokens[0]),
        int(one.attempt[0]),
        longest,
    ]


def _mean_ms(values: FloatArray) -> float | None:
    told = known(values)
    return rounded(told.mean() / MS) if len(told) else None
