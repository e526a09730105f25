"""The ten sections of report.json, each a function of a run."""

import numpy as np

from record.json_types import Json
from report.figures import Figure, Table, figure, table
from report.run import FloatArray, Run, service_ms, tpot_ms, ttft_ms
from report.symmetry import replica_table, throughput_symmetry

Section = dict[str, Figure | Table]
_PERCENTILES = (50, 90, 95, 99, 99.9)


def configuration(run: Run) -> Section:
    """Return what ran, on what, under which settings."""
    settings, config = run.settings, run.config
    prompts = np.array([s.prompt_tokens for s in run.samples], float)
    devices = sorted({d for record in run.replicas for d in record.devices})
    versions = run.replicas[0].versions if run.replicas else {}
    effective: list[list[Json]] = [
        [name, settings.effective[name], rule]
        for name, rule in sorted(settings.rules.items())
    ]
    return {
        "model": figure(config.model.name, "", "model that the replicas served"),
        "dataset": figure(config.dataset.name, "", "samples behind the QSL"),
        "scenario": figure(
            f"{settings.benchmark} {settings.scenario}, {settings.mode},"
            f" run={settings.kind}",
            "",
            "benchmark suite, scenario, mode and strictness",
        ),
        "nodes": figure(len({r.node for r in run.replicas}), "nodes", "hosts"),
        "replicas": figure(len(run.replicas), "replicas", "engines, one process each"),
        "devices": figure(", ".join(devices), "", "devices of the replicas"),
        "balancer": figure(
            config.cluster.balancer or "the default of the scenario",
            "",
            "choice of the replica",
        ),
        "versions": figure(
            ", ".join(f"{k} {v}" for k, v in versions.items()), "", "of replica 0"
        ),
        "prompt_tokens": _lengths(prompts, "prompt length of the issued samples"),
        "settings": table(
            [
                ("setting", "", "LoadGen's TestSettings attribute"),
                ("effective", "", "value in this run"),
                ("rule", "", "value that MLPerf's rules ask for"),
            ],
            effective,
        ),
    }


def scaling(run: Run) -> Section:
    """Return throughput of this one size; efficiency needs runs of several sizes."""
    tokens = sum(s.output_tokens for s in run.completed)
    wall_s = run.wall_s
    return {
        "replicas": figure(len(run.replicas), "replicas", "size of this run"),
        "samples_per_s": figure(
            _rate(len(run.completed), wall_s),
            "samples/s",
            "completed samples / seconds from first issue to last completion",
        ),
        "tokens_per_s": figure(
            _rate(tokens, wall_s), "tokens/s", "output tokens / the same seconds"
        ),
        "efficiency": figure(
            None, "%", "needs a run with one replica to compare with: not measured here"
        ),
    }


def symmetry(run: Run) -> Section:
    """Return how evenly the replicas worked."""
    return {"replicas": replica_table(run), **throughput_symmetry(run)}


def resources(run: Run) -> Section:
    """Return what the replicas' engines were given."""
    names = sorted({key for record in run.replicas for key in record.engine})
    return {
        "engines": table(
            [
                ("replica", "", "number of the replica"),
                ("device", "", "its devices"),
                ("cores", "", "cores it is pinned to"),
                *((name, "", "engine setting") for name in names),
            ],
            [
                [
                    record.replica,
                    ", ".join(record.devices),
                    ",".join(str(c) for c in record.cpus),
                    *(record.engine.get(name) for name in names),
                ]
                for record in run.replicas
            ],
        )
    }


def latency(run: Run) -> Section:
    """Return latencies per node."""
    rows: list[list[Json]] = []
    for node in sorted({record.node for record in run.replicas}):
        done = [s for s in run.completed if s.node == node]
        kinds = (
            ("service", service_ms(done)),
            ("TTFT", ttft_ms(done)),
            ("TPOT", tpot_ms(done)),
        )
        rows += [[node, kind, *_spread(v)] for kind, v in kinds if len(v)]
    definition = "over completed samples of the node"
    return {
        "nodes": table(
            [
                ("node", "", "host"),
                (
                    "kind",
                    "",
                    "service: dispatch to completion; TTFT: issue to first"
                    " token; TPOT: per output token after the first",
                ),
                *((name, "ms", definition) for name in ("min", "mean")),
                *((f"p{p:g}", "ms", definition) for p in _PERCENTILES),
                *((name, "ms", definition) for name in ("max", "std")),
            ],
            rows,
        )
    }


def tokens(run: Run) -> Section:
    """Return output tokens, in all and per sample."""
    lengths = np.array([s.output_tokens for s in run.completed], float)
    ended = [s.finish_reason for s in run.completed]
    return {
        "output_tokens": figure(int(lengths.sum()), "tokens", "of completed samples"),
        "tokens_per_sample": _lengths(lengths, "answer length; the limit is 128"),
        "ended_by_length": figure(
            _rate(100 * ended.count("length"), len(ended)),
            "%",
            "answers cut at the limit, of all",
        ),
    }


def cold_start(run: Run) -> Section:
    """Return what starting the replicas took."""
    return {
        "replicas": table(
            [
                ("replica", "", "number of the replica"),
                ("load", "s", "building the engine, weights and compilation included"),
                ("compile", "s", "compilation alone, where the engine tells"),
                ("warm-up", "s", "all warm-up requests"),
                ("first request", "s", "latency of the first warm-up request"),
                ("last request", "s", "latency of the last one, of the same shape"),
                ("cold penalty", "%", "(first - last) / last"),
            ],
            [
                [
                    r.replica,
                    round(r.load_s, 3),
                    r.compile_s,
                    round(r.warmup_s, 3),
                    round(r.first_request_s, 4),
                    round(r.last_request_s, 4),
                    _rate(
                        100 * (r.first_request_s - r.last_request_s), r.last_request_s
                    ),
                ]
                for r in run.replicas
            ],
        )
    }


def validity(run: Run) -> Section:
    """Return the gate's verdict and the agreement with LoadGen's own figures."""
    verdict, values = run.verdict, run.log.values
    rows: list[list[Json]] = [
        [c.name, c.limit, c.value, c.outcome, c.note] for c in verdict.checks
    ]
    loadgen = values.get("result_tokens_per_second") or values.get(
        "result_completed_tokens_per_second"
    )
    return {
        "outcome": figure(verdict.outcome, "", "verdict of the gate"),
        "submission_candidate": figure(
            verdict.submission_candidate, "", "whether it could be submitted to MLPerf"
        ),
        "relaxed": figure("; ".join(verdict.relaxed), "", "settings off the rules"),
        "loadgen_tokens_per_s": figure(
            loadgen,
            "tokens/s",
            "LoadGen's own; Server divides by the completion of the last issued query",
        ),
        "checks": table(
            [
                ("check", "", "what was looked at"),
                ("limit", "", "what is required"),
                ("value", "", "what was found"),
                ("outcome", "", "passed, failed or skipped"),
                ("note", "", "where it failed, or why it was skipped"),
            ],
            rows,
        ),
    }


def _lengths(values: FloatArray, definition: str) -> Figure:
    if not len(values):
        return figure(None, "tokens", definition)
    summary = {
        "min": int(values.min()),
        "mean": round(float(values.mean()), 2),
        "p50": float(np.percentile(values, 50)),
        "p90": float(np.percentile(values, 90)),
        "max": int(values.max()),
    }
    return figure(summary, "tokens", definition)


def _spread(values: FloatArray) -> list[Json]:
    figures = [
        values.min(),
        values.mean(),
        *np.percentile(values, _PERCENTILES),
        values.max(),
        values.std(),
    ]
    return [round(float(value), 3) for value in figures]


def _rate(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None
