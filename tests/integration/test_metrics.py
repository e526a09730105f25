"""The metrics of a real run, scraped hard, and by Prometheus."""

import contextlib
import http.client
import socket
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from record.status import read_status
from tests.integration.command import FAST, SYNTHETIC, Command, alive

pytestmark = pytest.mark.integration
SERVER = [*SYNTHETIC, *FAST, "scenario=server", "scenario.target_qps=100"]
TOKEN = "a-token-of-good-length"
HOSTILE = [
    b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"GET /metrics HTTP/9.9\r\n\r\n",
    b"\0" * 4096,
    b"G",
]


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def scrape(port: int, token: str = "") -> tuple[int, str]:
    """Return the status and the text of one scrape."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request("GET", "/metrics", headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def total(text: str, name: str) -> float:
    """Return the sum of all series of a metric."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"mlperf_sut_{name}"
    )


def answers(port: int) -> Callable[[], bool]:
    """Return whether a scrape succeeds."""

    def look() -> bool:
        try:
            return scrape(port)[0] in (200, 401)
        except OSError:
            return False

    return look


def test_scrapers_and_attackers_cost_the_run_nothing(tmp_path: Path) -> None:
    port = free_port()
    command = Command(
        tmp_path, *SERVER, "run.min_queries=900", f"run.metrics_port={port}"
    )
    command.wait_for_samples(20)
    half_open = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
    replies = set()
    for attack in HOSTILE:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as attacker:
            attacker.sendall(attack)
            if len(attack) > 1 and attack[:1] == b"G":
                # A server that leaves bytes of a request unread resets the connection.
                with contextlib.suppress(ConnectionResetError):
                    replies.add(attacker.recv(100)[9:12])
    assert replies
    assert replies <= {b"403", b"404", b"400", b"405"}
    longest, text = 0.0, ""
    for _ in range(1000):
        begin = time.monotonic()
        code, text = scrape(port)
        longest = max(longest, time.monotonic() - begin)
        assert code == 200
    assert longest < 5
    assert 50 <= total(text, "requests_completed_total") <= 900
    exporters = [
        child.pid
        for child in psutil.Process(command.pid).children()
        if "watch.exporter" in child.cmdline()
    ]
    assert len(exporters) == 1
    done = command.finish()
    for connection in half_open:
        connection.close()
    assert done.is_good, done.err
    assert sorted(sample.seq for sample in done.samples) == list(range(900))
    assert {sample.status for sample in done.samples} == {"completed"}
    assert done.events == []
    assert alive(exporters) == []
    status = read_status(done.folder)
    assert (status.state, status.outcome) == ("finished", "passed")
    assert (status.issued, status.completed) == (900, 900)


def test_other_hosts_need_the_token_which_is_not_recorded(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    command = Command(
        tmp_path / "runs",
        *SERVER,
        "run.min_queries=150",
        f"run.metrics_port={port}",
        "run.metrics_address=0.0.0.0",
        f"run.metrics_token_file={file}",
    )
    command.wait_for(answers(port), "the metrics")
    assert scrape(port)[0] == 401
    assert scrape(port, "another-token")[0] == 401
    code, text = scrape(port, TOKEN)
    assert code == 200
    assert total(text, "run_start_time_seconds") > 0
    (exporter,) = (
        child
        for child in psutil.Process(command.pid).children()
        if "watch.exporter" in child.cmdline()
    )
    exporter.kill()
    done = command.finish()
    assert done.is_good, done.err
    assert "warning: the process of the metrics ended early" in done.err
    recorded = [path for path in done.folder.path.rglob("*") if path.is_file()]
    assert len(recorded) > 10
    assert not [path for path in recorded if TOKEN.encode() in path.read_bytes()]
