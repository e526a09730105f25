"""The measures by which two configurations are compared, each one number per run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from base.percentiles import loadgen_percentile
from report.reading.run import Run
from report.reading.samples import FloatArray
from report.statistics.breakdown import logged_percentile
from report.statistics.numbers import MS, known

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure of a run."""

    name: str
    unit: str
    better: Better
    definition: str
    value: Callable[[Run], float | None]
    """None if the run did not record it."""


def measures(runs: Sequence[Run]) -> list[Measure]:
    """Return the measures that suit the scenario of `runs`; the main one first."""
    scenario = runs[0].settings.loadgen_scenario
    if runs[0].settings.mode == "accuracy":
        return [_rouge(name) for name in ("rougeL", "rouge1", "rouge2", "rougeLsum")]
    latency = _latencies(runs, scenario)
    main = {
        "Server": ["TTFT p99"],
        "SingleStream": ["latency p90"],
    }.get(scenario, [])
    found = [*_throughput(), *latency, *_ENERGY]
    return sorted(found, key=lambda one: one.name not in main)


def _throughput() -> list[Measure]:
    return [
        Measure(
            name="throughput",
            unit="tokens/s",
            better="higher",
            definition="output tokens of completed samples / first issue to last"
            " completion",
            value=lambda run: run.tokens_per_s or None,
        ),
        Measure(
            name="samples",
            unit="samples/s",
            better="higher",
            definition="completed samples / the same seconds",
            value=lambda run: run.samples_per_s or None,
        ),
    ]


def _latencies(runs: Sequence[Run], scenario: str) -> list[Measure]:
    found = [
        _mean(
            "service latency mean",
            "dispatch to completion, mean",
            lambda run: run.done.service_ns,
        )
    ]
    if scenario != "Offline":
        shares = (0.5, 0.9, 0.99, 0.999) if scenario == "Server" else (0.5, 0.9, 0.99)
        found += [_percentile("latency", share) for share in shares]
    if all(run.streaming for run in runs):
        found += [
            _percentile(kind, share)
            for kind in ("TTFT", "TPOT")
            for share in (0.5, 0.9, 0.99)
        ]
    return found


def _mean(name: str, definition: str, values: Callable[[Run], FloatArray]) -> Measure:
    def value(run: Run) -> float | None:
        own = known(values(run))
        return float(own.mean()) / MS if len(own) else None

    return Measure(
        name=name, unit="ms", better="lower", definition=definition, value=value
    )


_VALUES: dict[str, Callable[[Run], FloatArray]] = {
    "latency": lambda run: run.done.latency_ns,
    "TTFT": lambda run: run.done.ttft_ns,
    "TPOT": lambda run: run.done.tpot_ns,
}


def _percentile(kind: str, share: float) -> Measure:
    def value(run: Run) -> float | None:
        found = logged_percentile(run, kind, share)
        if found is None:
            found = loadgen_percentile(_VALUES[kind](run), share)
        return None if found is None else found / MS

    return Measure(
        name=f"{kind} p{100 * share:g}",
        unit="ms",
        better="lower",
        definition="as logged by LoadGen; else from the issue, element"
        " floor(n x percentile) in order",
        value=value,
    )


def _power_w(run: Run) -> float | None:
    """Return the mean power of all devices; None if a replica has no reading."""
    readings = run.measured.devices
    watts = readings.values["power_w"]
    lines = np.flatnonzero(~np.isnan(watts))
    # Replicas may share a device, which is counted once.
    by_device: dict[tuple[str, str], list[float]] = {}
    for line in lines.tolist():
        node = run.node_of.get(int(readings.replica[line]), "")
        by_device.setdefault((node, readings.device[line]), []).append(watts[line])
    if set(run.node_of) - set(readings.replica[lines].tolist()):
        return None
    return sum(float(np.mean(own)) for own in by_device.values()) or None


def _tokens_per_j(run: Run) -> float | None:
    power = _power_w(run)
    return None if power is None else run.tokens_per_s / power or None


_ENERGY = [
    Measure(
        name="power",
        unit="W",
        better="lower",
        definition="mean of the readings of each device over the run, summed over"
        " devices; not an MLPerf power measurement",
        value=_power_w,
    ),
    Measure(
        name="tokens per joule",
        unit="tokens/J",
        better="higher",
        definition="throughput / power of the devices",
        value=_tokens_per_j,
    ),
]


def _rouge(name: str) -> Measure:
    def value(run: Run) -> float | None:
        return None if run.accuracy is None else run.accuracy.score(name)

    return Measure(
        name=name,
        unit="%",
        better="higher",
        definition=f"mean {name} F-measure over samples, of accuracy.json",
        value=value,
    )
