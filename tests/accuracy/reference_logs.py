"""Accuracy logs over the embedded articles, of answers that anyone can make again."""

import json
from pathlib import Path

from tokenizers import Tokenizer

from qsl.dataset import EMBEDDED
from tests.accuracy.made_up import Logged

EXPECTED = Path(__file__).parents[1] / "expected"


def embedded_references() -> list[str]:
    """Return the reference summaries of the embedded articles."""
    return [row["output"] for row in json.loads(EMBEDDED.read_text())]


def logs(tokenizer: Path) -> dict[str, list[Logged]]:
    """Return logs by name.

    `once`: SmolLM2's greedy answers in float32 as `transformers` alone gives them,
    each index once, backwards. `duplicates`: the same with a second answer, that of
    the sample before, to every third index, half of them ahead of the true one.
    `spaced`: the reference summary of the sample before, with a space before each full
    stop and comma, in SmolLM2's vocabulary.
    """
    answers = json.loads((EXPECTED / "smollm2_float32_tokens.json").read_text())
    once: list[Logged] = [(i, answers[i], None) for i in reversed(range(len(answers)))]
    duplicates: list[Logged] = []
    for index, tokens, _ in once:
        pair: list[Logged] = [(index, tokens, None)]
        if index % 3 == 0:
            pair.insert(index % 2, (index, answers[index - 1], None))
        duplicates += pair
    encoder = Tokenizer.from_file(str(tokenizer))
    texts = embedded_references()
    spaced: list[Logged] = [
        (i, encoder.encode(_spaced(texts[i - 1])).ids, None) for i in range(len(texts))
    ]
    return {"once": once, "duplicates": duplicates, "spaced": spaced}


def _spaced(text: str) -> str:
    return text.replace(".", " .").replace(",", " ,")
