"""The configuration section: what ran, on which hosts, with which settings."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from record.structs import Json, ReplicaRecord
from report.figures import Column, Section, Table, figure, table
from report.reading.run import Run
from report.reading.traits import Trait, engine_settings, versions
from report.sections.settings import relaxed, setting
from report.statistics.numbers import lengths, rounded
from report.wording import name_replicas

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
    """Return the configuration of a run."""
    settings, config = run.settings, run.config
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
        "model_shape": figure(_shape(run), "", "shape that the engine loaded"),
        "precision": figure(_precision(run), "", "of weights and arithmetic"),
        "weights": figure(config.model.weights or None, "", "source of the weights"),
        "model_path": figure(config.model.path, "", "checkpoint folder, as given"),
        "dataset": figure(config.dataset.name, "", "data set behind the QSL"),
        "dataset_path": figure(config.dataset.path, "", "file, as given"),
        "dataset_sha256": figure(
            settings.dataset_sha256, "", "SHA-256 of the file of the data set"
        ),
        "prompt_tokens": figure(
            lengths(run.samples.prompt_tokens), "tokens", "per issued sample"
        ),
        "output_tokens": figure(
            lengths(run.done.output_tokens), "tokens", "per completed sample"
        ),
        "nodes": figure(len(run.nodes), "nodes", "hosts that ran replicas"),
        "replicas": figure(run.size, "replicas", "engines, one process each"),
        "engine": figure(config.engine.name or None, "", "engine of the replicas"),
        "batching": figure(
            _batching(run.replicas), "", "engine settings of the first replica"
        ),
        "balancer": figure(
            (config.cluster.balancer or "default of the scenario")
            + (", longest prompts first" if config.cluster.longest_first else ""),
            "",
            "policy that chooses a replica for each sample",
        ),
        "target_rate": figure(
            settings.effective.get("server_target_qps")
            if settings.loadgen_scenario == "Server"
            else None,
            "queries/s",
            "arrival rate that LoadGen was set to (Server)",
        ),
        "versions": figure(_versions(run), "", "software of the first replica"),
        "seeds": figure(
            {
                name.removesuffix("_rng_seed"): value
                for name, value in settings.effective.items()
                if name.endswith("_rng_seed")
            }
            or None,
            "",
            "random seeds of LoadGen",
        ),
        "relaxed": figure(
            relaxed(run) or None, "", "settings that differ from MLPerf's rules"
        ),
        "hosts": table(_hosts(run), run.replicas),
        "software": by_replica("software", "version", versions(run.replicas), run),
        "engine_settings": by_replica(
            "setting", "value", engine_settings(run.replicas), run
        ),
        "model_properties": table(
            [
                Column[tuple[str, Json]](
                    "property", "", "property of the model", lambda row: row[0]
                ),
                Column("value", "", "its value in the engine", lambda row: row[1]),
            ],
            [
                (name.replace("_", " "), value)
                for name, value in (
                    run.replicas[0].model if run.replicas else {}
                ).items()
            ],
        ),
        "settings": _settings(run),
    }


def _hosts(run: Run) -> list[Column[ReplicaRecord]]:
    return [
        Column("node", "", "host", lambda r: r.node),
        Column("replica", "", "number of the replica", lambda r: r.replica),
        Column("devices", "", "devices of the replica", lambda r: ", ".join(r.devices)),
        Column(
            "device memory",
            "GiB",
            "of all devices of the replica; on a CPU: of the host",
            lambda r: rounded(_device_bytes(run, r) / 2**30) or None,
        ),
        Column(
            "links",
            "",
            "links to other devices and to the host, if known",
            lambda r: (
                "; ".join(dict.fromkeys(d.link for d in r.limits if d.link)) or None
            ),
        ),
        Column(
            "cores",
            "",
            "processor cores that the replica may use",
            lambda r: len(r.cpus),
        ),
    ]


def _device_bytes(run: Run, record: ReplicaRecord) -> float:
    totals = run.telemetry.devices.of(record.replica, "memory_total_bytes")
    limit = sum(d.memory_bytes or 0 for d in record.limits)
    return limit or (float(totals.max()) if len(totals) else 0.0)


@dataclass(slots=True)
class _Value:
    """A value of a trait, with the replicas that have it."""

    trait: str
    value: str
    replicas: str


def by_replica(name: str, value: str, traits: list[Trait], run: Run) -> Table:
    """Return a table of the values of traits, with the replicas that have each value.

    Args:
        name: name of the column of traits.
        value: name of the column of values.
        traits: one row for each of their values.
        run: the run of the replicas.
    """

    def rows() -> Iterator[_Value]:
        for trait in traits:
            for found, owners in reversed(trait.groups()):
                everyone = len(owners) == run.size
                replicas = "all" if everyone else name_replicas(owners)
                yield _Value(trait.name, trait.text(found), replicas)

    return table(
        [
            Column[_Value](name, "", f"name of the {name}", lambda row: row.trait),
            Column(value, "", f"its {value}", lambda row: row.value),
            Column("replicas", "", "replicas that have it", lambda row: row.replicas),
        ],
        rows(),
    )


def _settings(run: Run) -> Table:
    effective, rules = run.settings.effective, run.settings.rules
    return table(
        [
            Column[str](
                "setting", "", "attribute of LoadGen's TestSettings", lambda name: name
            ),
            Column(
                "effective",
                "",
                "value in this run; durations in s or ms",
                lambda name: setting(name, effective.get(name)),
            ),
            Column(
                "rule",
                "",
                "value that MLPerf's rules require",
                lambda name: setting(name, rules[name]),
            ),
        ],
        sorted(rules),
    )


def _versions(run: Run) -> str:
    found = dict(run.replicas[0].versions) if run.replicas else {}
    found["loadgen"] = str(run.log.values.get("loadgen_version", "")).split(" ")[0]
    return ", ".join(f"{name} {version}" for name, version in found.items() if version)


def _model(run: Run) -> dict[str, Json]:
    return dict(run.replicas[0].model) if run.replicas else {}


def _shape(run: Run) -> str | None:
    words = (f"{k.replace('_', ' ')} {v}" for k, v in _model(run).items())
    return ", ".join(words) or None


def _precision(run: Run) -> str | None:
    if not run.replicas:
        return run.config.model.dtype or None
    record = run.replicas[0]
    dtype = str(record.model.get("dtype") or run.config.model.dtype)
    narrow = record.engine.get("quantization")
    return f"{dtype}, weights {narrow}" if narrow else dtype


def _batching(replicas: list[ReplicaRecord]) -> str | None:
    engine = replicas[0].engine if replicas else {}
    return (
        ", ".join(f"{name} {engine[name]}" for name in _BATCHING if name in engine)
        or None
    )
