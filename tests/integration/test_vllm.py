"""The real thing, small: SmolLM2 on vLLM, on whatever this machine has."""

import ast
import hashlib
import json
from itertools import islice
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from conf.load import load_config
from qsl.cnn_eval import prompt
from qsl.dataset import EMBEDDED
from record.folder import read_json
from record.loadgen_log import read_answers, read_detail
from record.structs import SettingsRecord
from sut.model import Model, find_model
from tests.integration.command import Finished, run
from tests.shared_data import shared_data

pytestmark = [pytest.mark.integration, pytest.mark.alone]
EXPECTED = Path(__file__).parents[1] / "expected"
EMBEDDED_ROWS, REAL_ROWS = 64, 32
"""Of how many articles the reference's scores are known."""


@pytest.fixture(scope="module")
def model() -> Model:
    return find_model(load_config([]).model, print)


def _assert_good(done: Finished, replicas: int) -> None:
    assert done.code == 0, done.err + done.out
    assert done.verdict.outcome == "passed"
    assert {s.replica for s in done.samples} == set(range(replicas))
    assert {s.status for s in done.samples} == {"completed"}
    assert all(s.cached_tokens == 0 for s in done.samples)
    for sample in done.samples:
        assert None not in (sample.queue_ns, sample.prefill_ns, sample.decode_ns)
        assert sample.finish_reason in ("stop", "length")
        assert 1 <= sample.output_tokens <= 128
    for record in done.replicas:
        assert record.versions["vllm"]
        assert record.load_s > 0
        assert record.first_request_s > 0
        assert record.memory_bytes


@pytest.fixture(scope="module")
def embedded_default(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return run(tmp_path_factory.mktemp("default"), timeout_s=600)


def test_the_embedded_default(embedded_default: Finished) -> None:
    done = embedded_default
    _assert_good(done, replicas=1)
    values = read_detail(done.folder.detail_log).values
    assert values["result_validity"] == "VALID"
    assert len(done.samples) == 64
    produced = sum(s.output_tokens for s in done.samples)
    seconds = produced / values["result_tokens_per_second"]
    wall = max(s.completed_ns or 0 for s in done.samples) - done.samples[0].issued_ns
    assert seconds == pytest.approx(wall / 1e9, rel=0.01)
    for name in ("report.json", "report.md", "report.html", "telemetry.jsonl"):
        assert (done.folder / name).stat().st_size > 0
    assert "open next" in done.out


def test_server_streams_two_messages_a_sample(
    tmp_path: Path, embedded_default: Finished
) -> None:
    # Prompts of 64 tokens: a machine that answered whole articles at this rate in one
    # batch is far from busy.
    rows = json.loads(EMBEDDED.read_text())[:48]
    path = tmp_path / "data.json"
    path.write_text(json.dumps([r | {"tok_input": r["tok_input"][:64]} for r in rows]))
    offline = read_detail(embedded_default.folder.detail_log).values
    done = run(
        tmp_path / "runs",
        "scenario=server",
        f"scenario.target_qps={0.8 * offline['result_samples_per_second']:.3f}",
        f"dataset.path={path}",
        timeout_s=600,
    )
    _assert_good(done, replicas=1)
    for sample in done.samples:
        assert sample.first_token_ns is not None
        assert sample.completed_ns is not None
        assert sample.issued_ns <= sample.first_token_ns <= sample.completed_ns
    values = read_detail(done.folder.detail_log).values
    assert values["result_validity"] == "VALID"
    assert values["result_first_token_99.00_percentile_latency_ns"] < 60e9


@pytest.mark.parametrize(
    ("embedded", "real"),
    [
        (12, 6),
        pytest.param(EMBEDDED_ROWS, REAL_ROWS, marks=pytest.mark.acceptance),
    ],
)
def test_float32_is_token_for_token_what_transformers_gives(
    embedded: int, real: int, tmp_path: Path, model: Model
) -> None:
    rows = json.loads(EMBEDDED.read_text())[:embedded]
    answers_of = json.loads((EXPECTED / "smollm2_float32_tokens.json").read_text())
    expected = [_digest(tokens) for tokens in answers_of[:embedded]]
    try:
        source = shared_data("cnndm_validation_1000.jsonl")
        rows += _real_rows(source, model, real)
        digests = (EXPECTED / "smollm2_float32_real_sha256.json").read_text()
        expected += json.loads(digests)[:real]
    except pytest.skip.Exception as skipped:
        print(f"the embedded articles alone: {skipped}")
    path = tmp_path / "data.json"
    path.write_text(json.dumps(rows))
    done = run(
        tmp_path / "runs",
        "mode=accuracy",
        f"dataset.path={path}",
        "model.dtype=float32",
        "cluster.replicas=2",
        timeout_s=900,
    )
    _assert_good(done, replicas=2)
    answers = {a.qsl_index: a for a in read_answers(done.folder.accuracy_log)}
    wrong = [
        index
        for index, digest in enumerate(expected)
        if _digest(answers[index].tokens.tolist()) != digest
    ]
    assert wrong == []
    accuracy = json.loads((done.folder / "accuracy.json").read_text())
    assert accuracy["target_applies"] is False
    assert accuracy["problems"] == []
    if embedded == EMBEDDED_ROWS:
        scores = json.loads((EXPECTED / "reference_scores.json").read_text())
        log = "once" if len(expected) == 64 else "embedded articles and 32 real ones"
        text = (done.folder / "accuracy.txt").read_text()
        assert ast.literal_eval(text) == scores[log]
    settings = read_json(done.folder.settings, SettingsRecord)
    assert settings.tokenizer == str(model.tokenizer)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("max_num_sequences=4", "did you mean max_num_seqs?"),
        ("max_num_seqs=many", "engine.options.max_num_seqs=many: Input should be a"),
        ("quantization=fq8", "engine.options.quantization=fq8: "),
    ],
)
def test_a_wrong_engine_option_is_the_users_mistake(
    tmp_path: Path, option: str, message: str
) -> None:
    done = run(tmp_path, f"engine.options.{option}", timeout_s=400)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


def test_embedded_tokens_are_the_models_own(model: Model) -> None:
    assert model.tokenizer is not None
    tokenizer = Tokenizer.from_file(str(model.tokenizer))
    for row in json.loads(EMBEDDED.read_text()):
        assert tokenizer.encode(prompt(row["input"])).ids == row["tok_input"]


def _real_rows(path: Path, model: Model, count: int) -> list[dict[str, object]]:
    tokenizer = Tokenizer.from_file(str(model.tokenizer))
    with path.open() as file:
        articles = [json.loads(line) for line in islice(file, count)]
    return [
        {
            "tok_input": tokenizer.encode(prompt(item["article"])).ids,
            "output": item["highlights"],
        }
        for item in articles
    ]


def _digest(tokens: list[int]) -> str:
    data = b"".join(token.to_bytes(4, "little", signed=True) for token in tokens)
    return hashlib.sha256(data).hexdigest()
