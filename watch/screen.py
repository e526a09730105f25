"""The status of a run as a line of text, and as a table for a terminal."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from record.status import Percentiles, RunStatus

_COLUMNS = ("replica", "state", "sent", "finished", "in flight", "running", "tokens/s")


def status_line(status: RunStatus) -> str:
    """Return the status as one line, without the time."""
    if status.state == "starting":
        phases = [r.phase for r in status.replicas if r.state not in ("fenced", "lost")]
        counts = [f"{phases.count(p)} {p}" for p in dict.fromkeys(phases)]
        return f"replicas: {', '.join(counts)}"
    done = f"{status.completed}/{status.expected or status.issued} done"
    if status.progress is not None and status.completed < (status.expected or 0):
        done += f" ({status.progress:.0%})"
    parts = [
        done,
        f"{status.issued - status.completed} in flight, {status.running} running",
    ]
    if status.samples_per_s is not None and status.tokens_per_s is not None:
        parts.append(f"{status.samples_per_s:.2f} samples/s")
        parts.append(f"{status.tokens_per_s:.0f} tokens/s")
    if fences := status.fences:
        parts.append(f"{fences} replica{'s' * (fences > 1)} lost")
    parts += _latency("TTFT", status.ttft_ms, 0) + _latency("TPOT", status.tpot_ms, 1)
    if status.eta_s is not None:
        parts.append(f"ETA {status.eta_s:.0f} s")
    return ", ".join(parts)


def _latency(name: str, found: Percentiles | None, digits: int) -> list[str]:
    if found is None:
        return []
    return [f"{name} p50/p99 {found.p50:.{digits}f}/{found.p99:.{digits}f} ms"]


def status_table(status: RunStatus, heading: str) -> Group:
    """Return `heading` over a table of the replicas that take part."""
    table = Table(box=None, pad_edge=False)
    for title in _COLUMNS:
        left = title in ("replica", "state")
        table.add_column(title, justify="left" if left else "right")
    for replica in status.replicas:
        if replica.state in ("fenced", "lost"):
            continue
        counts = (replica.sent, replica.finished, replica.outstanding, replica.running)
        rate = replica.tokens_per_s
        table.add_row(
            f"{replica.node}/{replica.replica}",
            replica.phase,
            *(f"{count:,}" for count in counts),
            "" if rate is None else f"{rate:,.0f}",
        )
    return Group(Text(heading, style="bold"), table)
