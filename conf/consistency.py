"""Checks and completes a composed configuration."""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from base.benchmark import ScenarioName
from base.decode import whole_number
from base.errors import UserError
from conf.engines import EndpointConfig, SyntheticConfig, VllmConfig
from conf.schema import Config, Mode, ModelConfig, RunKind, Weights

_OF_MODEL = ("path", "weights", "vocabulary", "dtype")


def check_effects(config: Config, given: Collection[str]) -> None:
    """Refuse options that cannot have an effect in this run.

    Only what the user wrote is checked: presets and experiment files may set what one
    scenario needs and another does not.

    Args:
        config: the whole configuration.
        given: names of the options on the command line.

    Raises:
        UserError: an option has no effect; the message says why.
    """
    for key, reason in _without_effect(config, given):
        raise UserError(f"{key} has no effect: {reason}; leave it out")


def _without_effect(
    config: Config, given: Collection[str]
) -> Iterator[tuple[str, str]]:
    reasons = {
        **_of_scenario(config),
        **_of_engine(config),
        **(_of_smoke(config) if config.run.kind is RunKind.smoke else {}),
    }
    for key in given:
        if key in reasons:
            yield key, reasons[key]
        elif key.startswith(("engine.slowdown", "engine.wrong_answers")):
            yield from _of_planted(config, ".".join(key.split(".")[:2]))


def _of_scenario(config: Config) -> dict[str, str]:
    scenario = config.scenario.name
    name = f"scenario={scenario.value}"
    reasons: dict[str, str] = {}
    if scenario is not ScenarioName.singlestream:
        reasons["scenario.expected_latency_ms"] = f"{name} is not sized by it"
    else:
        reasons["scenario.target_qps"] = f"{name} issues one query after another"
    if scenario not in (ScenarioName.server, ScenarioName.interactive):
        for limit in ("ttft_ms", "tpot_ms"):
            reasons[f"run.{limit}"] = f"{name} has no latency limits"
    if scenario is ScenarioName.offline:
        reasons["run.latency_percentile"] = f"{name} has no latency limits"
    return reasons


def _of_smoke(config: Config) -> dict[str, str]:
    """Return reasons that apply to run=smoke; runs of a submission share options."""
    scenario, run = config.scenario.name, config.run
    reasons: dict[str, str] = {}
    if config.mode is not Mode.performance:
        why = f"mode={config.mode.value} has its own number of samples"
        reasons |= {"run.min_queries": why, "run.min_duration_s": why}
    if scenario is ScenarioName.offline and (
        config.mode is not Mode.performance or not run.min_duration_s
    ):
        reasons["scenario.target_qps"] = (
            "in Offline it sizes a run with a minimum duration (run=full, or"
            " run.min_duration_s), and this run has none"
        )
    if config.mode is not Mode.compliance:
        reasons["run.audit_conf"] = "only mode=compliance reads an audit file"
    return reasons


def _of_engine(config: Config) -> dict[str, str]:
    if isinstance(config.engine, EndpointConfig):
        return {
            "model.dtype": "the server decides it",
            "cluster.gpus_per_replica": "a server has its own GPUs",
        }
    if isinstance(config.engine, VllmConfig) and not config.engine.adaptive_batching:
        return {"engine.step_model": "engine.adaptive_batching is false"}
    if not isinstance(config.engine, SyntheticConfig):
        return {}
    why = "engine=synthetic loads no model"
    return {
        **{f"model.{name}": why for name in _OF_MODEL},
        "dataset.vocabulary": why,
    }


def _of_planted(config: Config, option: str) -> Iterator[tuple[str, str]]:
    """Yield faults that are planted in replicas that do not exist."""
    if not isinstance(config.engine, SyntheticConfig):
        return
    planted: dict[str, float] = getattr(config.engine, option.partition(".")[2])
    for name in planted:
        number = whole_number(name)
        if number is None:
            raise UserError(f"{option}.{name}: name a replica by its number, from 0")
        count = config.cluster.replicas
        if count is not None and number >= count:
            yield (
                f"{option}.{name}",
                f"cluster.replicas={count} has replicas 0 to {count - 1}",
            )


_HEADER = re.compile(r"[A-Za-z0-9-]+")


def place_endpoints(config: Config) -> None:
    """Set one replica without GPUs for each server of `engine=endpoint`.

    With `cluster.replicas=N` the first N servers are used, so that a scaling campaign
    works as with other engines. Nothing changes for other engines.

    Raises:
        UserError: an address or a number is not possible.
    """
    engine, cluster = config.engine, config.cluster
    if not isinstance(engine, EndpointConfig):
        return
    if cluster.name != "local":
        raise UserError(
            "engine=endpoint runs its clients on this host; leave out"
            f" cluster={cluster.name}"
        )
    if not engine.urls:
        raise UserError(
            "engine.urls: no server is given; e.g. engine.urls=[http://localhost:8000]"
        )
    urls = [_checked(url) for url in engine.urls]
    for url in urls:
        if urls.count(url) > 1:
            raise UserError(f"engine.urls: {url} is given twice; name each server once")
    if cluster.replicas is not None and cluster.replicas > len(urls):
        raise UserError(
            f"cluster.replicas={cluster.replicas}, but engine.urls has {len(urls)}"
            " servers, one for each replica; lower it or add servers"
        )
    if engine.api_key_env is not None and engine.api_key_file is not None:
        raise UserError("give either engine.api_key_env or engine.api_key_file")
    if not _HEADER.fullmatch(engine.api_key_header):
        raise UserError(
            f"engine.api_key_header={engine.api_key_header}: not the name of a header"
            "; use letters, digits and -"
        )
    engine.urls = urls
    cluster.replicas = cluster.replicas or len(urls)
    cluster.gpus_per_replica = 0


def _checked(url: str) -> str:
    """Return the address of a server without the part that requests add."""
    if "@" in url:
        # No message repeats the address, since it contains the password.
        raise UserError(
            "engine.urls: an address contains a user or a password; give the key with"
            " engine.api_key_env or engine.api_key_file"
        )
    try:
        parts = urlsplit(url)
        has_host, _ = bool(parts.hostname), parts.port
    except ValueError as error:
        raise UserError(f"engine.urls: {url}: {error}") from error
    if parts.scheme not in ("http", "https") or not has_host:
        raise UserError(f"engine.urls: {url}: write http://HOST:PORT or https://...")
    if parts.query or parts.fragment:
        raise UserError(f"engine.urls: {url}: remove what follows the path")
    return url.rstrip("/").removesuffix("/v1")


_BENCHMARK_MODELS = ("llama3_1-8b", "llama3_1-8b_dummy")
"""Presets whose checkpoint is the user's folder."""
_BENCHMARK_DATA = "cnn_dailymail"
"""The preset whose data is the user's file."""
_NO_MODEL = "synthetic"


def name_origins(config: Config, given: Collection[str], *, new: bool) -> None:
    """Set names and origins in `config` that the options `given` leave open.

    A folder or file of the user is not the model or data set of the preset beside
    which it was given. So the preset's name, vocabulary and origin do not apply to it.

    Args:
        config: the whole configuration; it is changed.
        given: names of the options on the command line.
        new: whether it comes from presets, not from a run's own config.yaml.
    """
    model, dataset = config.model, config.dataset
    if isinstance(config.engine, SyntheticConfig):
        if new:
            name = model.name if "model.name" in given else _NO_MODEL
            config.model = ModelConfig(
                name=name, weights=Weights.none, max_model_len=model.max_model_len
            )
    elif "model.path" in given and model.path and model.name not in _BENCHMARK_MODELS:
        if "model.name" not in given:
            model.name = Path(model.path).resolve().name or model.name
        if "model.weights" not in given:
            model.weights = Weights.checkpoint
        if "model.vocabulary" not in given:
            model.vocabulary = None
    if "dataset.path" in given and dataset.path and dataset.name != _BENCHMARK_DATA:
        if "dataset.name" not in given:
            name = Path(dataset.path).name
            dataset.name = name.removesuffix(".gz").removesuffix(".json") or name
        if "dataset.vocabulary" not in given:
            dataset.vocabulary = None
