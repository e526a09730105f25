"""Run folders in accuracy mode whose answers are text."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

from conf.load import load_config, to_yaml
from record.folder import RunFolder, read_json, write_json
from record.structs import SettingsRecord
from tests.run_folder import STOP, good_spec, sample, write_folder

WORDS = ["[UNK]", "the", "</s>", "sat", "on", "mat", "dog", "ran", ".", "far", "cat"]
REFERENCES = ["the cat sat on the mat .", "the dog ran far ."]
_DATA = "/data.json"
Logged = tuple[int, list[int], list[int] | None]


def write_tokenizer(folder: Path) -> Path:
    """Write the tokenizer of `WORDS`, in which a token's id is its place."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens([WORDS[STOP]])
    made.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def ids(text: str) -> list[int]:
    """Return the token ids of words."""
    return [WORDS.index(word) for word in text.split()]


def scorable_run(
    path: Path,
    answers: Sequence[Logged],
    references: Sequence[str] = REFERENCES,
    tokenizer: Path | None = None,
    streaming: bool = False,
) -> RunFolder:
    """Write `path/run` with this accuracy log; prompt i has i + 1 tokens."""
    rows = [
        {"tok_input": [1] * (i + 1), "output": text}
        for i, text in enumerate(references)
    ]
    data = path / "data.json"
    path.mkdir(parents=True, exist_ok=True)
    data.write_text(json.dumps(rows))
    spec = good_spec(len(answers))
    spec.mode, spec.streaming = "accuracy", streaming
    spec.answers = list(answers)
    spec.samples = [
        sample(
            seq,
            qsl_index=index,
            prompt_tokens=index + 1,
            output_tokens=len(tokens),
            finish_reason="stop" if tokens[-1:] == [STOP] else "length",
        )
        for seq, (index, tokens, _) in enumerate(answers)
    ]
    folder = write_folder(path / "run", spec)
    folder.config.write_text(_config().replace(_DATA, str(data)))
    settings = read_json(folder.settings, SettingsRecord)
    settings.tokenizer = str(tokenizer or write_tokenizer(path))
    write_json(folder.settings, settings)
    return folder


@cache
def _config() -> str:
    own = [f"dataset.path={_DATA}", "dataset.name=sample"]
    return to_yaml(load_config(["mode=accuracy", "engine=synthetic", *own]))
