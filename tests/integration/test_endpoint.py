"""Runs over stub servers that are processes of their own."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from record.folder import read_lines
from record.structs import EngineLine, TelemetryLine
from tests.integration.command import ROOT, Command

ENDPOINT = ["engine=endpoint", "model=llama3_1-8b_dummy", "dataset=synthetic"]
SERVER = ["scenario=server", "scenario.target_qps=40", "run.min_queries=160"]


@contextmanager
def stub(*options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Yield the address of a stub server and its process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.sut.engines.stub_server", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield f"http://localhost:{int(process.stdout.readline())}", process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("scenario", "count"),
    [(["scenario=offline"], 200), (SERVER, 160)],
    ids=["off", "srv"],
)
def test_a_dead_server_loses_nothing(
    tmp_path: Path, scenario: list[str], count: int
) -> None:
    slow = ("--token-s", "0.002", "--chunk-tokens", "32")
    with stub(*slow) as (first, dies), stub(*slow) as (second, _):
        command = Command(
            tmp_path,
            *ENDPOINT,
            *scenario,
            "dataset.count=200",
            "engine.max_concurrency=12",
            "engine.retries=0",
            f"engine.urls=[{first},{second}/v1]",
        )
        command.wait_for_samples(count // 3)
        dies.send_signal(signal.SIGKILL)
        done = command.finish()
    assert done.lost_nothing, done.err
    assert sorted(sample.seq for sample in done.samples) == list(range(count))
    assert {sample.status for sample in done.samples} == {"completed"}
    assert {sample.output_tokens for sample in done.samples} == {128}
    assert {sample.cached_tokens for sample in done.samples} == {0}
    assert {sample.replica for sample in done.samples} == {0, 1}
    assert done.verdict.degraded
    causes = [event.cause for event in done.events if event.kind == "fence"]
    assert len(causes) == 1
    assert first in causes[0]
    assert [record.engine["url"] for record in done.replicas] == [first, second]
    lines: list[TelemetryLine] = list(read_lines(done.folder.telemetry, TelemetryLine))
    engines = [line for line in lines if isinstance(line, EngineLine)]
    assert 3 in {line.server_running for line in engines}


@pytest.mark.integration
def test_a_server_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with stub() as (gone, _):
        pass
    done = Command(tmp_path, *ENDPOINT, f"engine.urls={gone}").finish()
    assert done.code == 2
    assert f"{gone}: it cannot be reached" in done.err
    assert "Traceback" not in done.err


@pytest.mark.integration
def test_a_key_is_in_no_record(tmp_path: Path) -> None:
    with stub("--token", "s3cret-key") as (url, _):
        command = Command(
            tmp_path,
            *ENDPOINT,
            "dataset.count=20",
            f"engine.urls={url}",
            "engine.api_key_env=STUB_KEY",
            env={"STUB_KEY": "s3cret-key"},
        )
        done = command.finish()
    assert done.code == 0, done.err
    files = [path for path in done.folder.path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if b"s3cret-key" in path.read_bytes()]
