import socket
from pathlib import Path

import pytest

from base.errors import UserError
from conf.schema import RunConfig
from sut.metrics import TOKEN_VARIABLE, metrics_server


def _enter(**options: object) -> None:
    with metrics_server(RunConfig(**options)):  # type: ignore[arg-type]
        pass


def test_a_free_port_on_loopback_needs_no_token() -> None:
    _enter(metrics_port=0)
    _enter(metrics_port=0, metrics_address="localhost")


def test_a_port_in_use_is_refused_before_the_run() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"run.metrics_port={port} at 127.0.0.1: "):
            _enter(metrics_port=port)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "somewhere"])
def test_other_hosts_need_a_token(address: str) -> None:
    with pytest.raises(UserError, match="needs a token"):
        _enter(metrics_port=0, metrics_address=address)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        (b"short\n", "16 to 4096 printable"),
        (b"with a\nnewline inside, long", "16 to 4096 printable"),
        (b"\xff" * 32, "not ASCII"),
        (b"x" * 5000, "16 to 4096 printable"),
    ],
)
def test_a_bad_token_is_refused(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=problem) as caught:
        _enter(metrics_port=0, metrics_token_file=str(file))
    assert "short" not in str(caught.value).replace(str(file), "")


def test_the_environment_gives_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "0123456789abcdef")
    _enter(metrics_port=0, metrics_address="0.0.0.0")


def test_a_token_without_a_port_has_no_effect(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no effect without"):
        _enter(metrics_token_file=str(tmp_path / "token"))
