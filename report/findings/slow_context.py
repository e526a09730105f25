"""A slow node or replica and its peers, over the span of time in which it was slow."""

from dataclasses import dataclass

import numpy as np

from report.findings.slowdowns import Slowdown
from report.reading.run import Run
from report.reading.samples import FloatArray, Samples
from report.reading.telemetry import Readings, Telemetry
from report.statistics.numbers import bits, known
from report.wording import capitalized, with_unit


@dataclass(slots=True, kw_only=True)
class SlowContext:
    """What was recorded of a slow node or replica and of its peers, over the span.

    Pairs of values are (mean of the slow replicas, mean of the peers); None if either
    was not recorded.
    """

    run: Run
    slow: Slowdown
    peers: list[int]
    telemetry: Telemetry
    own_samples: Samples
    peer_samples: Samples

    @property
    def it(self) -> str:
        """The pronoun for the slow node or replicas."""
        return "It" if self.slow.single else "They"

    @property
    def its(self) -> str:
        """The possessive for the slow node or replicas."""
        return capitalized(self.slow.its)

    @property
    def were(self) -> str:
        """The verb that goes with the pronoun."""
        return "was" if self.slow.single else "were"

    def devices(self, measure: str) -> tuple[float, float] | None:
        """Return the pair of a measure of devices."""
        return self._means(self.telemetry.devices, measure)

    def hosts(self, measure: str) -> tuple[float, float] | None:
        """Return the pair of a measure of hosts."""
        return self._means(self.telemetry.hosts, measure)

    def engines(self, measure: str) -> tuple[float, float] | None:
        """Return the pair of a measure of engines."""
        return self._means(self.telemetry.engines, measure)

    def throttled(self, mask: int) -> tuple[float, float] | None:
        """Return the pair of the share of readings with one of these reasons."""
        devices = self.telemetry.devices
        hits = np.where(
            np.isnan(devices.values["throttle_reasons"]),
            np.nan,
            (bits(devices.values["throttle_reasons"]) & mask) > 0,
        )
        return _pair(hits, devices, self.slow.replicas, self.peers)

    def switch_rates(self) -> tuple[float, float] | None:
        """Return involuntary context switches/s: the own mean, the peers' median."""
        own, peers = (
            [
                rate
                for replica in replicas
                if (rate := _switch_rate(self.telemetry.hosts, replica)) is not None
            ]
            for replicas in (self.slow.replicas, self.peers)
        )
        if not own or not peers:
            return None
        return float(np.mean(own)), float(np.median(peers))

    def _means(self, readings: Readings, measure: str) -> tuple[float, float] | None:
        values = readings.values[measure]
        return _pair(values, readings, self.slow.replicas, self.peers)


def slow_context(run: Run, slow: Slowdown, all_slow: list[Slowdown]) -> SlowContext:
    """Return the context of a slowdown; its peers are the replicas that were not slow.

    If all replicas were slow, the peers are all other replicas.
    """
    bad = {r for other in all_slow for r in other.replicas}
    peers = [r.replica for r in run.replicas if r.replica not in bad]
    if not peers:
        peers = [r.replica for r in run.replicas if r.replica not in slow.replicas]
    begin = run.begin_ns + int(slow.begin_s * 1e9)
    end = run.begin_ns + int(slow.end_s * 1e9)
    done = run.done
    inside = (done.completed >= begin) & (done.completed <= end)
    return SlowContext(
        run=run,
        slow=slow,
        peers=peers,
        telemetry=run.telemetry.during(begin, end),
        own_samples=done.where(inside & np.isin(done.replica, slow.replicas)),
        peer_samples=done.where(inside & np.isin(done.replica, peers)),
    )


@dataclass(slots=True, kw_only=True)
class PeerComparison:
    """Measures of a slow node or replica compared with its peers, over the span."""

    similar: list[str]
    """Measures whose medians differ by no more than `_SIMILAR`, with both medians."""
    different: list[str]
    """Measures that differ by more than that, and by more than their noise."""
    missing: list[str]
    """Measures that were not recorded."""


_SIMILAR = 0.03
"""Relative difference of medians up to which a measure is called similar."""
_ERRORS = 3.0
"""Standard errors by which a measure must differ to be called different."""
_MEMORY = 10.0
"""Consecutive readings that count as one, since each second resembles the last one."""


def compare_with_peers(context: SlowContext) -> PeerComparison:
    """Return which measures are similar to those of the peers, and which differ.

    A measure is in neither list if its noise hides a difference of `_SIMILAR`.
    """
    found = PeerComparison(similar=[], different=[], missing=[])
    devices, engines = context.telemetry.devices, context.telemetry.engines
    hosts = context.telemetry.hosts
    for name, unit, readings, measure in (
        ("SM clock", "MHz", devices, "sm_clock_mhz"),
        ("power", "W", devices, "power_w"),
        ("temperature", "C", devices, "temperature_c"),
        ("utilization", "%", devices, "utilization_pct"),
        ("batch size", "samples", engines, "running"),
        ("processor use", "% of a core", hosts, "process_cpu_pct"),
    ):
        own, peers = (
            known(readings.values[measure][np.isin(readings.replica, replicas)])
            for replicas in (context.slow.replicas, context.peers)
        )
        classify(found, name, unit, own, peers, _MEMORY)
    own_prompts, peer_prompts = (
        samples.prompt_tokens.astype(float)
        for samples in (context.own_samples, context.peer_samples)
    )
    classify(found, "prompt length", "tokens", own_prompts, peer_prompts, 1.0)
    return found


def classify(
    found: PeerComparison,
    name: str,
    unit: str,
    own: FloatArray,
    peers: FloatArray,
    memory: float,
) -> None:
    """Add a measure to the list of `found` that it belongs to, if any.

    Args:
        found: lists to add to.
        name: name of the measure.
        unit: its unit.
        own: known values of the slow replicas.
        peers: known values of the peers.
        memory: number of consecutive values that count as one.
    """
    if not len(own) or not len(peers):
        found.missing.append(name)
        return
    here, there = float(np.median(own)), float(np.median(peers))
    error = float(np.hypot(_error(own, memory), _error(peers, memory)))
    text = f"{name} {with_unit(f'{here:,.4g}', unit)} (peers {there:,.4g})"
    allowed = _SIMILAR * abs(there)
    if abs(here - there) > max(allowed, _ERRORS * error):
        found.different.append(text)
    elif abs(here - there) <= allowed and error <= allowed:
        found.similar.append(text)


def _error(values: FloatArray, memory: float) -> float:
    """Return the standard error of a median if `memory` values count as one."""
    deviation = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    return float(1.2533 * deviation / max(1.0, len(values) / memory) ** 0.5)


def _pair(
    values: FloatArray, readings: Readings, own: list[int], peers: list[int]
) -> tuple[float, float] | None:
    here, there = (
        values[np.isin(readings.replica, replicas) & ~np.isnan(values)]
        for replicas in (own, peers)
    )
    if not len(here) or not len(there):
        return None
    return float(here.mean()), float(there.mean())


def _switch_rate(hosts: Readings, replica: int) -> float | None:
    mine = hosts.replica == replica
    counts, times = hosts.values["involuntary_switches"][mine], hosts.t_ns[mine]
    recorded = ~np.isnan(counts)
    if recorded.sum() < 2:
        return None
    counts, times = counts[recorded], times[recorded]
    return float((counts[-1] - counts[0]) / max(1e-9, (times[-1] - times[0]) / 1e9))


def mean_of(values: FloatArray) -> float:
    """Return the mean of the known values; NaN if none is known."""
    found = known(values)
    return float(found.mean()) if len(found) else float("nan")
