import os

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


def test_a_killed_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rouge, "_score", _die)
    with pytest.raises(UserError, match="processes was killed"):
        score_pairs(_texts(0), _texts(1))
