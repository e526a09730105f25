"""What the page shows, as plain values."""

from msgspec import to_builtins

from record.latency_limits import LatencyLimits
from record.status import Percentiles
from record.structs import EventRecord, Json
from watch.follow import Follower
from watch.histogram import Histograms
from watch.live_run import LiveRun, read_settings

_MOST_EVENTS = 50
ABANDONED = "ended without a verdict; its process is gone"


def page_data(follower: Follower) -> dict[str, Json]:
    """Return the state of the run that is watched, for `/data.json`."""
    run, status = follower.run, follower.run.status
    begin_ns = (status.begin_ns or status.started_ns) if status else _first_ns(run)
    answered = sum(totals.completed for totals in run.totals.values())
    data: dict[str, Json] = {
        "run": run.folder.path.name,
        "about": _about(run),
        "state": "finished" if follower.ended else "running",
        "outcome": None,
        "completed": answered,
        "latencies": _latencies(run),
        "series": run.timeline.series(begin_ns) if run.timeline else {},
        "events": _events(run, begin_ns),
        "replicas": _replicas(run),
        "campaign": to_builtins(follower.campaign) if follower.campaign else None,
        "campaign_left_s": follower.campaign_left_s,
    }
    if status is not None:
        data |= {
            "state": status.state,
            "outcome": status.outcome,
            "completed": max(status.completed, answered),
            "expected": status.expected,
            "in_flight": status.issued - status.completed,
            "running": status.running,
            "fences": status.fences,
            "progress": status.progress,
            "eta_s": status.eta_s,
            "samples_per_s": status.samples_per_s,
            "tokens_per_s": status.tokens_per_s,
            "elapsed_s": (status.updated_ns - begin_ns) / 1e9,
        }
    if follower.abandoned:
        data |= {"state": "finished", "outcome": ABANDONED, "eta_s": None}
    return data


def _first_ns(run: LiveRun) -> int:
    """Return when a run of an earlier version, without a status, began to answer."""
    if run.timeline is None or not run.timeline.bins:
        return 0
    return min(run.timeline.bins) * run.timeline.width_s * 1_000_000_000


def _about(run: LiveRun) -> str:
    settings, status = read_settings(run.folder), run.status
    words = []
    if settings is not None:
        words += [settings.scenario, settings.mode, f"run={settings.kind}"]
    if status is not None:
        words += [f"{len(status.replicas)} replica(s)", f"coordinator on {status.host}"]
        words.append(status.state)
    return ", ".join(words)


def _latencies(run: LiveRun) -> list[dict[str, Json]]:
    status, limits = run.status, run.limits
    found = []
    for name, recent, limit_s, histograms in (
        ("TTFT", status and status.ttft_ms, limits.ttft_s, run.ttft),
        ("TPOT", status and status.tpot_ms, limits.tpot_s, run.tpot),
    ):
        if isinstance(recent, Percentiles):
            found.append(_latency(name, recent, limit_s, histograms, limits))
    return found


def _latency(
    name: str,
    recent: Percentiles,
    limit_s: float | None,
    histograms: Histograms,
    limits: LatencyLimits,
) -> dict[str, Json]:
    share = None if limit_s is None else histograms.share_within(limit_s)
    return {
        "name": name,
        "p50": recent.p50,
        "p99": recent.p99,
        "limit_ms": None if limit_s is None else 1000 * limit_s,
        "percentile": 100 * limits.percentile,
        "share": share,
        "holds": None if share is None else share >= limits.percentile,
    }


def _events(run: LiveRun, begin_ns: int) -> list[dict[str, Json]]:
    """Return the events, newest first; equal ones in a row are one line."""
    shown: list[dict[str, Json]] = []
    counts: list[int] = []
    for event in reversed(run.recent_events):
        line = {
            "kind": event.kind,
            "where": _where(event),
            "cause": event.cause,
            "t_s": round((event.t_ns - begin_ns) / 1e9),
            "samples": "" if event.seq is None else str(event.seq),
        }
        same = ("kind", "where", "cause")
        if shown and all(shown[-1][name] == line[name] for name in same):
            counts[-1] += 1
            shown[-1]["samples"] = f"{counts[-1]} samples"
            continue
        shown.append(line)
        counts.append(1)
    return shown[:_MOST_EVENTS]


def _where(event: EventRecord) -> str:
    node = event.node or ""
    return node if event.replica is None else f"{node}/{event.replica}"


def _replicas(run: LiveRun) -> list[dict[str, Json]]:
    if run.status is None:
        return [
            {"name": f"{node}/{number}", "finished": totals.completed, "kv_used": None}
            for (node, number), totals in run.totals.items()
        ]
    shown = []
    for replica in run.status.replicas:
        engine = run.engines.get((replica.node, replica.replica))
        shown.append(
            to_builtins(replica)
            | {
                "name": f"{replica.node}/{replica.replica}",
                "waiting": engine.waiting if engine else None,
                "kv_used": engine.kv_used if engine else None,
            }
        )
    return shown
