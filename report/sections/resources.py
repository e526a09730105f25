"""What the devices had, used and achieved."""

import numpy as np

from record.json_types import Json
from record.structs import ReplicaRecord
from report.figures import Section, Table, figure, table
from report.reading.run import Run
from report.reading.samples import FloatArray
from report.reading.telemetry import HARMFUL, POWER_CAP
from report.statistics.busy import busy_s
from report.statistics.numbers import bits, gib, ratio, rounded
from report.statistics.physics import DeviceRating, precision_bits, rating_of, shape_of


def resources(run: Run, ratings: dict[str, DeviceRating]) -> Section:
    """Return memory, load, power and arithmetic of the devices."""
    used = {r.replica: _memory(run, r, "memory_used_bytes") for r in run.replicas}
    total = {r.replica: _capacity(run, r) for r in run.replicas}
    sum_used = sum(v for v in used.values() if v)
    sum_total = _sum_of_capacities(run, total)
    power = _total_power(run)
    return {
        "memory_used": figure(
            gib(sum_used or None), "GiB", "most in use, summed over all devices"
        ),
        "memory_total": figure(
            gib(sum_total or None), "GiB", "of all devices (CPU: of each host)"
        ),
        "memory_utilization": figure(
            ratio(100.0 * sum_used, sum_total), "%", "memory used / memory total"
        ),
        "power": figure(
            rounded(power), "W", "mean over the run, summed over all devices"
        ),
        "tokens_per_joule": figure(
            ratio(run.tokens_per_s, power or 0.0),
            "tokens/J",
            "output tokens/s / power of the devices; hosts and network not counted",
        ),
        "memory": _footprint(run, used, total),
        "load": _load(run),
        "arithmetic": _arithmetic(run, ratings),
        "engines": _engines(run),
    }


def _sum_of_capacities(run: Run, total: dict[int, float | None]) -> float:
    """Return the memory of all devices; replicas on one CPU share its host's."""
    places: dict[tuple[str, str], float] = {}
    for record in run.replicas:
        on_cpu = record.devices in ([], ["cpu"])
        name = "cpu" if on_cpu else ", ".join(record.devices)
        places[record.node, name] = total[record.replica] or 0.0
    return sum(places.values())


def _memory(run: Run, record: ReplicaRecord, measure: str) -> float | None:
    """Return the most of a memory measure, summed over the replica's devices."""
    devices = run.telemetry.devices
    values = devices.values[measure]
    most: dict[str, float] = {}
    for place in np.flatnonzero(devices.replica == record.replica).tolist():
        if values[place] == values[place]:
            name = devices.device[place]
            most[name] = max(float(values[place]), most.get(name, 0.0))
    if not most and measure == "memory_used_bytes":
        return record.memory_bytes
    return sum(most.values()) or None


def _capacity(run: Run, record: ReplicaRecord) -> float | None:
    limit = sum(d.memory_bytes or 0 for d in record.limits)
    return float(limit) if limit else _memory(run, record, "memory_total_bytes")


def _footprint(
    run: Run, used: dict[int, float | None], total: dict[int, float | None]
) -> Table:
    rows: list[list[Json]] = []
    for record in run.replicas:
        mine, shape = used[record.replica], shape_of(record)
        tokens = record.engine.get("kv_cache_tokens")
        weights = shape.weights_bytes if shape else None
        cache = (
            shape.cache_bytes_per_token * tokens
            if shape and isinstance(tokens, int)
            else None
        )
        rest = mine - weights - cache if mine and weights and cache else None
        rows.append(
            [
                record.node,
                record.replica,
                gib(mine),
                gib(total[record.replica]),
                ratio(100 * (mine or 0.0), total[record.replica] or 0.0),
                gib(weights),
                gib(cache),
                gib(rest if rest is not None and rest >= 0 else None),
            ]
        )
    return table(
        [
            ("node", "", "host"),
            ("replica", "", "its number"),
            ("used", "GiB", "most in use (CPU: by the process)"),
            ("device", "GiB", "memory of its devices (CPU: of the host)"),
            ("share", "%", "used / device"),
            ("weights", "GiB", "computed from the model's shape and precision"),
            ("KV cache", "GiB", "tokens that it holds x bytes of a token"),
            ("rest", "GiB", "used less both: activations, graphs, runtime"),
        ],
        rows,
    )


def _load(run: Run) -> Table:
    devices, engines = run.measured.devices, run.measured.engines
    rows: list[list[Json]] = []
    for record in run.replicas:
        own = record.replica
        reasons = devices.of(own, "throttle_reasons")
        top = record.limits[0].sm_clock_mhz if record.limits else None
        clock = _mean(devices.of(own, "sm_clock_mhz"))
        watts = _mean(devices.of(own, "power_w"))
        tokens = float(run.by_replica[own].output_tokens.sum())
        rows.append(
            [
                record.node,
                own,
                _mean(devices.of(own, "utilization_pct")),
                watts,
                ratio(tokens, (watts or 0) * len(record.devices) * run.wall_s),
                _most(devices.of(own, "temperature_c")),
                clock,
                ratio(100 * (clock or 0), top or 0),
                _held(reasons, POWER_CAP),
                _held(reasons, HARMFUL),
                _mean(engines.of(own, "running")),
                _most(engines.of(own, "running")),
                _mean(engines.of(own, "waiting")),
                _percent(_mean(engines.of(own, "kv_used"))),
                _percent(_most(engines.of(own, "kv_used"))),
            ]
        )
    return table(
        [
            ("node", "", "host"),
            ("replica", "", "its number"),
            ("utilization", "%", "mean over the run and its devices"),
            ("power", "W", "mean of a device"),
            ("tokens/J", "tokens/J", "output tokens / energy of its devices"),
            ("temperature", "C", "highest"),
            ("SM clock", "MHz", "mean"),
            ("of the highest clock", "%", "SM clock / the device's highest"),
            ("at its power limit", "%", "readings whose clock the power limit holds"),
            ("throttled", "%", "readings with a thermal or hardware slowdown"),
            ("running", "samples", "in the batch, mean"),
            ("running, most", "samples", "in the batch, most"),
            ("waiting", "samples", "in the engine's queue, mean"),
            ("KV used", "%", "of the KV cache, mean"),
            ("KV used, most", "%", "of the KV cache, most"),
        ],
        rows,
    )


def _held(reasons: FloatArray, mask: int) -> Json:
    """Return the share of readings, in %, that give one of the reasons."""
    given = (bits(reasons) & mask) > 0
    return ratio(100.0 * float(given.sum()), len(reasons))


def _arithmetic(run: Run, ratings: dict[str, DeviceRating]) -> Table:
    rows: list[list[Json]] = []
    for record in run.replicas:
        shape, done = shape_of(record), run.by_replica[record.replica]
        if shape is None or not len(done):
            continue
        seconds, devices = busy_s(done), max(1, len(record.devices))
        flops = shape.flops(done.prompt_tokens, done.output_tokens) / seconds / devices
        later = np.maximum(done.output_tokens - 1, 1)
        step = float(np.nanmedian(done.decode / later)) if _told(done.decode) else 0.0
        steps = seconds * 1e9 / step if step > 0 else 0.0
        moved = shape.bytes_read(done, steps) / seconds / devices if steps else None
        found = rating_of(record.devices[0] if record.devices else "", ratings)
        peak = found[1].flops.get(precision_bits(record)) if found else None
        rows.append(
            [
                record.node,
                record.replica,
                found[0] if found else None,
                precision_bits(record),
                rounded(flops / 1e12),
                rounded(peak / 1e12) if peak else None,
                ratio(100 * flops, peak or 0.0),
                rounded(moved / 1e9) if moved else None,
                rounded(found[1].bytes_per_s / 1e9) if found else None,
                ratio(100 * (moved or 0.0), found[1].bytes_per_s if found else 0.0),
            ]
        )
    return table(
        [
            ("node", "", "host"),
            ("replica", "", "its number"),
            ("rated as", "", "entry in the table of devices; empty: not in it"),
            ("precision", "bits", "of the arithmetic"),
            (
                "achieved",
                "TFLOP/s",
                "per device while it had work: arithmetic of its samples by the model's"
                " shape / seconds",
            ),
            ("peak", "TFLOP/s", "dense, as its maker states it"),
            ("of peak", "%", "achieved / peak"),
            (
                "memory traffic",
                "GB/s",
                "least per device: weights once per decode step and the KV cache of"
                " each token; steps = seconds / median decode time per token",
            ),
            ("bandwidth", "GB/s", "of its memory, as its maker states it"),
            ("of bandwidth", "%", "memory traffic / bandwidth"),
        ],
        rows,
    )


def _engines(run: Run) -> Table:
    names = sorted({key for record in run.replicas for key in record.engine})
    return table(
        [
            ("replica", "", "its number"),
            *((name, "", "engine setting") for name in names),
        ],
        [
            [record.replica, *(record.engine.get(name) for name in names)]
            for record in run.replicas
        ],
    )


def _total_power(run: Run) -> float | None:
    total, known = 0.0, False
    for record in run.replicas:
        watts = run.measured.devices.of(record.replica, "power_w")
        if len(watts):
            total, known = total + float(watts.mean()) * len(record.devices), True
    return total if known else None


def _told(values: FloatArray) -> bool:
    return bool((~np.isnan(values)).any())


def _mean(values: FloatArray) -> float | None:
    return rounded(values.mean()) if len(values) else None


def _most(values: FloatArray) -> float | None:
    return rounded(values.max()) if len(values) else None


def _percent(value: float | None) -> float | None:
    return None if value is None else rounded(100 * value)
