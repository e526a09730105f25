"""Tokenizer folders of every kind, and what the benchmark's own files hold."""

import importlib.util
import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from base.errors import UserError
from conf.load import load_config
from qsl.prepare import main
from qsl.tokenizer import load_encoder
from sut.model import find_model
from tests.qsl.made_up import articles
from tests.shared_data import shared_data

pytestmark = pytest.mark.integration
EXPECTED = Path(__file__).parents[1] / "expected" / "edge_draw.json"


@pytest.fixture(scope="module")
def llama() -> Path:
    """The folder with Llama 3's tokenizer.model in the wheel `llama-models`."""
    spec = importlib.util.find_spec("llama_models")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package llama-models is not installed")
    return Path(spec.submodule_search_locations[0]) / "llama3"


def test_llamas_own_file_gives_the_official_tokens(
    llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(shared_data("cnndm_validation_1000.jsonl"))
    official = str(shared_data("cnn_eval_1000.json.gz"))
    assert main([source, str(llama), official, "--check"]) == 0
    out = capsys.readouterr().out
    assert "min 141, median 765, mean 833.2, p90 1435, max 2267" in out


def test_llamas_special_tokens_have_their_ids(llama: Path) -> None:
    encoder = load_encoder(llama)
    assert encoder.get_vocab_size() == 128_256
    text = "<|end_of_text|>a<|eot_id|><|reserved_special_token_247|>"
    assert encoder.encode(text).ids == [128_000, 128_001, 64, 128_009, 128_255]
    assert encoder.decode([128_000, 9906, 128_009]) == "Hello"


def test_files_are_those_of_the_benchmarks_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "rows.jsonl", str(tmp_path / "out.json")
    source.write_text("".join(json.dumps(row) + "\n" for row in articles(13_368)))
    tokenizer = find_model(load_config([]).model, print).path
    expected = json.loads(EXPECTED.read_text())["files"]
    assert main([str(source), str(tokenizer), target]) == 0
    assert expected["datacenter"] in capsys.readouterr().out
    assert main([str(source), str(tokenizer), target, "--edge"]) == 0
    assert expected["edge"] in capsys.readouterr().out


def test_a_folder_without_tokenizer_json_is_read_by_transformers(
    tmp_path: Path,
) -> None:
    letters = {chr(ord("a") + i): i for i in range(26)} | {"Ġ": 26, "ab": 27}
    made = Tokenizer(models.BPE(letters, [("a", "b")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.model.save(str(tmp_path))
    config = {"tokenizer_class": "GPT2Tokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_encoder(tmp_path).encode("ab c").ids == [27, 26, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"YQ== 0\nYg== 1\n", "not the tokenizer of Llama 3: it has 2 tokens"),
        (b"YQ== 0\n\x00 x\n", "no readable"),
        (b"\x0a\x0e\x0a\x05<unk>", "no readable"),
        (None, "no readable"),
    ],
)
def test_what_is_no_tokenizer_is_reported(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        load_encoder(tmp_path)
    assert "\n" not in str(raised.value)
