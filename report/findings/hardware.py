"""Findings on the health of devices and their links, and on the cores near them."""

from collections.abc import Callable, Iterator

from record.devices import DeviceHealth
from report.findings.cores import cores, on_replicas
from report.findings.finding import Found
from report.reading.run import Run
from report.statistics.device_lines import DeviceLines
from report.wording import name_replicas, some

_XIDS = {
    13: "an illegal address or instruction of a kernel",
    31: "a memory access of a kernel outside its pages",
    43: "a kernel that was stopped after a fault",
    48: "a memory error of two bits, which ECC cannot correct",
    62: "a fault of the device's own microcontroller",
    63: "a row of memory was marked to be remapped",
    64: "a row of memory could not be remapped",
    74: "an error of an NVLink",
    79: "the device has fallen off the bus",
    92: "many corrected memory errors",
    94: "an uncorrected memory error that ended one program",
    95: "an uncorrected memory error that may concern all programs",
    119: "the device's GSP does not answer",
    120: "an error of the device's GSP",
}
"""Meaning of common XIDs. Source: NVIDIA, "XID Errors"."""
_BY_PROGRAM = {13, 31, 43}
"""XIDs that a defect of a program causes as well."""


def hardware(run: Run) -> Iterator[Found]:
    """Yield faults and poor states of devices, links and cores.

    A reading that a device does not have says nothing.
    """
    yield from _xids(run)
    lines = DeviceLines(run)
    yield from _corrected(lines)
    yield from _remapped(run)
    yield from _links(lines)
    yield from _pcie(lines)
    yield from _persistence(run)
    yield from cores(run)


def _xids(run: Run) -> Iterator[Found]:
    seen: dict[int, list[int]] = {}
    for record in run.replicas:
        readings = run.telemetry.devices.of(record.replica, "xid")
        for xid in sorted({int(value) for value in readings}):
            seen.setdefault(xid, []).append(record.replica)
    for xid, replicas in seen.items():
        meaning = _XIDS.get(xid, "see NVIDIA's list of XID errors")
        remedy = "Run dcgmi diag -r 3 on the device; replace it if the fault returns."
        if xid in _BY_PROGRAM:
            remedy = "Read the log of the replica: a defect of a program has this"
            remedy += " effect as well. Then run dcgmi diag -r 3 on the device."
        yield on_replicas(
            "xid",
            "critical",
            f"The driver reported XID {xid} on {name_replicas(replicas)}",
            replicas,
            f"XID {xid}: {meaning}.",
            "A fault of the device, its memory or its link, or of a program on it.",
            remedy,
        )


def _rose(lines: DeviceLines, measure: str) -> dict[int, int]:
    """Return by how much a counter rose during the run, by replica."""
    found = {r.replica: lines.rise(r.replica, measure) for r in lines.run.replicas}
    return {replica: rise for replica, rise in found.items() if rise > 0}


def _corrected(lines: DeviceLines) -> Iterator[Found]:
    if rose := _rose(lines, "ecc_corrected"):
        yield on_replicas(
            "ecc.corrected",
            "note",
            f"Corrected memory errors on {name_replicas([*rose])}",
            [*rose],
            f"During the run: {_counts(rose)}.",
            "The memory of the device had errors of one bit, which ECC corrected."
            " Answers are right.",
            "Watch the device: uncorrected errors often follow many corrected ones.",
        )


def _counts(values: dict[int, int]) -> str:
    return some([f"{n:,} on replica {replica}" for replica, n in values.items()])


def _with_health(
    run: Run, test: Callable[[DeviceHealth], bool]
) -> dict[int, list[DeviceHealth]]:
    found = {
        record.replica: [one for one in record.health if test(one)]
        for record in run.replicas
    }
    return {replica: own for replica, own in found.items() if own}


def _remapped(run: Run) -> Iterator[Found]:
    for failed in (True, False):
        bad = _with_health(
            run,
            lambda one, failed=failed: bool(  # type: ignore[misc]
                one.remap_failed if failed else one.remap_pending
            ),
        )
        if bad:
            devices = some([one.device for own in bad.values() for one in own])
            state = "could not be remapped" if failed else "wait to be remapped"
            yield on_replicas(
                "memory.rows",
                "critical" if failed else "warning",
                f"Rows of memory {state} on {name_replicas([*bad])}",
                [*bad],
                f"Before the run, {devices} had rows that {state}.",
                "Memory had uncorrected errors before this run.",
                "Replace the device."
                if failed
                else "Reset the device (nvidia-smi -r), or restart the host.",
            )


def _links(lines: DeviceLines) -> Iterator[Found]:
    if rose := _rose(lines, "nvlink_errors"):
        yield on_replicas(
            "nvlink.errors",
            "warning",
            f"NVLink errors on {name_replicas([*rose])}",
            [*rose],
            f"Replays, recoveries and CRC errors during the run: {_counts(rose)}.",
            "The link sends damaged packets again, which takes time.",
            "Check the seat of the device or the baseboard; nvidia-smi nvlink -e lists"
            " the links.",
        )
    down = _with_health(
        lines.run, lambda one: bool(one.nvlinks_up and one.nvlinks_down)
    )
    if down:
        texts = [
            f"replica {replica}: {one.nvlinks_down} of"
            f" {(one.nvlinks_up or 0) + (one.nvlinks_down or 0)} links of {one.device}"
            for replica, own in down.items()
            for one in own
        ]
        yield on_replicas(
            "nvlink.down",
            "warning",
            f"NVLinks are down on {name_replicas([*down])}",
            [*down],
            f"Not active before the run: {some(texts)}.",
            "A link that does not train reduces the bandwidth between devices.",
            "Compare nvidia-smi nvlink -s with a healthy host of the same kind; restart"
            " the fabric manager, then the host.",
        )
    if rose := _rose(lines, "pcie_replays"):
        yield on_replicas(
            "pcie.replays",
            "note",
            f"PCIe packets were sent again on {name_replicas([*rose])}",
            [*rose],
            f"During the run: {_counts(rose)}.",
            "The link to the host had damaged packets.",
            "Check the riser, the slot and the seat of the device if the number grows.",
        )


def _pcie(lines: DeviceLines) -> Iterator[Found]:
    """Yield links that stay below what device and slot can do, under load."""
    poor: dict[int, str] = {}
    for record in lines.run.replicas:
        for one in record.health:
            seen = [
                lines.values(record.replica, one.device, name, busy=True)
                for name in ("pcie_generation", "pcie_width")
            ]
            most = one.pcie_generation_max, one.pcie_width_max
            if not all(most) or not all(len(values) for values in seen):
                continue
            best = [int(values.max()) for values in seen]
            if best[0] < (most[0] or 0) or best[1] < (most[1] or 0):
                poor[record.replica] = (
                    f"{one.device} of replica {record.replica}: gen{best[0]} x{best[1]}"
                    f" of gen{most[0]} x{most[1]}"
                )
    if poor:
        yield on_replicas(
            "pcie.link",
            "warning",
            f"The PCIe link is below its maximum on {name_replicas([*poor])}",
            [*poor],
            f"Highest link while the device was busy: {some([*poor.values()])}.",
            "The link trained at a lower speed or width than device and slot can do.",
            "Seat the device and its riser again, and check the slot's setting in the"
            " BIOS.",
        )


def _persistence(run: Run) -> Iterator[Found]:
    off = _with_health(run, lambda one: one.persistence_mode is False)
    if off:
        yield on_replicas(
            "persistence",
            "note",
            f"Persistence mode is off on {name_replicas([*off])}",
            [*off],
            "NVML reported it before the run.",
            "The driver unloads the state of an idle device. The next start takes"
            " seconds longer, and settings such as clocks are lost.",
            "Start nvidia-persistenced, or run nvidia-smi -pm 1.",
        )
