"""A run as Prometheus metrics. Names end in their base unit, as Prometheus asks.

`docs/watch.md` lists them. Counters come from the files of the run, which only grow, so
they never go back, also where a replica is restarted.
"""

from collections.abc import Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from base.version import VERSION
from record.structs import DeviceLine, EngineLine, HostLine, SettingsRecord
from watch.histogram import Histograms
from watch.live_run import LiveRun, Totals

PREFIX = "mlperf_sut_"
_REPLICA = ("node", "replica")
_DEVICE = ("node", "replica", "device")
_STATES = ("starting", "ready", "fenced", "restarting", "lost")
_COUNTERS: tuple[tuple[str, str, str], ...] = (
    ("requests_completed", "Samples that the replica answered.", "completed"),
    ("requests_lost", "Samples that were open when the run was aborted.", "lost"),
    ("prompt_tokens", "Prompt tokens of answered samples.", "prompt_tokens"),
    ("generation_tokens", "Output tokens of answered samples.", "output_tokens"),
)
"""Name, help and field of `Totals`."""
_ENGINE: tuple[tuple[str, str, str], ...] = (
    ("requests_running", "Requests in the engine's batch.", "running"),
    ("requests_waiting", "Requests waiting in the engine.", "waiting"),
    ("kv_cache_usage_ratio", "Share of the KV cache in use.", "kv_used"),
)
_DEVICE_GAUGES: tuple[tuple[str, str, str, float], ...] = (
    ("device_memory_used_bytes", "Memory in use.", "memory_used_bytes", 1),
    ("device_memory_bytes", "Memory of the device.", "memory_total_bytes", 1),
    (
        "device_utilization_ratio",
        "Share of time with a kernel.",
        "utilization_pct",
        0.01,
    ),
    ("device_power_watts", "Power.", "power_w", 1),
    ("device_temperature_celsius", "Temperature.", "temperature_c", 1),
    ("device_sm_clock_hertz", "Clock of the SMs.", "sm_clock_mhz", 1e6),
    ("device_memory_clock_hertz", "Clock of the memory.", "memory_clock_mhz", 1e6),
    ("device_throttle_reasons", "NVML's bit mask.", "throttle_reasons", 1),
    ("device_last_xid", "NVIDIA's number of the last fault.", "xid", 1),
)
_DEVICE_COUNTERS: tuple[tuple[str, str, str], ...] = (
    ("device_ecc_uncorrected_errors", "Since the driver was loaded.", "ecc_errors"),
    ("device_ecc_corrected_errors", "Since the driver was loaded.", "ecc_corrected"),
    ("device_pcie_replays", "Packets that were sent again.", "pcie_replays"),
    ("device_nvlink_errors", "Replays, recoveries, CRC errors.", "nvlink_errors"),
)
_HOST: tuple[tuple[str, str, str], ...] = (
    ("process_cpu_ratio", "Processor time; 1 is one core.", "process_cpu_pct"),
    ("host_cpu_ratio", "Share of the host's processor time in use.", "host_cpu_pct"),
    ("host_steal_ratio", "Share that the hypervisor gave away.", "steal_pct"),
)


class RunCollector(Collector):
    """Yields the metrics of a run in its current state."""

    def __init__(self, run: LiveRun, settings: SettingsRecord | None) -> None:
        """Show `run`, whose LoadGen settings are `settings`."""
        self._run = run
        self._settings = settings

    def collect(self) -> Iterator[Metric]:
        """Yield every metric that has a value."""
        yield self._build()
        yield self._run_info()
        yield from self._status()
        yield from self._limits()
        yield from _of_totals(self._run.totals)
        for name, text, histograms in (
            ("time_to_first_token_seconds", "TTFT, from issue.", self._run.ttft),
            ("time_per_output_token_seconds", "TPOT.", self._run.tpot),
            ("request_latency_seconds", "From issue to the end.", self._run.latency),
        ):
            yield from _histogram(name, text, histograms, list(self._run.totals))
        yield from _engines(self._run.engines)
        yield from _devices(self._run.devices)
        yield from _hosts(self._run.hosts)
        yield self._events()

    def _build(self) -> Metric:
        return InfoMetricFamily(
            f"{PREFIX}build", "This package.", value={"version": VERSION}
        )

    def _run_info(self) -> Metric:
        labels = {"run": self._run.folder.path.name}
        if self._settings is not None:
            for name in ("scenario", "mode", "kind", "benchmark", "loadgen_model"):
                labels[name] = str(getattr(self._settings, name))
        return InfoMetricFamily(f"{PREFIX}run", "The run.", value=labels)

    def _status(self) -> Iterator[Metric]:
        status = self._run.status
        if status is None:
            return
        yield _gauge("run_start_time_seconds", "Unix time.", status.started_ns / 1e9)
        yield _gauge(
            "status_timestamp_seconds",
            "Unix time of the status that is shown.",
            status.updated_ns / 1e9,
        )
        states = GaugeMetricFamily(
            f"{PREFIX}run_state", "1 for the state of the run.", labels=("state",)
        )
        for name in ("starting", "running", "finished"):
            states.add_metric((name,), float(status.state == name))
        yield states
        issued = CounterMetricFamily(
            f"{PREFIX}requests_issued", "Samples that LoadGen issued.", labels=()
        )
        issued.add_metric((), status.issued)
        yield issued
        for name, text, value in (
            ("requests_expected", "Samples that LoadGen will issue.", status.expected),
            (
                "requests_in_flight",
                "Issued, not answered.",
                status.issued - status.completed,
            ),
            ("requests_undispatched", "Samples that no replica has.", status.waiting),
            ("run_progress_ratio", "Share of the work done.", status.progress),
            ("run_remaining_seconds", "Estimate of the time left.", status.eta_s),
        ):
            if value is not None:
                yield _gauge(name, text, value)
        state = GaugeMetricFamily(
            f"{PREFIX}replica_state",
            "1 for the state of the replica.",
            labels=(*_REPLICA, "state"),
        )
        outstanding = GaugeMetricFamily(
            f"{PREFIX}requests_outstanding",
            "Samples that the replica has.",
            labels=_REPLICA,
        )
        for replica in status.replicas:
            key = (replica.node, str(replica.replica))
            for name in _STATES:
                state.add_metric((*key, name), float(replica.state == name))
            outstanding.add_metric(key, replica.outstanding)
        yield from (state, outstanding)

    def _limits(self) -> Iterator[Metric]:
        limits = self._run.limits
        limit = GaugeMetricFamily(
            f"{PREFIX}latency_limit_seconds",
            "Limit of the latency at `percentile`.",
            labels=("latency", "percentile"),
        )
        percentile = f"{100 * limits.percentile:g}"
        for name, value in (("ttft", limits.ttft_s), ("tpot", limits.tpot_s)):
            if value is not None:
                limit.add_metric((name, percentile), value)
        if limit.samples:
            yield limit

    def _events(self) -> Metric:
        events = CounterMetricFamily(
            f"{PREFIX}events",
            "Faults, and reactions to them.",
            labels=(*_REPLICA, "kind"),
        )
        # A rule on a fault needs a series before the first one.
        for kind in ("fence", "retry"):
            events.add_metric(("", "", kind), self._run.events[kind, "", -1])
        for (kind, node, number), count in self._run.events.items():
            if node or number >= 0 or kind not in ("fence", "retry"):
                events.add_metric((*_replica((node, number)), kind), count)
        return events


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}{name}", text, value=value)


def _replica(key: tuple[str, int | None]) -> tuple[str, str]:
    node, number = key
    return node, "" if number is None or number < 0 else str(number)


def _of_totals(totals: dict[tuple[str, int], Totals]) -> Iterator[Metric]:
    for name, text, attribute in _COUNTERS:
        family = CounterMetricFamily(f"{PREFIX}{name}", text, labels=_REPLICA)
        for key, found in totals.items():
            family.add_metric(_replica(key), getattr(found, attribute))
        yield family


def _histogram(
    name: str, text: str, histograms: Histograms, keys: Sequence[tuple[str, int]]
) -> Iterator[Metric]:
    """Yield the histograms of all replicas that have values."""
    family = HistogramMetricFamily(f"{PREFIX}{name}", text, labels=_REPLICA)
    bounds = [*map(str, histograms.bounds.tolist()), "+Inf"]
    for key, counts, total in zip(
        keys, histograms.counts.cumsum(axis=1), histograms.sums, strict=False
    ):
        if counts[-1]:
            buckets = list(zip(bounds, counts.tolist(), strict=True))
            family.add_metric(_replica(key), buckets, float(total))
    if family.samples:
        yield family


def _engines(lines: dict[tuple[str, int], EngineLine]) -> Iterator[Metric]:
    for name, text, attribute in _ENGINE:
        family = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=_REPLICA)
        for key, line in lines.items():
            value = getattr(line, attribute)
            if value is not None:
                family.add_metric(_replica(key), value)
        yield family


def _devices(lines: dict[tuple[str, int, str], DeviceLine]) -> Iterator[Metric]:
    families: list[tuple[Metric, str, float]] = [
        (GaugeMetricFamily(f"{PREFIX}{name}", text, labels=_DEVICE), attribute, scale)
        for name, text, attribute, scale in _DEVICE_GAUGES
    ]
    families += [
        (CounterMetricFamily(f"{PREFIX}{name}", text, labels=_DEVICE), attribute, 1)
        for name, text, attribute in _DEVICE_COUNTERS
    ]
    for family, attribute, scale in families:
        for (node, replica, device), line in lines.items():
            value = getattr(line, attribute)
            if value is not None:
                family.add_metric((node, str(replica), device), value * scale)  # type: ignore[attr-defined]
        if family.samples:
            yield family


def _hosts(lines: dict[tuple[str, int | None], HostLine]) -> Iterator[Metric]:
    for name, text, attribute in _HOST:
        family = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=_REPLICA)
        for key, line in lines.items():
            value = getattr(line, attribute)
            if value is not None:
                family.add_metric(_replica(key), value / 100)
        if family.samples:
            yield family
