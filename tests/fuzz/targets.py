"""Every decoder and parser of foreign bytes and files, with valid input for each."""

import contextlib
import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from unittest import mock

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import safetensors.numpy

from accuracy.answers import _cleans_up, load_tokenizer, read_first_answers
from accuracy.statistics import token_statistics
from base.decode import DecodeError, decode_with, plain_yaml
from base.errors import UserError
from calibration.result import UnexpectedResult, check_result
from calibration.source import load_source
from conf.load import load_config, to_yaml
from conf.schema import DatasetConfig, ExternalConfig, ModelConfig, Weights
from qsl.articles import pick_calibration, read_articles
from qsl.cnn_eval import FullRow, _whole_rows, read_full_rows
from qsl.dataset import Dataset, load_dataset
from record.folder import RecordError, RunFolder, cut_off, read_json, read_lines
from record.loadgen_log import is_closed, read_answers, read_detail, read_trace
from record.steps import STEP, header, read_steps
from record.structs import EventRecord, ReplicaRecord, SettingsRecord, Verdict
from record.writer import RecordWriter
from report.content import make_report
from report.reading.config import read_config
from report.reading.folder import read_run
from report.reading.samples import read_samples
from report.reading.telemetry import read_telemetry
from report.statistics.physics import read_ratings
from scenarios.gate import judge
from submission.checks.documents import _says_something
from submission.documents import hash_in, verification_text
from submission.machine import Machine
from submission.request import read_request
from sut.clock import RunClock
from sut.clusters.external import ExternalCluster
from sut.clusters.placement import Host
from sut.clusters.registration import Node, NodeRegistration, NodesSocket
from sut.coordinator.dispatcher import UnexpectedAnswer
from sut.coordinator.recorder import RunRecorder
from sut.coordinator.replica import Replica
from sut.model import find_model
from sut.node import joining as node_command
from sut.wire.keys import make_key, read_key
from sut.wire.messages import (
    ClockReading,
    Completion,
    DeviceReading,
    Failed,
    Fatal,
    FirstToken,
    Generate,
    Heartbeat,
    Hello,
    HostReading,
    Outputs,
    Phase,
    Ready,
    ReplicaSpec,
    Request,
    Steps,
    Stop,
    ToCoordinator,
    ToReplica,
    WarmupSpec,
)
from sut.wire.node_messages import (
    NODE_PROTOCOL,
    Close,
    Join,
    Kill,
    Left,
    Ping,
    Placement,
    Refused,
    ReplicaReady,
    Report,
    Start,
    ToCluster,
    ToNode,
    Welcome,
    join_problem,
)
from sut.wire.sockets import ProtocolError
from tests.fuzz.damage import damaged_bytes, damaged_message, damaged_text
from tests.fuzz.state_targets import state_targets
from tests.fuzz.target import Target
from tests.run_folder import good_spec, replica_record, write_folder
from tests.sut.engines.contract import spec

_REQUEST = b"""submitter: Example
division: closed
status: available
system: h100x8
benchmark: datacenter
scenarios: [offline, server]
folder: out
options: [model.path=/model, "cluster.replicas=8"]
scenario_options:
  server: [scenario.target_qps=100]
weights:
  starting_weights_filename: https://example.org/model
  weight_transformations: none
description: {host_memory_capacity: 2 TB}
machines: []
calibration: none
bandwidth: measured
"""
_TRACE = b"""{"traceEvents":[
{"name":"Sample","ph":"b","ts":1.5,"args":{"sample_seq":0,"sample_idx":3,\
"issue_start_ns":10,"complete_ns":90}},
{"name":"Token_Latency","ph":"b","ts":1.5,"args":{ "issue_delay":1,\
"issue_to_done":20}},
{"name":"Sample","ph":"b","ts":2.5,"args":{"sample_seq":1,"sample_idx":4,\
"issue_start_ns":-1,"complete_ns":95}},
]}
"""
_HF_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 1,
    "vocab_size": 64,
    "max_position_embeddings": 4096,
    "eos_token_id": [2, 3],
    "quantization_config": None,
}
_ROWS = [
    FullRow(input="a b", instruction={"llama": "x"}, output="c", tok_input=[1, 2, 3]),
    FullRow(input="d", instruction="y", output="e", tok_input=[4]),
]
_OFFER = Join(NODE_PROTOCOL, "n0", ["0", "GPU-1"], [0, 1], "source")


def all_targets(folder: Path) -> list[Target]:
    """Return every target; `folder` takes the files that they read."""
    return [
        *_messages(folder),
        *_run_folder(folder),
        *_yaml(folder),
        *_data_sets(folder),
        *_models(folder),
        *_others(folder),
        *state_targets(folder),
    ]


def _messages(folder: Path) -> list[Target]:
    plain = replica_record(0)
    to_coordinator: list[msgspec.Struct] = [
        Hello(1, 42),
        Phase("loading"),
        Ready(plain, 8192),
        Outputs(
            [FirstToken(1, 1, b"1234")],
            [Completion(2, 1, b"12345678", "length", 0, 1, 2, 3, 4)],
            [Failed(3, 1, "too long")],
            1,
            3,
        ),
        Heartbeat(
            0.0, 1, 2, 0.5, [DeviceReading("H100", 1, 2, 3.0)], HostReading(1, 2, 3, 4)
        ),
        Steps(np.zeros(3, STEP).tobytes(), 0, 1000, False),
        Fatal("crash", "it broke"),
    ]
    to_replica: list[msgspec.Struct] = [
        ReplicaSpec(spec(), WarmupSpec(100, 200, 4, 1000)),
        Generate([Request(1, 1, b"12345678")]),
        ClockReading(1, 2),
        Stop(),
    ]
    to_node: list[msgspec.Struct] = [
        Welcome([Placement(replica=0, node="n0", gpus=["0"])], {"A": "b"}, 10.0),
        Refused("no"),
        Start(0, "r0", 5556),
        ReplicaReady(0),
        Kill(0),
        Ping(),
        Close(1.0),
    ]
    to_cluster: list[msgspec.Struct] = [
        _OFFER,
        Report({"r0": "ended"}, ["r1"], {0: b"text"}),
        Left(),
    ]
    kinds: list[tuple[str, Any, list[msgspec.Struct]]] = [
        ("messages to replicas", ToReplica, to_replica),
        ("messages to nodes", ToNode, to_node),
    ]
    return [
        Target(
            name="messages of replicas",
            inputs=damaged_message(to_coordinator),
            run=_recorded,
            errors=(DecodeError,),
        ),
        *(
            Target(
                name=name,
                inputs=damaged_message(originals),
                run=_decoder(kind),
                errors=(DecodeError,),
            )
            for name, kind, originals in kinds
        ),
        Target(
            name="messages of nodes while they join",
            inputs=damaged_message(to_cluster),
            run=_registration,
            errors=(UserError,),
        ),
        Target(
            name="messages of nodes in a run",
            inputs=damaged_message(to_cluster),
            run=_external(folder),
            errors=(),
        ),
    ]


def _recorded(data: bytes) -> None:
    """What a replica says of itself is recorded: it must be possible to read it."""
    message = decode_with(msgspec.msgpack.Decoder(ToCoordinator), data)
    if isinstance(message, Ready):
        msgspec.json.decode(msgspec.json.encode(message.record), type=ReplicaRecord)
    if isinstance(message, Steps):
        replica = Replica(0, "n0", record=replica_record(0))
        recorder = RunRecorder(cast(RecordWriter, _Nowhere()), RunClock())
        with contextlib.suppress(UnexpectedAnswer):
            recorder.steps(replica, message)
            recorder.steps(replica, message)
        msgspec.json.decode(msgspec.json.encode(replica.record), type=ReplicaRecord)


class _Nowhere:
    """Stands for a writer: takes whole records of steps."""

    def steps(self, data: bytes) -> None:
        assert (np.frombuffer(data, STEP)["start_ns"] >= 0).all()


def _decoder(kind: Any) -> Callable[[bytes], object]:
    decoder = msgspec.msgpack.Decoder(kind)
    return lambda data: decode_with(decoder, data)


class _Inbox:
    """The coordinator's end of the socket for nodes, with one message that came."""

    closed = False

    def __init__(self, data: bytes, identity: str) -> None:
        self._message: tuple[str, ToCluster | ProtocolError] | None
        try:
            decoder = msgspec.msgpack.Decoder[ToCluster](ToCluster)
            self._message = (identity, decode_with(decoder, data))
        except DecodeError as error:
            self._message = (identity, ProtocolError(str(error)))

    def receive(self) -> tuple[str, ToCluster | ProtocolError] | None:
        message, self._message = self._message, None
        return message

    def send(self, _identity: str, message: msgspec.Struct) -> bool:
        msgspec.msgpack.encode(message)
        return True


def _registration(data: bytes) -> None:
    said: list[str] = []
    registration = NodeRegistration(
        socket=cast(NodesSocket, _Inbox(data, "n0\x1b-1")),
        config=ExternalConfig(name="external", nodes=1, key="key"),
        source="source",
        notify=said.append,
    )
    with mock.patch("sut.clusters.registration._FLUSH_S", 0):
        registration._take_in()
    assert all(line.isprintable() for line in said), said


def _external(folder: Path) -> Callable[[bytes], object]:
    def run(data: bytes) -> None:
        node = Node(identity="n0-1", host=Host(name="n0", gpus=[], cpus=[0]), heard=0.0)
        inbox = _Inbox(data, "n0-1")
        cluster = ExternalCluster(
            cast(NodesSocket, inbox),
            [node],
            [Placement(replica=0, node="n0")],
            RunFolder(folder),
            {},
            10.0,
        )
        cluster.start(0, "tcp://host:5556", "r0")
        for ending in cluster.exited().values():
            assert ending.isprintable()

    return run


def _run_folder(folder: Path) -> list[Target]:
    made = good_spec(6)
    made.answers = [(n, [1, 2, n], [1]) for n in range(6)]
    made.events = [
        EventRecord(t_ns=1, kind="fence", node="n1", replica=0, cause="it broke")
    ]
    run = write_folder(folder / "run", made)
    (run / "mlperf_log_trace.json").write_bytes(_TRACE)
    accuracy = good_spec(6)
    accuracy.mode, accuracy.answers = "accuracy", made.answers
    judged = write_folder(folder / "accuracy", accuracy)

    def read(path: Path) -> Callable[[Path], object]:
        return READERS[path.name]

    readers = [
        _file_target(path, read(path), (RecordError,), name=f"{path.name}")
        for path in sorted(run.path.iterdir())
        if path.name in READERS
    ]
    whole = [
        _file_target(
            place / name,
            job,
            (RecordError,),
            name=f"{what}, {name}",
            slow=True,
        )
        for what, place, job, names in (
            ("accuracy", judged, _scored, _JUDGED),
            ("gate", judged, lambda path: judge(RunFolder(path.parent)), _JUDGED),
            ("report", run, lambda path: make_report([read_run(path.parent)]), READERS),
        )
        for name in names
    ]
    steps = run / "steps.bin"
    steps.write_bytes(header() + np.zeros(5, STEP).tobytes())
    binary = _file_target(
        steps,
        lambda path: read_steps(path).tolist(),
        (RecordError,),
        name="steps.bin",
        binary=True,
    )
    return [*readers, binary, *whole]


def _scored(path: Path) -> None:
    """Do what comes before the texts of answers are scored."""
    folder = RunFolder(path.parent)
    offsets = np.cumsum([0, *(600 + seq for seq in range(6))])
    dataset = Dataset(
        name="sample",
        tokens=np.zeros(offsets[-1], np.int32),
        offsets=offsets,
        references=["text"] * 6,
    )
    settings = read_json(folder.settings, SettingsRecord)
    answers = read_first_answers(folder, dataset)
    token_statistics(answers, settings.stop_token_ids, settings.streaming)
    verification_text(folder.accuracy_log, settings)


READERS: dict[str, Callable[[Path], object]] = {
    "verdict.json": lambda path: read_json(path, Verdict),
    "settings.json": lambda path: read_json(path, SettingsRecord),
    "replicas.json": lambda path: read_json(path, list[ReplicaRecord]),
    "events.jsonl": lambda path: (list(read_lines(path, EventRecord)), cut_off(path)),
    "samples.jsonl": read_samples,
    "telemetry.jsonl": read_telemetry,
    "config.yaml": read_config,
    "mlperf_log_detail.txt": read_detail,
    "mlperf_log_accuracy.json": lambda path: (read_answers(path), is_closed(path)),
    "mlperf_log_trace.json": read_trace,
}
"""Files of a run folder, by name."""
_JUDGED = (
    "settings.json",
    "samples.jsonl",
    "events.jsonl",
    "mlperf_log_detail.txt",
    "mlperf_log_accuracy.json",
)


def _file_target(
    path: Path,
    read: Callable[[Path], object],
    errors: tuple[type[Exception], ...],
    *,
    name: str,
    slow: bool = False,
    binary: bool = False,
) -> Target:
    """Return a target that reads the file `path`, whose content is valid now."""
    valid = path.read_bytes()

    def run(data: bytes) -> None:
        path.write_bytes(data)
        read(path)

    make = damaged_bytes if binary else damaged_text
    return Target(
        name=name,
        inputs=make([valid]),
        run=run,
        errors=errors,
        reset=lambda: path.write_bytes(valid),
        slow=slow,
    )


def _yaml(folder: Path) -> list[Target]:
    path = folder / "given.yaml"
    path.write_text(to_yaml(load_config(["engine=synthetic"])))
    request = folder / "request.yaml"
    request.write_bytes(_REQUEST)
    overrides = (
        b"model.path=/x",
        b"engine.options.max_num_seqs=4",
        b"scenario=server",
        b"scenario.target_qps=1.5",
        b"engine.env.A=[1, {x: y}]",
        b"dataset.path='a b'",
    )
    return [
        Target(
            name="plain YAML",
            inputs=damaged_text([_REQUEST]),
            run=plain_yaml,
            errors=(DecodeError,),
        ),
        _file_target(
            path,
            lambda path: load_config([], path),
            (UserError,),
            name="--config",
            slow=True,
        ),
        _file_target(
            request,
            read_request,
            (UserError,),
            name="request of a submission",
            slow=True,
        ),
        Target(
            name="options of a run",
            inputs=damaged_text(overrides),
            run=lambda data: load_config([" ".join(_argument(data).split())]),
            errors=(UserError,),
            slow=True,
        ),
        Target(
            name="options of sut.node",
            inputs=damaged_text(
                [
                    b"--connect\n127.0.0.1:5555\n--key\nk\n--name\nn0\n--wait-s\n60",
                    b"--connect\n[::1]:5555\n--key\nk\n--once",
                ]
            ),
            run=_node_options,
            errors=(UserError,),
        ),
    ]


def _argument(data: bytes) -> str:
    """Return `data` as a shell hands it on."""
    return data.replace(b"\0", b"").decode(errors="surrogateescape")


def _node_options(data: bytes) -> None:
    arguments = _argument(data).split("\n")
    with (
        mock.patch.object(sys, "argv", ["sut.node", *arguments]),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        try:
            options = node_command._parse()
        except SystemExit as end:
            if end.code not in (0, 2):
                raise ValueError(f"exit code {end.code}") from end
            return
    offer = msgspec.structs.replace(_OFFER, name=options.name or "n0")
    if join_problem(offer) is None:
        # What ZeroMQ takes as an identity.
        assert len(f"{offer.name}-01234567".encode()) < 256


def _data_sets(folder: Path) -> list[Target]:
    rows = folder / "rows.json"
    rows.write_bytes(msgspec.json.encode(_ROWS))
    zipped = folder / "rows.json.gz"
    zipped.write_bytes(gzip.compress(rows.read_bytes()))
    lines = folder / "articles.jsonl"
    lines.write_text(
        '{"article": "a", "highlights": "b", "id": "1"}\n'
        '{"article": "a", "highlights": ["b", "c"]}\n'
    )
    table = folder / "articles.csv"
    table.write_text('id,article,highlights\n1,"a, b",c\n2,d,"e ""f"""\n')
    parquet = folder / "articles.parquet"
    pyarrow.parquet.write_table(
        pa.table({"article": ["a", "b"], "highlights": ["c", "d"], "id": ["1", "2"]}),
        parquet,
    )
    listing = folder / "calibration.txt"
    listing.write_text("1\n2\n")
    articles = read_articles(str(table), "validation")

    def load(path: Path) -> object:
        config = DatasetConfig(name="cnn_dailymail", path=str(path))
        return load_dataset(config), read_full_rows(path)

    def read(path: Path) -> object:
        return read_articles(str(path), "validation")

    return [
        _file_target(rows, load, (UserError,), name="data set"),
        _file_target(zipped, load, (UserError,), name="data set, gzip", binary=True),
        Target(
            name="draft of a data set",
            inputs=damaged_text([rows.read_bytes()]),
            run=_whole_rows,
            errors=(),
        ),
        _file_target(lines, read, (UserError,), name="articles.jsonl"),
        _file_target(table, read, (UserError,), name="articles.csv"),
        _file_target(parquet, read, (UserError,), name="articles.parquet", binary=True),
        _file_target(
            listing,
            lambda path: pick_calibration(articles, path),
            (UserError,),
            name="list of calibration articles",
        ),
    ]


def _models(folder: Path) -> list[Target]:
    home = folder / "model"
    home.mkdir()
    config, generation = home / "config.json", home / "generation_config.json"
    config.write_text(json.dumps(_HF_CONFIG))
    generation.write_text('{"eos_token_id": [2, 3], "temperature": 0.6}')
    weights = home / "model.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(2, np.float32)}, str(weights))
    settings, tokenizer = home / "tokenizer_config.json", home / "tokenizer.json"
    settings.write_text('{"clean_up_tokenization_spaces": true, "x": [1]}')
    tokenizer.write_text(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [],
                "normalizer": {"type": "NFC"},
                "pre_tokenizer": {"type": "Whitespace"},
                "post_processor": None,
                "decoder": None,
                "model": {
                    "type": "WordLevel",
                    "vocab": {"a": 0, "b": 1},
                    "unk_token": "a",
                },
            }
        )
    )
    model = ModelConfig(
        name="x",
        path=str(home),
        weights=Weights.checkpoint,
        vocabulary="x",
        is_benchmark=False,
        dtype="bfloat16",
        max_model_len=2668,
    )

    def find(_path: Path) -> object:
        return find_model(model, lambda _: None)

    return [
        _file_target(config, find, (UserError,), name="model, config.json"),
        _file_target(generation, find, (UserError,), name="model, generation_config"),
        _file_target(
            settings,
            lambda path: _cleans_up(path.with_name("tokenizer.json")),
            (UserError,),
            name="tokenizer_config.json",
        ),
        _file_target(tokenizer, load_tokenizer, (UserError,), name="tokenizer.json"),
        _file_target(
            config,
            lambda path: load_source(path.parent),
            (UserError,),
            name="calibration, config.json",
        ),
        _file_target(
            weights,
            lambda path: load_source(path.parent),
            (UserError,),
            name="calibration, safetensors",
            binary=True,
        ),
        _file_target(
            config,
            lambda path: check_result(path.parent, {}),
            (UserError, UnexpectedResult),
            name="calibration, result",
        ),
    ]


def _others(folder: Path) -> list[Target]:
    key = folder / "key"
    make_key(key)
    ratings = folder / "ratings.json"
    ratings.write_text('{"H100": {"flops": {"16": 9e14}, "bytes_per_s": 3e12}}')
    machine = folder / "machine.json"
    machine.write_text('{"sockets": 2, "cores": 8, "gpus": null}')
    scores = folder / "accuracy.txt"
    scores.write_text("{'rouge1': 38.1, 'gen_len': 100}\nhash=" + "0a" * 32 + "\n")
    return [
        _file_target(key, read_key, (UserError,), name="key"),
        _file_target(
            scores,
            lambda path: (hash_in(path), _says_something(path)),
            (),
            name="accuracy.txt of a submission",
        ),
        _file_target(ratings, read_ratings, (RecordError,), name="device ratings"),
        _file_target(
            machine,
            lambda path: read_json(path, Machine),
            (RecordError,),
            name="description of a machine",
        ),
    ]
