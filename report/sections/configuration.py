"""What ran, on what, under which settings."""

import time

from record.json_types import Json
from record.structs import ReplicaRecord
from report.figures import Section, figure, table
from report.reading.run import Run
from report.sections.validity import relaxed, setting
from report.statistics.numbers import lengths, rounded

_BATCHING = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "quantization",
    "kv_cache_dtype",
    "tensor_parallel_size",
    "enforce_eager",
    "enable_prefix_caching",
)


def configuration(run: Run) -> Section:
    """Return the run's configuration."""
    settings, config = run.settings, run.config
    versions = {k: v for r in run.replicas for k, v in r.versions.items()}
    versions["loadgen"] = str(run.log.values.get("loadgen_version", "")).split(" ")[0]
    return {
        "run": figure(run.name, "", "name of the run folder"),
        "started": figure(
            time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(run.begin_ns / 1e9))
            if run.begin_ns
            else None,
            "UTC",
            "first issue",
        ),
        "length": figure(rounded(run.wall_s), "s", "first issue to last completion"),
        "scenario": figure(
            f"{settings.benchmark} {settings.scenario}, {settings.mode},"
            f" run={settings.kind}",
            "",
            "benchmark suite, scenario, mode and strictness",
        ),
        "model": figure(config.model.name, "", "model that the replicas served"),
        "model_shape": figure(_shape(run), "", "as the engine loaded it"),
        "precision": figure(_precision(run), "", "of weights and arithmetic"),
        "weights": figure(
            config.model.weights or None, "", "where the weights come from"
        ),
        "model_path": figure(config.model.path, "", "checkpoint folder, as given"),
        "dataset": figure(config.dataset.name, "", "samples behind the QSL"),
        "dataset_path": figure(config.dataset.path, "", "file, as given"),
        "dataset_sha256": figure(
            settings.dataset_sha256, "", "SHA-256 of the data set's file"
        ),
        "prompt_tokens": figure(
            lengths(run.samples.prompt_tokens), "tokens", "per issued sample"
        ),
        "output_tokens": figure(
            lengths(run.done.output_tokens), "tokens", "per completed sample"
        ),
        "nodes": figure(len(run.nodes), "nodes", "hosts"),
        "replicas": figure(run.size, "replicas", "engines, one process each"),
        "engine": figure(config.engine.name or None, "", "what answers the samples"),
        "batching": figure(_common(run.replicas), "", "engine settings of replica 0"),
        "balancer": figure(
            (config.cluster.balancer or "the default of the scenario")
            + (", longest prompts first" if config.cluster.longest_first else ""),
            "",
            "choice of the replica for a sample",
        ),
        "target_rate": figure(
            settings.effective.get("server_target_qps")
            if settings.loadgen_scenario == "Server"
            else None,
            "queries/s",
            "arrival rate that LoadGen was set to (Server)",
        ),
        "versions": figure(
            ", ".join(f"{k} {v}" for k, v in versions.items() if v),
            "",
            "of the software; where replicas differ, those of the last one",
        ),
        "seeds": figure(
            {
                name.removesuffix("_rng_seed"): value
                for name, value in settings.effective.items()
                if name.endswith("_rng_seed")
            }
            or None,
            "",
            "LoadGen's random seeds",
        ),
        "relaxed": figure(
            relaxed(run) or None, "", "settings that differ from MLPerf's rules"
        ),
        "places": table(
            [
                ("node", "", "host"),
                ("replica", "", "its number"),
                ("devices", "", "of the replica"),
                ("device memory", "GiB", "of all its devices"),
                ("links", "", "to other devices and the host, where known"),
                ("cores", "", "processor cores that it may use"),
                ("versions", "", "of its software"),
            ],
            [_place(run, record) for record in run.replicas],
        ),
        "settings": table(
            [
                ("setting", "", "LoadGen's TestSettings attribute"),
                ("effective", "", "value in this run"),
                ("rule", "", "value that MLPerf's rules ask for"),
                ("as time", "", "the effective value of a duration, and the rule's"),
            ],
            [
                [name, settings.effective.get(name), rule, _as_time(run, name)]
                for name, rule in sorted(settings.rules.items())
            ],
        ),
    }


def _as_time(run: Run, name: str) -> str | None:
    effective, rule = (
        setting(name, values.get(name))
        for values in (run.settings.effective, run.settings.rules)
    )
    if not effective.endswith("s"):
        return None
    return effective if effective == rule else f"{effective} (rule: {rule})"


def _place(run: Run, record: ReplicaRecord) -> list[Json]:
    totals = run.telemetry.devices.of(record.replica, "memory_total_bytes")
    limit = sum(d.memory_bytes or 0 for d in record.limits)
    memory = limit or (float(totals.max()) if len(totals) else 0.0)
    return [
        record.node,
        record.replica,
        ", ".join(record.devices),
        rounded(memory / 2**30) if memory else None,
        "; ".join(dict.fromkeys(d.link for d in record.limits if d.link)) or None,
        len(record.cpus),
        ", ".join(f"{k} {v}" for k, v in record.versions.items()),
    ]


def _shape(run: Run) -> str | None:
    model = run.replicas[0].model if run.replicas else {}
    return ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in model.items()) or None


def _precision(run: Run) -> str | None:
    if not run.replicas:
        return run.config.model.dtype or None
    record = run.replicas[0]
    dtype = str(record.model.get("dtype") or run.config.model.dtype)
    narrow = record.engine.get("quantization")
    return f"{dtype}, weights {narrow}" if narrow else dtype


def _common(replicas: list[ReplicaRecord]) -> str | None:
    engine = replicas[0].engine if replicas else {}
    return (
        ", ".join(f"{name} {engine[name]}" for name in _BATCHING if name in engine)
        or None
    )
