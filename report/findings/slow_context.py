"""A slow place beside its peers, over the span of time in which it was slow."""

from dataclasses import dataclass

import numpy as np

from report.findings.slow import Slow
from report.reading.run import Run
from report.reading.samples import FloatArray, Samples
from report.reading.telemetry import Series, Telemetry
from report.statistics.numbers import bits, known


@dataclass(slots=True, kw_only=True)
class Scene:
    """A slow place and its peers, over the span in which it was slow."""

    run: Run
    slow: Slow
    peers: list[int]
    telemetry: Telemetry
    own_samples: Samples
    peer_samples: Samples

    def devices(self, measure: str) -> tuple[float, float] | None:
        """Return the means of a device measure here and over the peers."""
        return self._means(self.telemetry.devices, measure)

    def hosts(self, measure: str) -> tuple[float, float] | None:
        """Return the means of a host measure here and over the peers."""
        return self._means(self.telemetry.hosts, measure)

    def engines(self, measure: str) -> tuple[float, float] | None:
        """Return the means of an engine measure here and over the peers."""
        return self._means(self.telemetry.engines, measure)

    def throttled(self, mask: int) -> tuple[float, float] | None:
        """Return the shares of readings with one of these reasons, here and there."""
        devices = self.telemetry.devices
        hits = np.where(
            np.isnan(devices.values["throttle_reasons"]),
            np.nan,
            (bits(devices.values["throttle_reasons"]) & mask) > 0,
        )
        return _pair(hits, devices, self.slow.replicas, self.peers)

    def switch_rates(self) -> tuple[float, float] | None:
        """Return involuntary context switches/s, here and the peers' median."""
        hosts = self.telemetry.hosts
        own = [
            r for r in (_rate(hosts, n) for n in self.slow.replicas) if r is not None
        ]
        rest = [r for r in (_rate(hosts, n) for n in self.peers) if r is not None]
        return (float(np.mean(own)), float(np.median(rest))) if own and rest else None

    def _means(self, series: Series, measure: str) -> tuple[float, float] | None:
        return _pair(series.values[measure], series, self.slow.replicas, self.peers)


def scene(run: Run, slow: Slow, all_slow: list[Slow]) -> Scene:
    """Return the slow place with its peers: the replicas that were not slow."""
    bad = {r for other in all_slow for r in other.replicas}
    peers = [r.replica for r in run.replicas if r.replica not in bad]
    if not peers:
        peers = [r.replica for r in run.replicas if r.replica not in slow.replicas]
    begin = run.begin_ns + int(slow.begin_s * 1e9)
    end = run.begin_ns + int(slow.end_s * 1e9)
    done = run.done
    inside = (done.completed >= begin) & (done.completed <= end)
    return Scene(
        run=run,
        slow=slow,
        peers=peers,
        telemetry=run.telemetry.during(begin, end),
        own_samples=done.where(inside & np.isin(done.replica, slow.replicas)),
        peer_samples=done.where(inside & np.isin(done.replica, peers)),
    )


@dataclass(slots=True, kw_only=True)
class Likeness:
    """What a slow place has in common with its peers, over the span."""

    alike: list[str]
    """Measures that differ by no more than `_ALIKE`, with both medians."""
    different: list[str]
    """Measures that differ by more, and by more than their noise."""
    missing: list[str]
    """Measures that were not recorded."""


_ALIKE = 0.03
"""Relative difference of medians up to which a measure is called alike."""
_ERRORS = 3.0
"""Standard errors of the difference that a larger one must exceed."""
_MEMORY = 10.0
"""Readings in a row that count as one: a second is like the one before it."""


def likeness(view: Scene) -> Likeness:
    """Return which measures of a slow place are like those of its peers.

    A measure stands in neither list where its noise does not let the two be told
    apart by `_ALIKE`.
    """
    found = Likeness(alike=[], different=[], missing=[])
    devices, engines = view.telemetry.devices, view.telemetry.engines
    hosts = view.telemetry.hosts
    for name, unit, series, measure in (
        ("SM clock", "MHz", devices, "sm_clock_mhz"),
        ("power", "W", devices, "power_w"),
        ("temperature", "C", devices, "temperature_c"),
        ("utilization", "%", devices, "utilization_pct"),
        ("batch size", "samples", engines, "running"),
        ("processor use", "% of a core", hosts, "process_cpu_pct"),
    ):
        own, rest = (
            known(series.values[measure][np.isin(series.replica, who)])
            for who in (view.slow.replicas, view.peers)
        )
        judge(found, name, unit, own, rest, _MEMORY)
    own_prompts, peer_prompts = (
        samples.prompt_tokens.astype(float)
        for samples in (view.own_samples, view.peer_samples)
    )
    judge(found, "prompt length", "tokens", own_prompts, peer_prompts, 1.0)
    return found


def judge(
    found: Likeness,
    name: str,
    unit: str,
    own: FloatArray,
    rest: FloatArray,
    memory: float,
) -> None:
    """Add a measure to the list that it belongs to, if any."""
    if not len(own) or not len(rest):
        found.missing.append(name)
        return
    here, there = float(np.median(own)), float(np.median(rest))
    error = float(np.hypot(_error(own, memory), _error(rest, memory)))
    text = f"{name} {here:,.4g} against {there:,.4g} {unit}"
    room = _ALIKE * abs(there)
    if abs(here - there) > max(room, _ERRORS * error):
        found.different.append(text)
    elif abs(here - there) <= room and error <= room:
        found.alike.append(text)


def _error(values: FloatArray, memory: float) -> float:
    """Return the standard error of a median of values of which `memory` are alike."""
    deviation = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    return float(1.2533 * deviation / max(1.0, len(values) / memory) ** 0.5)


def _pair(
    values: FloatArray, series: Series, here: list[int], there: list[int]
) -> tuple[float, float] | None:
    own, rest = (
        values[np.isin(series.replica, who) & ~np.isnan(values)]
        for who in (here, there)
    )
    return (float(own.mean()), float(rest.mean())) if len(own) and len(rest) else None


def _rate(hosts: Series, replica: int) -> float | None:
    mine = hosts.replica == replica
    counts, times = hosts.values["involuntary_switches"][mine], hosts.t_ns[mine]
    told = ~np.isnan(counts)
    if told.sum() < 2:
        return None
    counts, times = counts[told], times[told]
    return float((counts[-1] - counts[0]) / max(1e-9, (times[-1] - times[0]) / 1e9))


def mean_of(values: FloatArray) -> float:
    """Return the mean of the known values; NaN where there is none."""
    told = known(values)
    return float(told.mean()) if len(told) else float("nan")
