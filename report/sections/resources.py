"""The resources section: memory, load, power and arithmetic of the devices."""

from collections.abc import Callable

from record.structs import Json
from report.figures import Column, Section, figure, table
from report.reading.run import Run
from report.reading.samples import FloatArray
from report.reading.telemetry import HARMFUL, POWER_CAP
from report.sections.health import health
from report.statistics.devices import ReplicaDevices
from report.statistics.numbers import bits, gib, ratio, rounded
from report.statistics.physics import (
    DeviceRating,
    precision_bits,
)


def resources(run: Run, ratings: dict[str, DeviceRating]) -> Section:
    """Return memory, load, power and arithmetic of the devices.

    Args:
        run: the run.
        ratings: limits of devices, by words of their names.
    """
    own = [ReplicaDevices(run, record, ratings) for record in run.replicas]
    used = sum(one.memory_used or 0.0 for one in own)
    total = _total_memory(own)
    power = _total_power(own)
    return {
        "memory_used": figure(
            gib(used or None), "GiB", "highest use, summed over all devices"
        ),
        "memory_total": figure(
            gib(total or None), "GiB", "of all devices; on a CPU: of each host"
        ),
        "memory_utilization": figure(
            ratio(100.0 * used, total), "%", "memory used / memory total"
        ),
        "power": figure(
            rounded(power), "W", "mean over the run, summed over all devices"
        ),
        "tokens_per_joule": figure(
            ratio(run.tokens_per_s, power or 0.0),
            "tokens/J",
            "output tokens/s / power of the devices, without hosts and network",
        ),
        "memory": table(_MEMORY, own),
        "load": table(_LOAD, own),
        "health": health(run),
        "arithmetic": table(
            _ARITHMETIC, [one for one in own if one.shape and len(one.done)]
        ),
    }


def _total_memory(own: list[ReplicaDevices]) -> float:
    """Return the bytes of all devices; replicas on one CPU share its host's memory."""
    devices: dict[tuple[str, str], float] = {}
    for one in own:
        on_cpu = one.record.devices in ([], ["cpu"])
        name = "cpu" if on_cpu else ", ".join(one.record.devices)
        devices[one.record.node, name] = one.memory_total or 0.0
    return sum(devices.values())


def _total_power(own: list[ReplicaDevices]) -> float | None:
    watts = [
        float(power.mean()) * len(one.record.devices)
        for one in own
        if len(power := one.device("power_w"))
    ]
    return sum(watts) if watts else None


def _mean(values: FloatArray) -> float | None:
    return rounded(values.mean()) if len(values) else None


def _most(values: FloatArray) -> float | None:
    return rounded(values.max()) if len(values) else None


def _share_of_readings(reasons: FloatArray, mask: int) -> Json:
    given = (bits(reasons) & mask) > 0
    return ratio(100.0 * float(given.sum()), len(reasons))


def _clock_share(one: ReplicaDevices) -> float | None:
    top = one.record.limits[0].sm_clock_mhz if one.record.limits else None
    return ratio(100 * (_mean(one.device("sm_clock_mhz")) or 0), top or 0)


def _tokens_per_joule(one: ReplicaDevices) -> float | None:
    watts = (_mean(one.device("power_w")) or 0) * len(one.record.devices)
    return ratio(float(one.done.output_tokens.sum()), watts * one.run.wall_s)


def _column(
    name: str, unit: str, definition: str, value: Callable[[ReplicaDevices], Json]
) -> Column[ReplicaDevices]:
    return Column(name, unit, definition, value)


_REPLICA = [
    _column("node", "", "host", lambda r: r.record.node),
    _column("replica", "", "number of the replica", lambda r: r.number),
]
_MEMORY = [
    *_REPLICA,
    _column(
        "used",
        "GiB",
        "highest use; on a CPU: by the process",
        lambda r: gib(r.memory_used),
    ),
    _column(
        "device",
        "GiB",
        "memory of its devices; on a CPU: of the host",
        lambda r: gib(r.memory_total),
    ),
    _column(
        "share",
        "%",
        "used / device",
        lambda r: ratio(100 * (r.memory_used or 0.0), r.memory_total or 0.0),
    ),
    _column(
        "weights",
        "GiB",
        "computed from the model's shape and precision",
        lambda r: gib(r.weights),
    ),
    _column(
        "KV cache",
        "GiB",
        "number of tokens that it holds x bytes of a token",
        lambda r: gib(r.cache),
    ),
    Column(
        "rest",
        "GiB",
        "used less weights and KV cache: activations, graphs, runtime",
        lambda r: gib(r.other_memory),
        "activations, graphs, runtime",
    ),
]
_LOAD = [
    *_REPLICA,
    _column(
        "utilization",
        "%",
        "mean over the run and its devices",
        lambda r: _mean(r.device("utilization_pct")),
    ),
    _column("power", "W", "mean of a device", lambda r: _mean(r.device("power_w"))),
    _column("tokens/J", "tokens/J", "output tokens / energy", _tokens_per_joule),
    _column("temperature", "C", "highest", lambda r: _most(r.device("temperature_c"))),
    _column("SM clock", "MHz", "mean", lambda r: _mean(r.device("sm_clock_mhz"))),
    _column(
        "of the highest clock", "%", "SM clock / the device's highest", _clock_share
    ),
    _column(
        "at its power limit",
        "%",
        "readings in which the power limit held the clock down",
        lambda r: _share_of_readings(r.device("throttle_reasons"), POWER_CAP),
    ),
    _column(
        "throttled",
        "%",
        "readings with a thermal or hardware slowdown",
        lambda r: _share_of_readings(r.device("throttle_reasons"), HARMFUL),
    ),
    _column(
        "running",
        "samples",
        "in the batch, mean",
        lambda r: _mean(r.engine("running")),
    ),
    Column(
        "running, most",
        "samples",
        "in the batch, highest",
        lambda r: _most(r.engine("running")),
        "running, highest",
    ),
    _column(
        "waiting",
        "samples",
        "in the engine's queue, mean",
        lambda r: _mean(r.engine("waiting")),
    ),
    Column(
        "KV used",
        "%",
        "of the KV cache, mean",
        lambda r: _mean(100 * r.engine("kv_used")),
        "KV cache used, mean",
    ),
    Column(
        "KV used, most",
        "%",
        "of the KV cache, highest",
        lambda r: _most(100 * r.engine("kv_used")),
        "KV cache used, highest",
    ),
]
_ARITHMETIC = [
    *_REPLICA,
    _column(
        "rated as",
        "",
        "entry in the table of devices; empty if there is none",
        lambda r: r.rating[0] if r.rating else None,
    ),
    _column(
        "precision", "bits", "of the arithmetic", lambda r: precision_bits(r.record)
    ),
    _column(
        "achieved",
        "TFLOP/s",
        "per device while it had work: arithmetic of its samples, computed from the"
        " model's shape / seconds",
        lambda r: None if r.flops is None else rounded(r.flops / 1e12),
    ),
    _column(
        "peak",
        "TFLOP/s",
        "dense, as stated by the vendor",
        lambda r: rounded(r.peak_flops / 1e12) if r.peak_flops else None,
    ),
    Column(
        "of peak",
        "%",
        "achieved / peak",
        lambda r: ratio(100 * (r.flops or 0.0), r.peak_flops or 0.0),
        "share of peak",
    ),
    _column(
        "memory traffic",
        "GB/s",
        "lowest possible per device: weights once per decode step, and the KV cache of"
        " each token; steps = seconds / median decode time per token",
        lambda r: None if r.traffic is None else rounded(r.traffic / 1e9),
    ),
    _column(
        "bandwidth",
        "GB/s",
        "of the device's memory, as stated by the vendor",
        lambda r: rounded(r.rating[1].bytes_per_s / 1e9) if r.rating else None,
    ),
    Column(
        "of bandwidth",
        "%",
        "memory traffic / bandwidth",
        lambda r: ratio(
            100 * (r.traffic or 0.0), r.rating[1].bytes_per_s if r.rating else 0.0
        ),
        "share of bandwidth",
    ),
]
