"""Builds the parts of a run from its configuration."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np

from base.errors import UserError
from conf.engines import EndpointConfig, EngineConfig, SyntheticConfig, VllmConfig
from conf.schema import Config, RunKind, Weights
from qsl.dataset import Dataset, answer_limits
from record.folder import RunFolder
from record.structs import Json
from record.writer import RecordWriter
from scenarios.settings import RunFacts
from sut.balancers import make_balancer
from sut.clock import RunClock, clock_id
from sut.clusters.base import Cluster
from sut.clusters.factory import make_cluster
from sut.coordinator.coordinator import Coordinator, CoordinatorParts
from sut.coordinator.dispatcher import Dispatcher
from sut.coordinator.loadgen import LoadGenResponder
from sut.coordinator.recorder import RunRecorder
from sut.model import Model, find_model
from sut.wire.messages import (
    AdaptiveSpec,
    EngineSpec,
    ReplicaSpec,
    StepModel,
    WarmupSpec,
)
from sut.wire.sockets import CoordinatorSocket

_ANY_ID = 2**31 - 1


def build_coordinator(
    config: Config,
    model: Model,
    dataset: Dataset,
    streaming: bool,
    folder: RunFolder,
    writer: RecordWriter,
    scratch: Callable[[], Path],
    notify: Callable[[str], None],
    tpot_s: float | None,
) -> Coordinator:
    """Return a coordinator over the configured cluster; no replica is started.

    Args:
        config: the run.
        model: found on disk.
        dataset: the samples.
        streaming: whether first tokens are reported before the answer.
        folder: of the run.
        writer: of its records.
        scratch: makes a folder that is removed after the run.
        notify: called with notes for the user.
        tpot_s: limit of TPOT; None: the scenario has none.

    Raises:
        UserError: hosts do not have what the configuration asks for, or do not join.
    """
    cluster, socket = make_cluster(
        config.cluster, folder, scratch, _environment(config.engine), notify
    )
    with ExitStack() as undo:
        undo.callback(socket.close)
        undo.callback(cluster.close, 0.0)
        coordinator = _coordinator(
            config, model, dataset, streaming, cluster, socket, writer, tpot_s
        )
        undo.pop_all()
    return coordinator


def _coordinator(
    config: Config,
    model: Model,
    dataset: Dataset,
    streaming: bool,
    cluster: Cluster,
    socket: CoordinatorSocket,
    writer: RecordWriter,
    tpot_s: float | None,
) -> Coordinator:
    _check_planted(config.engine, len(cluster.placements))
    _check_only(config.cluster.only, len(cluster.placements))
    clock = RunClock()
    lengths: list[int] = dataset.lengths.tolist()
    spec = engine_spec(
        config, model, len(cluster.placements[0].gpus), streaming, tpot_s
    )
    warmup = WarmupSpec(
        typical_tokens=int(np.median(dataset.lengths)),
        longest_tokens=max(lengths),
        width=config.engine.warmup_requests,
        vocab_size=model.vocab_size,
    )
    return Coordinator(
        CoordinatorParts(
            config=config.cluster,
            cluster=cluster,
            socket=socket,
            dispatcher=Dispatcher(
                make_balancer(config.cluster.balancer, streaming),
                lengths,
                answer_limits(dataset, config.dataset).tolist(),
                block=_block(config, dataset, streaming),
            ),
            recorder=RunRecorder(writer, clock),
            clock=clock,
            responder=LoadGenResponder(),
            replica_spec=ReplicaSpec(spec, warmup, clock_id()),
            prompts=_prompts(dataset),
            stall_timeout_s=config.run.stall_timeout_s,
        )
    )


def _prompts(dataset: Dataset) -> list[tuple[bytes, int | None]]:
    """Return the prompt and the prescribed answer length of each sample."""
    count = len(dataset)
    lengths: list[int | None] = [None] * count
    if dataset.output_tokens is not None:
        lengths = dataset.output_tokens.tolist()
    prompts = (dataset.prompt(index).tobytes() for index in range(count))
    return list(zip(prompts, lengths, strict=True))


def _block(config: Config, dataset: Dataset, streaming: bool) -> int | None:
    if streaming or not config.cluster.longest_first:
        return None
    return len(dataset)


def engine_spec(
    config: Config,
    model: Model,
    gpus: int,
    streaming: bool,
    tpot_s: float | None = None,
) -> EngineSpec:
    """Return the specification of every replica's engine.

    Args:
        config: the run.
        model: found on disk.
        gpus: GPUs of one replica.
        streaming: whether first tokens are reported before the answer.
        tpot_s: limit of TPOT; None: the scenario has none.

    Raises:
        UserError: the configuration needs a GPU, and replicas have none, or a limit of
            TPOT, and the scenario has none.
    """
    dummy = config.model.weights is Weights.dummy
    name, options = _engine_options(config.engine)
    assert config.model.max_model_len is not None, "see sut.fit"
    most = config.dataset.max_output_tokens
    if name == "endpoint":
        # Unknown is not passed: docs/endpoint.md.
        options["refuse_unknown"] = config.run.kind is RunKind.full
    if name == "vllm" and not gpus:
        _refuse_gpu_only(options, model)
    return EngineSpec(
        engine=name,
        model_path=str(model.path or ""),
        dummy_weights=dummy,
        dtype=config.model.dtype,
        max_model_len=config.model.max_model_len,
        gpus=gpus,
        streaming=streaming,
        # Random weights end answers at random: there every answer has full length.
        min_tokens=most if dummy else 1,
        max_tokens=most,
        ignore_eos=dummy,
        stop_token_ids=model.stop_token_ids,
        seed=0,
        options=options,
        steps=config.run.steps and name != "endpoint",
        adaptive=_adaptive(config.engine, tpot_s),
    )


def _adaptive(engine: EngineConfig, tpot_s: float | None) -> AdaptiveSpec | None:
    if not isinstance(engine, VllmConfig) or not engine.adaptive_batching:
        return None
    if tpot_s is None:
        raise UserError(
            "engine.adaptive_batching=true meets the limit of TPOT, and this scenario"
            " has none; give scenario=server or scenario=interactive, or leave it out"
        )
    given = engine.step_model
    if given is None:
        return AdaptiveSpec(tpot_s, None)
    if len(given) != len(StepModel.__struct_fields__) or not given[1] > 0:
        raise UserError(
            "engine.step_model must be four numbers of seconds: of a step, of a prompt"
            " token (above 0), of a decoding request and of a cached token; see"
            " step_model in replicas.json"
        )
    return AdaptiveSpec(tpot_s, StepModel(*given))


def _check_planted(engine: EngineConfig, replicas: int) -> None:
    if not isinstance(engine, SyntheticConfig):
        return
    for option in ("slowdown", "wrong_answers", "unusable"):
        for name in getattr(engine, option):
            if int(name) >= replicas:
                raise UserError(
                    f"engine.{option}: there is no replica {name}: there are"
                    f" {replicas}, numbered from 0"
                )


def _check_only(only: Sequence[int], replicas: int) -> None:
    for number in only:
        if number >= replicas:
            raise UserError(
                f"cluster.only: there is no replica {number}: there are {replicas},"
                " numbered from 0"
            )


def _refuse_gpu_only(options: dict[str, Json], model: Model) -> None:
    if str(options.get("worker_extension_cls", "")).startswith("sut.engines.hopper"):
        raise UserError(
            "engine=vllm_hopper (or an experiment that uses it) needs a Hopper GPU"
            " (H100, H200) for each replica, and there is none; give engine=vllm"
        )
    if "fp8" in model.quantization:
        raise UserError(
            f"model.path={model.path}: its weights are fp8, which needs a GPU; on a CPU"
            " give the checkpoint before its quantization"
        )
    if options.get("quantization") == "fp8":
        raise UserError(
            f"engine.options.quantization={options['quantization']} needs a GPU, and"
            " replicas run on the CPU; leave it out"
        )


def _engine_options(
    config: EngineConfig,
) -> tuple[Literal["vllm", "synthetic", "endpoint"], dict[str, Json]]:
    if isinstance(config, VllmConfig):
        return "vllm", dict(config.options)
    if isinstance(config, EndpointConfig):
        return "endpoint", asdict(config)
    assert isinstance(config, SyntheticConfig)
    names = (
        "step_s",
        "prefill_s_per_token",
        "decode_s_per_sequence",
        "max_num_seqs",
        "max_num_batched_tokens",
        "output_tokens",
        "shared_device",
        "slowdown",
        "wrong_answers",
        "unusable",
    )
    return "synthetic", {name: getattr(config, name) for name in names}


def _environment(config: EngineConfig) -> dict[str, str]:
    if not isinstance(config, VllmConfig):
        return {}
    return {
        "VLLM_CPU_KVCACHE_SPACE": str(config.cpu_kv_cache_gib),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0" if config.in_process else "1",
        **config.env,
    }


def model_for(config: Config, notify: Callable[[str], None]) -> Model:
    """Return the model on disk; for engine=synthetic, a model that takes any token id.

    Raises:
        UserError: the model's files are missing, damaged or do not fit.
    """
    if isinstance(config.engine, SyntheticConfig):
        return Model(path=None, vocab_size=_ANY_ID, stop_token_ids=[_ANY_ID])
    serves = not isinstance(config.engine, EndpointConfig)
    return find_model(config.model, notify, needs_weights=serves)


def run_facts(model: Model, dataset: Dataset) -> RunFacts:
    """Return the facts of model and data that settings.json records."""
    prescribed = dataset.output_tokens is not None
    return RunFacts(
        # Answers of a prescribed length go on after a stop token.
        stop_token_ids=[] if prescribed else model.stop_token_ids,
        tokenizer=model.tokenizer,
        dataset_sha256=dataset.sha256 or None,
        prescribed_lengths=prescribed,
    )
