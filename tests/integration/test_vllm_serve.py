"""Runs over two real vLLM servers on this host's CPU."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from conf.load import load_config
from record.folder import read_lines
from record.loadgen_log import read_answers
from record.structs import EngineLine, TelemetryLine
from sut.model import find_model
from tests.integration.command import Command, Finished, kill_group, run

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3600)]
EXPECTED = Path(__file__).parents[1] / "expected"
SAMPLES = 8
DATA = [f"dataset.count={SAMPLES}", "engine.warmup_requests=1"]
SLOW = ["engine.first_byte_timeout_s=1200", "run.stall_timeout_s=1200"]


@dataclass(slots=True)
class Server:
    """One vLLM server."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> None:
        """Wait until it answers."""
        for _ in range(900):
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            health = f"{self.url}/health"
            with contextlib.suppress(OSError), urllib.request.urlopen(health):
                return
            time.sleep(1.0)
        raise AssertionError(f"{self.url} never answered")


@contextmanager
def vllm_serve(path: Path, folder: Path, count: int) -> Iterator[list[Server]]:
    """Yield servers of the checkpoint `path`, on a CPU or a GPU."""
    servers = []
    try:
        for number in range(count):
            servers.append(_start(path, folder / f"serve-{number}.log"))
        for server in servers:
            server.wait()
        yield servers
    finally:
        for server in servers:
            if server.process.poll() is None:
                kill_group(server.process.pid)
            server.process.wait()


def _start(path: Path, log: Path) -> Server:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        # What `vllm serve` runs; that command does not know vLLM's CPU build.
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(path), "--served-model-name", "smollm2"),
        *("--dtype", "float32", "--enforce-eager", "--max-num-seqs", "8"),
        *("--max-model-len", "2668", "--no-enable-prefix-caching"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]
    settings = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        # Each server binds its threads to all cores by default.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | settings,
            start_new_session=True,
        )
    return Server(f"http://127.0.0.1:{port}", process, log)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    path = find_model(load_config([]).model, print).path
    assert path is not None
    with vllm_serve(path, tmp_path_factory.mktemp("serve"), 2) as servers:
        yield servers


def _on(servers: list[Server]) -> list[str]:
    urls = ",".join(server.url for server in servers)
    return ["engine=endpoint", f"engine.urls=[{urls}]", *DATA, *SLOW]


def _answers(done: Finished) -> dict[int, list[int]]:
    answers = read_answers(done.folder.accuracy_log)
    return {answer.qsl_index: answer.tokens.tolist() for answer in answers}


def test_accuracy_equals_the_engine_in_a_replica(
    servers: list[Server], tmp_path: Path
) -> None:
    """Token for token in float32, and as `transformers` answers."""
    served = run(tmp_path / "a", *_on(servers), "mode=accuracy", timeout_s=1800)
    assert served.code == 0, served.err
    facts = [record.engine for record in served.replicas]
    assert [fact["token_ids"] for fact in facts] == ["server"] * 2
    assert [fact["prefix_cache_hits"] for fact in facts] == ["off"] * 2
    assert {sample.cached_tokens for sample in served.samples} == {0}
    assert {sample.replica for sample in served.samples} == {0, 1}
    own = run(
        tmp_path / "b",
        *("mode=accuracy", "model.dtype=float32", *DATA),
        timeout_s=1800,
    )
    assert own.code == 0, own.err
    answers = _answers(served)
    assert answers == _answers(own)
    expected = json.loads((EXPECTED / "smollm2_float32_tokens.json").read_text())
    assert answers == dict(enumerate(expected[:SAMPLES]))


def test_server_streams_first_tokens(servers: list[Server], tmp_path: Path) -> None:
    done = run(
        tmp_path,
        *(*_on(servers), "scenario=server", "scenario.target_qps=0.2"),
        *("run.min_queries=8", "run.latency_percentile=0.5"),
        *("run.ttft_ms=600000", "run.tpot_ms=600000"),
        timeout_s=1800,
    )
    assert done.lost_nothing, done.err
    assert len(done.samples) == 8
    for sample in done.samples:
        assert sample.first_token_ns is not None
        assert sample.completed_ns is not None
        assert sample.issued_ns < sample.first_token_ns < sample.completed_ns
        assert sample.cached_tokens == 0
    lines: list[TelemetryLine] = list(read_lines(done.folder.telemetry, TelemetryLine))
    engines = [line for line in lines if isinstance(line, EngineLine)]
    assert max(line.server_running or 0 for line in engines) >= 1
    assert max(line.kv_used or 0 for line in engines) > 0


def test_offline_loses_nothing_when_a_server_is_killed(
    servers: list[Server], tmp_path: Path
) -> None:
    command = Command(tmp_path, *_on(servers))
    command.wait_for(command.folder.replicas.exists, "replicas.json", 600)
    # Both have received samples by then; the first answers take longer.
    time.sleep(3.0)
    os.killpg(servers[0].process.pid, signal.SIGKILL)
    done = command.finish(1800)
    assert done.lost_nothing, done.err
    assert sorted(sample.seq for sample in done.samples) == list(range(SAMPLES))
    assert {sample.status for sample in done.samples} == {"completed"}
    assert done.verdict.degraded
    causes = [event.cause for event in done.events if event.kind == "fence"]
    assert len(causes) == 1
    assert servers[0].url in causes[0]
