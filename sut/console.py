"""What a run prints before and after LoadGen's test."""

import contextlib
import io
import sys

import msgspec
from rich.console import Console
from rich.table import Table

from base.log import logger
from record.folder import RecordError, RunFolder
from record.loadgen_log import read_detail
from record.shared_devices import describe_use, shared_devices
from record.structs import ReplicaRecord, Verdict

_LOG = logger(__name__)

_FIGURES = (
    ("result_samples_per_second", "samples/s", 1.0),
    ("result_tokens_per_second", "tokens/s", 1.0),
    ("result_completed_samples_per_sec", "completed samples/s", 1.0),
    ("result_completed_tokens_per_second", "completed tokens/s", 1.0),
    ("result_first_token_99.00_percentile_latency_ns", "TTFT p99, ms", 1e-6),
    ("result_time_per_output_token_99.00_percentile_ns", "TPOT p99, ms", 1e-6),
    ("result_mean_latency_ns", "mean latency, ms", 1e-6),
    ("result_99.00_percentile_latency_ns", "latency p99, ms", 1e-6),
)


def warn_of_shared_devices(records: list[ReplicaRecord]) -> None:
    """Warn of devices that other processes used before their replica loaded."""
    for record in records:
        for use in shared_devices(record):
            _LOG.warning(
                "replica %d on %s shares its device: %s before it loaded; see"
                " nvidia-smi there",
                record.replica,
                record.node,
                describe_use(use),
            )


def summarize(folder: RunFolder, verdict: Verdict, accuracy: dict[str, float]) -> None:
    """Print the verdict, LoadGen's main figures, and what to open next."""
    text = io.StringIO()
    terminal = sys.stdout is not None and sys.stdout.isatty()
    console = Console(
        file=text, force_terminal=terminal, highlight=False, soft_wrap=True
    )
    color = "green" if verdict.outcome == "passed" else "red"
    console.print(f"[bold {color}]{verdict.outcome}[/] {_marks(verdict)}")
    for check in verdict.failures:
        note = f" ({check.note})" if check.note else ""
        line = f"  {check.name}: {check.value}, limit {check.limit}{note}"
        console.print(line, markup=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right")
    table.add_column()
    for name, value in [*_loadgen_figures(folder), *accuracy.items()]:
        table.add_row(f"{value:,.3f}", name)
    if table.row_count:
        console.print(table)
    if verdict.relaxed:
        relaxed = "; ".join(verdict.relaxed)
        console.print(f"relaxed, so no MLPerf result: {relaxed}", markup=False)
    page = folder / "report.html"
    if page.exists():
        console.print(f"open next: {page}", markup=False)
    # A reader who has gone away must not spoil a run that is done.
    with contextlib.suppress(OSError):
        print(text.getvalue(), end="", flush=True)


def print_json(folder: RunFolder, verdict: Verdict, accuracy: dict[str, float]) -> None:
    """Print what `summarize` prints, for programs: one JSON object."""
    page = folder / "report.html"
    found = {
        "run": str(folder.path),
        "outcome": verdict.outcome,
        "degraded": verdict.degraded,
        "submission_candidate": verdict.submission_candidate,
        "failed_checks": verdict.failures,
        "relaxed": verdict.relaxed,
        "figures": dict([*_loadgen_figures(folder), *accuracy.items()]),
        "report": str(page) if page.exists() else None,
    }
    text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
    with contextlib.suppress(OSError):
        print(text, flush=True)


def _marks(verdict: Verdict) -> str:
    marks = []
    if verdict.degraded:
        marks.append("degraded: a replica was lost or the coordinator was paused")
    if verdict.submission_candidate:
        marks.append("a submission candidate")
    return f"({'; '.join(marks)})" if marks else ""


def _loadgen_figures(folder: RunFolder) -> list[tuple[str, float]]:
    try:
        log = read_detail(folder.detail_log)
    except RecordError:
        return []
    found = [(name, log.number(key), scale) for key, name, scale in _FIGURES]
    return [(name, value * scale) for name, value, scale in found if value is not None]
