"""A server behind the engine seam, on a stub that can misbehave."""

import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from sut.engines.base import Engine, EngineConfigError, EngineLostError
from sut.engines.endpoint import client
from sut.engines.endpoint.client import ServerLostError
from sut.engines.endpoint.engine import EndpointEngine
from sut.engines.endpoint.server import ServerState, parse_state
from sut.engines.synthetic import synthetic_answer
from sut.wire.messages import Completion, FirstToken
from tests.sut.engines.contract import MAX_TOKENS, EngineContract, request, run, spec
from tests.sut.engines.stub_server import MODEL, Behavior, StubServer


def options(*urls: str, **changes: object) -> dict[str, Any]:
    values: dict[str, Any] = {
        "urls": list(urls),
        "served_model": None,
        "max_concurrency": 8,
        "connect_timeout_s": 2.0,
        "first_byte_timeout_s": 2.0,
        "chunk_timeout_s": 2.0,
        "busy_timeout_s": 2.0,
        "retries": 2,
        "api_key_env": None,
        "api_key_file": None,
        "api_key_header": "Authorization",
        "ca_file": None,
        "refuse_unknown": False,
    }
    return values | changes


@contextmanager
def engine_on(
    server: StubServer,
    *,
    streaming: bool = True,
    model_path: str = "",
    **changes: Any,
) -> Iterator[EndpointEngine]:
    engine = EndpointEngine(
        spec(
            engine="endpoint",
            model_path=model_path,
            streaming=streaming,
            options=options(server.url, **changes),
        ),
        0,
    )
    try:
        yield engine
    finally:
        engine.close()


def right(done: list[Completion]) -> bool:
    """Whether each answer is that of its own prompt."""
    return all(
        answer.tokens == synthetic_answer(request(answer.seq).prompt, MAX_TOKENS)
        for answer in done
    )


class TestEndpointEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> Iterator[Engine]:
        with StubServer() as server, engine_on(server) as engine:
            yield engine

    def test_steps_account_for_every_token(self, engine: Engine) -> None:
        """A server's steps are its own: there are no records of them."""
        run(engine, request(1))
        assert engine.steps() == (b"", 0)


def test_the_request_is_greedy_and_carries_ids() -> None:
    with StubServer() as server, engine_on(server) as engine:
        run(engine, request(1, length=3))
        body = server.stub.bodies[-1]
    assert len(body["prompt"]) == 3
    assert all(isinstance(token, int) for token in body["prompt"])
    wanted = {
        "model": MODEL,
        "max_tokens": MAX_TOKENS,
        "min_tokens": 1,
        "ignore_eos": False,
        "temperature": 0.0,
        "stop_token_ids": [2],
        "repetition_penalty": 1.0,
        "stream": True,
    }
    assert wanted.items() <= body.items()


@pytest.mark.parametrize("streaming", [True, False])
def test_every_sample_gets_its_own_answer(streaming: bool) -> None:
    with StubServer() as server, engine_on(server, streaming=streaming) as engine:
        first, done = run(engine, *(request(seq) for seq in range(40)))
    assert len(done) == 40
    assert right(done)
    assert len(first) == (40 if streaming else 0)
    assert {answer.cached_tokens for answer in done} == {0}


def test_connections_are_as_many_as_allowed_and_kept() -> None:
    with StubServer() as server, engine_on(server, max_concurrency=5) as engine:
        _, done = run(engine, *(request(seq) for seq in range(200)))
        assert len(done) == 200
        assert len(server.stub.clients) <= 6


@pytest.mark.integration
def test_thousands_of_requests_take_no_more_ports() -> None:
    with (
        StubServer() as server,
        engine_on(server, streaming=False, max_concurrency=16) as engine,
    ):
        _, done = run(engine, *(request(seq) for seq in range(5000)))
        assert sorted(answer.seq for answer in done) == list(range(5000))
        assert right(done)
        assert len(server.stub.clients) <= 17


@pytest.mark.parametrize("status", ["429", "503"])
def test_a_busy_server_is_asked_again(status: str) -> None:
    behavior = Behavior(fault=status, times=6)
    with StubServer(behavior) as server, engine_on(server) as engine:
        first, done = run(engine, *(request(seq) for seq in range(9)))
        assert len(server.stub.answered) == 10
    assert sorted(answer.seq for answer in done) == list(range(9))
    assert len(first) == 9
    assert right(done)


def test_a_connection_that_breaks_before_an_answer_is_no_loss() -> None:
    behavior = Behavior(fault="drop", times=2)
    with StubServer(behavior) as server, engine_on(server) as engine:
        _, done = run(engine, *(request(seq) for seq in range(5)))
        assert len(server.stub.answered) == 6
    assert sorted(answer.seq for answer in done) == list(range(5))


@pytest.mark.parametrize("fault", ["half_closed", "fin"])
def test_an_answer_that_has_begun_is_not_asked_for_again(fault: str) -> None:
    """Else its first token would be reported twice, and its tokens counted twice."""
    behavior = Behavior(fault=fault, from_request=3, times=1)
    with StubServer(behavior) as server, engine_on(server, retries=2) as engine:
        assert len(run(engine, request(1))[1]) == 1
        with pytest.raises(EngineLostError, match="broke half-way"):
            run(engine, request(2))


def test_connections_that_a_server_closes_after_each_answer_are_no_loss() -> None:
    behavior = Behavior(fault="close_after")
    with (
        StubServer(behavior) as server,
        engine_on(server, max_concurrency=2) as engine,
    ):
        _, done = run(engine, *(request(seq) for seq in range(20)))
        assert len(server.stub.answered) == 21
    assert sorted(answer.seq for answer in done) == list(range(20))
    assert right(done)


def test_an_event_without_a_token_is_no_first_token() -> None:
    behavior = Behavior(gap_s=0.15)
    with StubServer(behavior) as server, engine_on(server) as engine:
        begin = time.perf_counter()
        engine.add(request(1))
        begun: list[FirstToken] = []
        done: list[Completion] = []
        while not begun:
            first, ended = engine.step()
            begun += first
            done += ended
        assert time.perf_counter() - begin >= 0.15
        while engine.busy:
            done += engine.step()[1]
    assert (done[0].prefill_ns or 0) >= 150_000_000


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("500", "answers HTTP 500: it broke"),
        ("429", "busy for 0.2 s"),
        ("drop", "disconnected"),
        ("hang", "no byte of an answer for 0.2 s"),
        ("stop_half_way", "stopped half-way for 0.2 s"),
        ("half_closed", "broke half-way"),
        ("fin", "broke half-way"),
        ("no_end", "without a finish reason"),
        ("broken", "an event is broken"),
        ("error_event", "the server reports: out of memory"),
    ],
)
def test_a_server_that_misbehaves_is_given_up(fault: str, cause: str) -> None:
    behavior = Behavior(fault=fault, from_request=3)
    names = ("first_byte_timeout_s", "chunk_timeout_s", "busy_timeout_s")
    limits: dict[str, Any] = dict.fromkeys(names, 0.2)
    with (
        StubServer(behavior) as server,
        engine_on(server, retries=0, **limits) as engine,
    ):
        assert len(run(engine, request(1))[1]) == 1
        with pytest.raises(EngineLostError, match=cause) as caught:
            run(engine, request(2))
        assert server.url in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("400", "HTTP 400: bad prompt"),
        ("truncated", "read 39 prompt tokens of 40"),
        ("not_streamed", "did not stream"),
    ],
)
def test_one_refused_request_leaves_the_others(fault: str, cause: str) -> None:
    behavior = Behavior(fault=fault, times=1)
    with StubServer(behavior) as server, engine_on(server) as engine:
        refused = run(engine, request(1))[1][0]
        assert cause in refused.finish_reason
        assert right(run(engine, request(2))[1])


def test_what_the_server_says_of_itself() -> None:
    behavior = Behavior(max_model_len=45)
    with StubServer(behavior) as server, engine_on(server) as engine:
        info, stats = engine.info, engine.stats()
        with pytest.raises(Exception, match="model's length of 45"):
            engine.add(request(1))
    assert info.versions["stub"] == "1.2.3"
    assert info.model["served_model"] == MODEL
    assert info.settings["token_ids"] == "server"
    assert info.settings["enable_prefix_caching"] is False
    assert (stats.server_running, stats.server_waiting, stats.kv_used) == (3, 2, 0.25)
    assert stats.prefix_cache_hit_tokens == 7


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "1e300"])
def test_a_figure_that_is_no_number_is_left_out(value: str) -> None:
    names = ("num_requests_running", "kv_cache_usage_perc", "prefix_cache_hits_total")
    text = "".join(f"vllm:{name} {value}\n" for name in names)
    state = parse_state(f"{text}vllm:num_requests_waiting 2\n".encode())
    assert state == ServerState(waiting=2)


def test_a_damaged_line_loses_the_server_and_not_the_reader() -> None:
    line = b'vllm:cache_config_info{enable_prefix_caching="False",\t="y"} 1.0\n'
    with pytest.raises(ServerLostError, match="/metrics cannot be read"):
        parse_state(line)


def test_an_answer_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_LONGEST_BODY", 100)
    with (
        StubServer(Behavior()) as server,
        pytest.raises(EngineConfigError, match="an answer is longer than"),
        engine_on(server),
    ):
        pass


def write_tokenizer(folder: Path) -> Path:
    vocabulary = {f"t{token}": token for token in range(32_000)} | {"?": 32_000}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_without_token_ids_the_tokenizer_counts(tmp_path: Path) -> None:
    behavior = Behavior(token_ids=False)
    path = str(write_tokenizer(tmp_path))
    with StubServer(behavior) as server, engine_on(server, model_path=path) as engine:
        first, done = run(engine, request(1))
        assert engine.info.settings["token_ids"] == "tokenizer"
    assert right(done)
    assert first[0].token == done[0].tokens[:4]


@pytest.mark.parametrize(
    ("caching", "reported", "cached"),
    [("True", 5, 5), ("True", None, None), (None, None, None), ("False", None, 0)],
)
def test_prefix_cache_hits_are_known_or_not(
    caching: str | None, reported: int | None, cached: int | None
) -> None:
    behavior = Behavior(caching=caching, cached_tokens=reported)
    with StubServer(behavior) as server, engine_on(server) as engine:
        assert run(engine, request(1))[1][0].cached_tokens == cached


@pytest.mark.parametrize(
    ("behavior", "cause"),
    [
        (Behavior(caching=None), "does not report prefix-cache hits"),
        (Behavior(caching="True"), "does not report prefix-cache hits"),
        (Behavior(token_ids=False), "gives no token ids"),
    ],
)
def test_a_full_run_refuses_what_is_not_known(behavior: Behavior, cause: str) -> None:
    with (
        StubServer(behavior) as server,
        pytest.raises(EngineConfigError, match=cause),
        engine_on(server, refuse_unknown=True),
    ):
        pass


def test_a_full_run_takes_a_server_that_tells_all() -> None:
    behavior = Behavior(caching="True", cached_tokens=0)
    with StubServer(behavior) as server, engine_on(server, refuse_unknown=True):
        pass


@pytest.mark.parametrize(
    ("behavior", "changes", "cause"),
    [
        (Behavior(), {"served_model": "x"}, f"does not serve the model x; .*{MODEL}"),
        (Behavior(token_ids=False), {}, "no tokenizer.json to count tokens with"),
        (Behavior(token="s3cret"), {}, "HTTP 401"),
        (Behavior(), {"ca_file": "/none.pem"}, "engine.ca_file=/none.pem: No such"),
        (Behavior(), {"api_key_file": "/none"}, "engine.api_key_file=/none: No such"),
        (Behavior(), {"api_key_env": "NOT_THERE_X"}, "this variable is not set"),
        (Behavior(), {"max_concurrency": 10**9}, "open files"),
        (Behavior(fault="500", from_request=1), {}, "HTTP 500: it broke"),
        (
            Behavior(fault="hang", from_request=1),
            {"first_byte_timeout_s": 0.1},
            "no answer in 0.1 s",
        ),
    ],
)
def test_what_is_refused_at_the_start(
    behavior: Behavior, changes: dict[str, Any], cause: str
) -> None:
    with (
        StubServer(behavior) as server,
        pytest.raises(EngineConfigError, match=cause) as caught,
        engine_on(server, **changes),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_named() -> None:
    with StubServer() as server:
        pass
    with pytest.raises(EngineConfigError, match="cannot be reached"), engine_on(server):
        pass


@pytest.mark.parametrize("header", ["Authorization", "X-Api-Key"])
def test_the_key_comes_from_a_variable_or_a_file_and_stays_secret(
    header: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behavior = Behavior(token="s3cret", header=header)
    monkeypatch.setenv("STUB_KEY", "s3cret")
    (tmp_path / "key").write_text("s3cret\n")
    with StubServer(behavior) as server:
        sources: list[dict[str, Any]] = [
            {"api_key_env": "STUB_KEY"},
            {"api_key_file": str(tmp_path / "key")},
        ]
        for source in sources:
            with engine_on(server, api_key_header=header, **source) as engine:
                assert right(run(engine, request(1))[1])
                assert "s3cret" not in json.dumps(engine.info.settings)
        behavior.token = "another"
        with (
            pytest.raises(EngineConfigError, match=r"Unauthorized: .*\*\*\*") as caught,
            engine_on(server, api_key_header=header, api_key_env="STUB_KEY"),
        ):
            pass
        assert "s3cret" not in str(caught.value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_https_with_a_private_authority(tmp_path: Path) -> None:
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-days", "2", *key, *subject),
            *("-keyout", "key.pem", "-out", "ca.pem"),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    with StubServer(tls=tls) as server:
        with engine_on(server, ca_file=str(tmp_path / "ca.pem")) as engine:
            assert right(run(engine, request(1))[1])
        with pytest.raises(EngineConfigError, match="not trusted"), engine_on(server):
            pass
