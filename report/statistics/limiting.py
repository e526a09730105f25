"""What limits the throughput of an Offline run, as far as the record shows it."""

from dataclasses import dataclass

import numpy as np

from report.reading.run import Run
from report.statistics.batches import SMALL, batch_fill, batches
from report.statistics.busy import IDLE, idle_time
from report.statistics.devices import ReplicaDevices
from report.statistics.physics import DeviceRating

_NEAR_PEAK = 0.6
"""Share of a device's peak from which the device limits the run, not the engine."""


@dataclass(slots=True, kw_only=True)
class Limiting:
    """What limits a run."""

    name: str
    evidence: str


def limiting(run: Run, ratings: dict[str, DeviceRating]) -> Limiting | None:
    """Return what limits the throughput of a run; None if nothing was recorded.

    Idle replicas come first, then batches that are not full. With full batches it is
    the device, if it is near its peak arithmetic or memory bandwidth, else the engine.
    """
    if not len(run.done):
        return None
    idle = idle_time(run)
    if idle is not None and idle.share >= IDLE:
        return Limiting(
            name="idle replicas",
            evidence=f"replicas had no work for {idle.share:.0%} of the run",
        )
    fill = batch_fill(run)
    if not fill:
        return _device(run, ratings, "")
    own = batches(run, fill)
    filled = f"batches were {own.filled:.0%} full"
    if own.filled >= SMALL:
        return _device(run, ratings, filled)
    if own.full_cache > 0.5:
        return Limiting(
            name="KV cache",
            evidence=f"{filled}; it was full in {own.full_cache:.0%} of readings",
        )
    if own.no_waiting > 0.5:
        return Limiting(
            name="supply of samples",
            evidence=f"{filled}; no sample waited in the engine in"
            f" {own.no_waiting:.0%} of readings",
        )
    return Limiting(
        name="prompt tokens per step",
        evidence=f"{filled}; samples waited for their prefill",
    )


def _device(run: Run, ratings: dict[str, DeviceRating], filled: str) -> Limiting | None:
    own = [ReplicaDevices(run, record, ratings) for record in run.replicas]
    compute = [
        one.flops / one.peak_flops for one in own if one.flops and one.peak_flops
    ]
    traffic = [
        one.traffic / one.rating[1].bytes_per_s
        for one in own
        if one.traffic and one.rating
    ]
    shares = {
        name: float(np.mean(values))
        for name, values in (("arithmetic", compute), ("memory bandwidth", traffic))
        if values
    }
    if not shares:
        if not filled:
            return None
        return Limiting(
            name="engine speed", evidence=f"{filled}; the device's limits are unknown"
        )
    text = ", ".join(f"{share:.0%} of peak {name}" for name, share in shares.items())
    highest = max(shares, key=lambda name: shares[name])
    return Limiting(
        name=highest if shares[highest] >= _NEAR_PEAK else "engine speed",
        evidence=f"{filled}; {text}" if filled else text,
    )
