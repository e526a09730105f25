"""A slow place beside its peers, over the span of time in which it was slow."""

from dataclasses import dataclass

import numpy as np

from report.findings.slow import Slow
from report.numbers import bits
from report.run import Run
from report.samples import FloatArray, Samples
from report.telemetry import HARMFUL, Series, Telemetry


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


def compared(view: Scene) -> tuple[list[str], list[str]]:
    """Return what was compared with the peers, and what was not recorded."""
    known = {
        "clocks": view.devices("sm_clock_mhz"),
        "throttle reasons": view.throttled(HARMFUL),
        "power": view.devices("power_w"),
        "temperature": view.devices("temperature_c"),
        "context switches": view.switch_rates(),
        "batch size": view.engines("running"),
        "time in the replica": None
        if np.isnan(view.own_samples.held).all()
        else (0.0, 0.0),
    }
    return (
        ["prompt lengths", *(name for name, pair in known.items() if pair)],
        [name for name, pair in known.items() if not pair],
    )


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
    known = ~np.isnan(counts)
    if known.sum() < 2:
        return None
    counts, times = counts[known], times[known]
    return float((counts[-1] - counts[0]) / max(1e-9, (times[-1] - times[0]) / 1e9))


def mean_of(values: FloatArray) -> float:
    """Return the mean of the known values; NaN where there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
