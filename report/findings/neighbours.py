"""Devices that other processes were using."""

from collections.abc import Iterator

from record.neighbours import describe_use, shared_devices
from report.findings.finding import Finding, Found, name_replicas, some
from report.reading.run import Run


def neighbours(run: Run, told: set[int]) -> Iterator[Found]:
    """Yield the replicas whose devices were in use, less those that were `told` of."""
    shared = {
        record.replica: use
        for record in run.replicas
        if record.replica not in told and (use := shared_devices(record))
    }
    if not shared:
        return
    uses = [
        f"replica {replica}: {', '.join(describe_use(use) for use in devices)}"
        for replica, devices in shared.items()
    ]
    yield Found(
        finding=Finding(
            code="neighbour",
            severity="warning",
            title=f"Another process was using the devices of"
            f" {name_replicas([*shared])}",
            where=[f"replica {replica}" for replica in shared],
            evidence=f"in use before the replica loaded anything: {some(uses)}",
            cause="figures of a shared device are not those of a free one, even where"
            " the replicas are as fast as each other",
            measure="the same run with these devices free (nvidia-smi lists processes)",
        )
    )
