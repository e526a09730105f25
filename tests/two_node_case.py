"""Makes run folders that realise the two-node report, where it is consistent.

What its figures can and cannot mean: tokens/s of a node is the mean over its samples
of tokens / latency (tokens over busy time would need answers longer than the longest);
a node's samples/s is one over its mean latency, rounded to two digits; the standard
deviation given for jw2 fits no five samples with that minimum, maximum and mean.
"""

from pathlib import Path

from record.folder import RunFolder
from record.structs import DeviceLine, ReplicaRecord, SampleRecord
from tests.run_folder import START_NS, FolderSpec, replica_record, write_folder

LATENCIES_MS = {
    "jw2": [1610, 860, 882, 887, 881],
    "jw3": [1348, 868, 867, 956, 869, 888, 960, 868, 868, 868],
}
TOKENS = {
    "jw2": [27, 31, 32, 32, 32],
    "jw3": [28, 32, 32, 32, 32, 32, 32, 32, 32, 32],
}
PROMPTS = [59, 71, 67, 66, 68, 67, 67, 68, 67, 68]
_GIB = 2**30


def write_two_nodes(path: Path) -> RunFolder:
    """Write the run on both nodes, five samples of jw2 lost."""
    samples = []
    for replica, node in enumerate(LATENCIES_MS):
        begin = START_NS
        for place in range(10):
            seq = 2 * place + replica
            if place < len(LATENCIES_MS[node]):
                record = _sample(seq, node, replica, place, begin)
                begin = record.completed_ns or begin
            else:
                record = _lost(seq, node, replica, place)
            samples.append(record)
    samples.sort(key=lambda s: s.completed_ns or 2**63)
    return write_folder(
        path,
        FolderSpec(
            replicas=2,
            samples=samples,
            records=[_replica(0, "jw2"), _replica(1, "jw3")],
            telemetry=[_memory(0, "jw2"), _memory(1, "jw3")],
            log=_log(20),
        ),
    )


def write_baseline(path: Path) -> RunFolder:
    """Write the run of one GPU: a sample each 1,000 ms, 33.4 tokens each."""
    tokens = [33, 34, 33, 33, 34, 33, 34, 33, 33, 34]
    samples = []
    for place in range(10):
        record = _sample(place, "jw2", 0, 0, START_NS + place * 1_000_000_000)
        record.completed_ns = (record.dispatched_ns or 0) + 1_000_000_000
        record.output_tokens = tokens[place]
        samples.append(record)
    return write_folder(
        path,
        FolderSpec(
            replicas=1,
            samples=samples,
            records=[_replica(0, "jw2")],
            telemetry=[_memory(0, "jw2")],
            log=_log(10),
        ),
    )


def _log(count: int) -> dict[str, object]:
    return {
        "result_validity": "VALID",
        "result_query_count": 1,
        "generated_samples_per_query": count,
        "requested_use_token_latencies": True,
    }


def _sample(seq: int, node: str, replica: int, place: int, begin: int) -> SampleRecord:
    return SampleRecord(
        seq=seq,
        qsl_index=seq,
        node=node,
        replica=replica,
        attempt=1,
        issued_ns=START_NS,
        dispatched_ns=begin,
        first_token_ns=None,
        completed_ns=begin + LATENCIES_MS[node][place] * 1_000_000,
        queue_ns=None,
        prefill_ns=None,
        decode_ns=None,
        prompt_tokens=PROMPTS[place],
        cached_tokens=0,
        output_tokens=TOKENS[node][place],
        finish_reason="stop",
        status="completed",
    )


def _lost(seq: int, node: str, replica: int, place: int) -> SampleRecord:
    record = _sample(seq, node, replica, 0, START_NS)
    record.prompt_tokens = PROMPTS[place]
    record.completed_ns, record.output_tokens = None, 0
    record.finish_reason, record.status = None, "lost"
    return record


def _replica(number: int, node: str) -> ReplicaRecord:
    record = replica_record(number)
    record.node, record.devices = node, ["NVIDIA RTX #0"]
    record.memory_bytes = int(15.83 * _GIB)
    return record


def _memory(replica: int, node: str) -> DeviceLine:
    return DeviceLine(
        t_ns=START_NS,
        node=node,
        replica=replica,
        device="gpu0",
        memory_used_bytes=int(15.83 * _GIB),
        memory_total_bytes=32 * _GIB,
    )
