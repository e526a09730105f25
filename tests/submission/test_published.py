"""Nothing of the host, and no secret, is in the published copies of a run's records."""

import msgspec
import pytest
from omegaconf import OmegaConf

from conf.engines import VllmConfig
from conf.load import load_config
from record.folder import RunFolder, read_json, read_lines, write_json
from record.structs import EventRecord, ReplicaRecord, SettingsRecord, Verdict
from submission.published import WITHHELD, publish
from tests.submission.trees import unpack

PRIVATE = ("hidden", "10.1.2.3", "/home/me", "hf_abc", "s3kr1t")
OPTIONS = [
    *("engine=vllm", "cluster=external", "cluster.nodes=2"),
    *("cluster.key=/home/me/hidden.key", "cluster.listen=10.1.2.3:5555"),
    *("dataset.path=/home/me/data.json", "model.path=/home/me/model"),
    *("engine.env.HF_TOKEN=hf_abc", "engine.env.VLLM_API_KEY=s3kr1t"),
    *("engine.env.VLLM_HOST_IP=10.1.2.3", "engine.env.MASTER_ADDR=hidden"),
    *("engine.env.VLLM_ATTENTION_BACKEND=FLASH_ATTN", "engine.env.OMP_NUM_THREADS=4"),
    *("engine.options.quantization=fp8", "engine.options.max_num_seqs=256"),
    *("engine.options.download_dir=/home/me", "engine.options.hf_token=hf_abc"),
    "engine.options.compilation_config={cache_dir: /home/me, level: 3}",
]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("published")
    run = unpack(folder / "tree", source=False).result("Server").performance
    config = OmegaConf.structured(load_config(OPTIONS))
    run.config.write_text(OmegaConf.to_yaml(config))
    replicas = read_json(run.replicas, list[ReplicaRecord])
    replicas[0].node = "hidden.example.org"
    replicas[0].engine |= {"cache_dir": "/home/me", "dtype": "torch.bfloat16"}
    write_json(run.replicas, replicas)
    settings = read_json(run.settings, SettingsRecord)
    settings.tokenizer = "/home/me/tokenizer.json"
    write_json(run.settings, {**msgspec.to_builtins(settings), "new": "/home/me"})
    verdict = read_json(run.verdict, Verdict)
    verdict.checks[0].note = "/home/me on hidden"
    write_json(run.verdict, verdict)
    causes = ("link to hidden.example.org:5556 broke", "tcp://10.1.2.3:4 is gone")
    events = [
        EventRecord(t_ns=1, kind="rejoin", node="hidden.example.org", cause=causes[0]),
        EventRecord(t_ns=2, kind="stall", node="hidden-too", cause=causes[1]),
    ]
    lines = [msgspec.json.encode(event).decode() + "\n" for event in events]
    run.events.write_text("".join(lines))
    there = RunFolder(folder / "there")
    publish(run, there)
    return there


def test_nothing_private_is_published(published: RunFolder) -> None:
    files = list(published.path.iterdir())
    assert len(files) == 9
    for path in files:
        text = path.read_text()
        assert [word for word in PRIVATE if word in text] == [], path


def test_what_decides_a_run_is_published(published: RunFolder) -> None:
    config = load_config([], published.config)
    assert config.dataset.path == "data.json"
    assert config.model.path == "model"
    engine = config.engine
    assert isinstance(engine, VllmConfig)
    assert engine.options == {
        "quantization": "fp8",
        "max_num_seqs": 256,
        "download_dir": WITHHELD,
        "hf_token": WITHHELD,
        "compilation_config": {"cache_dir": WITHHELD, "level": 3},
    }
    assert engine.env["VLLM_ATTENTION_BACKEND"] == "FLASH_ATTN"
    assert engine.env["OMP_NUM_THREADS"] == "4"
    assert engine.env["HF_TOKEN"] == engine.env["MASTER_ADDR"] == WITHHELD


def test_records_keep_what_the_checks_read(published: RunFolder) -> None:
    replica = read_json(published.replicas, list[ReplicaRecord])[0]
    assert replica.node == "node-1"
    assert replica.engine["dtype"] == "torch.bfloat16"
    assert replica.engine["max_num_seqs"] == 1024
    assert read_json(published.settings, SettingsRecord).tokenizer == "tokenizer.json"
    assert read_json(published.verdict, Verdict).outcome == "passed"
    events: list[EventRecord] = list(read_lines(published.events, EventRecord))
    assert [(e.kind, e.node, e.cause) for e in events] == [
        ("rejoin", "node-1", WITHHELD),
        ("stall", WITHHELD, WITHHELD),
    ]
