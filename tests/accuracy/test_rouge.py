import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from accuracy import rouge
from accuracy.rouge import score_pairs
from base.errors import UserError

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
