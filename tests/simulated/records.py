"""What a run of a simulated cluster records."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from record.devices import DeviceLimits, DeviceUse
from record.structs import (
    DeviceLine,
    EngineLine,
    HostLine,
    ReplicaRecord,
    SampleRecord,
    TelemetryLine,
)
from tests.run_folder import START_NS
from tests.simulated.cluster import TOKENS, Cluster, Fault
from tests.simulated.replica import Item, Replica

_BASE_CLOCK = 1980
WAYSIDE_S = 0.0004


def replace_lost(record: SampleRecord) -> SampleRecord:
    """Return the sample as lost."""
    record.status, record.completed_ns, record.output_tokens = "lost", None, 0
    record.finish_reason = record.queue_ns = record.prefill_ns = None
    record.decode_ns = record.residence_ns = None
    return record


def completed(
    cluster: Cluster, item: Item, replica: Replica, end: float
) -> SampleRecord:
    streaming = cluster.scenario != "offline"
    back = replica.fault.way_s / 2 + WAYSIDE_S / 2
    back *= float(replica.rng.lognormal(0, 0.3))

    def at(seconds: float) -> int:
        return START_NS + int(seconds * 1e9)

    return SampleRecord(
        seq=item.seq,
        qsl_index=item.seq % 13368,
        node=node_name(cluster, replica.number),
        replica=replica.number,
        attempt=item.attempt,
        issued_ns=at(item.issued),
        dispatched_ns=at(item.dispatched),
        first_token_ns=at(item.first + back) if streaming else None,
        completed_ns=at(end + back),
        queue_ns=int((item.scheduled - item.arrived) * 1e9),
        prefill_ns=int((item.first - item.scheduled) * 1e9),
        decode_ns=int((end - item.first) * 1e9),
        residence_ns=int((end - item.arrived) * 1e9),
        prompt_tokens=item.prompt,
        cached_tokens=0,
        output_tokens=item.output,
        finish_reason="length" if item.output == TOKENS else "stop",
        status="completed",
    )


def node_name(cluster: Cluster, replica: int) -> str:
    return f"node{replica // cluster.per_node + 1:02d}"


def record_of(
    cluster: Cluster, replica: int, rng: np.random.Generator
) -> ReplicaRecord:
    warm = 0.9 * float(rng.lognormal(0, 0.05))
    fault = cluster.faults.get(replica, Fault())
    cold = fault.cold_s > 0
    return ReplicaRecord(
        replica=replica,
        node=node_name(cluster, replica),
        pid=1000 + replica,
        devices=["NVIDIA L40S #0"],
        cpus=[replica],
        versions={"python": fault.python, "vllm": "0.32.0"},
        model={
            "layers": 32,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "attention_heads": 32,
            "kv_heads": 8,
            "vocab_size": 128256,
            "dtype": "bfloat16",
        },
        engine={"max_num_seqs": cluster.max_seqs, "kv_cache_tokens": 150_000},
        memory_bytes=40 * 2**30,
        load_s=60.0 + float(rng.normal(0, 2)),
        compile_s=25.0,
        warmup_s=8.0,
        first_request_s=warm * (3.0 if cold else 1.6),
        last_request_s=warm,
        limits=[
            DeviceLimits(
                device="gpu0",
                memory_bytes=48 * 2**30,
                sm_clock_mhz=2520,
                power_w=fault.power_w,
                link="PCIe gen4 x16",
            )
        ],
        before=[
            DeviceUse(device="gpu0", memory_used_bytes=724_369_408, utilization_pct=31)
            if fault.neighbor
            else DeviceUse(
                device="gpu0", memory_used_bytes=fault.held_bytes, utilization_pct=0
            )
        ],
    )


def telemetry_of(
    cluster: Cluster,
    replicas: list[Replica],
    rng: np.random.Generator,
    wall_s: float,
) -> Iterator[TelemetryLine]:
    for replica in replicas:
        fault, switches = replica.fault, 0
        times = np.array([t for t, _, _ in replica.trail] or [0.0])
        for second in range(int(wall_s)):
            t_ns = START_NS + int((second + rng.random() * 0.1) * 1e9)
            place = min(int(np.searchsorted(times, second)), len(times) - 1)
            if replica.dead and second > times[-1]:
                break
            _, running, waiting = replica.trail[place]
            who: dict[str, Any] = {
                "t_ns": t_ns,
                "node": node_name(cluster, replica.number),
            }
            hot = (
                fault.throttled_from is not None
                and second > fault.throttled_from * cluster.minutes * 60
            )
            strength = cluster.strength(fault, second)
            slower = 1 - (1 - fault.clock) * strength
            clock = _BASE_CLOCK * slower * (0.76 if hot else 1.0)
            yield EngineLine(
                **who,
                replica=replica.number,
                running=running,
                waiting=waiting,
                kv_used=min(1.0, running / cluster.max_seqs * 0.6),
            )
            yield DeviceLine(
                **who,
                replica=replica.number,
                device="gpu0",
                memory_used_bytes=40 * 2**30 + int(rng.normal(0, 2**24)),
                memory_total_bytes=48 * 2**30,
                utilization_pct=float(np.clip(rng.normal(96, 3), 0, 100)),
                power_w=float(rng.normal(300 * slower * (0.8 if hot else 1), 12)),
                temperature_c=float(rng.normal(88 if hot else 66, 1.5)),
                sm_clock_mhz=int(rng.normal(clock, 12)),
                memory_clock_mhz=9001,
                throttle_reasons=0x20
                if hot and rng.random() < 0.9
                else 4 * int(rng.random() < 0.3),
                ecc_errors=0,
            )
            calm = float(rng.lognormal(np.log(4), 0.8))
            switches += int(calm + fault.contended * rng.lognormal(np.log(2000), 0.4))
            yield HostLine(
                **who,
                replica=replica.number,
                process_cpu_pct=float(rng.normal(95, 4)),
                host_cpu_pct=float(
                    np.clip(
                        rng.normal(30 + 60 * min(1, fault.contended * 4), 8), 0, 100
                    )
                ),
                steal_pct=float(abs(rng.normal(0, 0.1))),
                involuntary_switches=switches,
            )
