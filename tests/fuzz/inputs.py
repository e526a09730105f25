"""Data sets, models and the other files that users bring."""

import gzip
import json
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import safetensors.numpy

from accuracy.answers import _cleans_up, load_tokenizer
from base.errors import UserError
from calibration.result import UnexpectedResult, check_result
from calibration.source import load_source
from conf.schema import DatasetConfig, ModelConfig, Weights
from qsl.articles import pick_calibration, read_articles
from qsl.cnn_eval import FullRow, _whole_rows, read_full_rows
from qsl.dataset import load_dataset
from record.folder import RecordError, read_json
from report.statistics.physics import read_ratings
from submission.checks.documents import _says_something
from submission.documents import hash_in
from submission.machine import Machine
from sut.model import find_model
from sut.wire.keys import make_key, read_key
from tests.fuzz.damage import damaged_text
from tests.fuzz.target import Target, file_target

_HF_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 1,
    "vocab_size": 64,
    "max_position_embeddings": 4096,
    "eos_token_id": [2, 3],
    "quantization_config": None,
}


_ROWS = [
    FullRow(input="a b", instruction={"llama": "x"}, output="c", tok_input=[1, 2, 3]),
    FullRow(input="d", instruction="y", output="e", tok_input=[4]),
]


def data_set_targets(folder: Path) -> list[Target]:
    rows = folder / "rows.json"
    rows.write_bytes(msgspec.json.encode(_ROWS))
    zipped = folder / "rows.json.gz"
    zipped.write_bytes(gzip.compress(rows.read_bytes()))
    lines = folder / "articles.jsonl"
    lines.write_text(
        '{"article": "a", "highlights": "b", "id": "1"}\n'
        '{"article": "a", "highlights": ["b", "c"]}\n'
    )
    table = folder / "articles.csv"
    table.write_text('id,article,highlights\n1,"a, b",c\n2,d,"e ""f"""\n')
    parquet = folder / "articles.parquet"
    pyarrow.parquet.write_table(
        pa.table({"article": ["a", "b"], "highlights": ["c", "d"], "id": ["1", "2"]}),
        parquet,
    )
    listing = folder / "calibration.txt"
    listing.write_text("1\n2\n")
    articles = read_articles(str(table), "validation")

    def load(path: Path) -> object:
        config = DatasetConfig(name="cnn_dailymail", path=str(path))
        return load_dataset(config), read_full_rows(path)

    def read(path: Path) -> object:
        return read_articles(str(path), "validation")

    return [
        file_target(rows, load, (UserError,), name="data set"),
        file_target(zipped, load, (UserError,), name="data set, gzip", binary=True),
        Target(
            name="draft of a data set",
            inputs=damaged_text([rows.read_bytes()]),
            run=_whole_rows,
            errors=(),
        ),
        file_target(lines, read, (UserError,), name="articles.jsonl"),
        file_target(table, read, (UserError,), name="articles.csv"),
        file_target(parquet, read, (UserError,), name="articles.parquet", binary=True),
        file_target(
            listing,
            lambda path: pick_calibration(articles, path),
            (UserError,),
            name="list of calibration articles",
        ),
    ]


def model_targets(folder: Path) -> list[Target]:
    home = folder / "model"
    home.mkdir()
    config, generation = home / "config.json", home / "generation_config.json"
    config.write_text(json.dumps(_HF_CONFIG))
    generation.write_text('{"eos_token_id": [2, 3], "temperature": 0.6}')
    weights = home / "model.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(2, np.float32)}, str(weights))
    settings, tokenizer = home / "tokenizer_config.json", home / "tokenizer.json"
    settings.write_text('{"clean_up_tokenization_spaces": true, "x": [1]}')
    tokenizer.write_text(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [],
                "normalizer": {"type": "NFC"},
                "pre_tokenizer": {"type": "Whitespace"},
                "post_processor": None,
                "decoder": None,
                "model": {
                    "type": "WordLevel",
                    "vocab": {"a": 0, "b": 1},
                    "unk_token": "a",
                },
            }
        )
    )
    model = ModelConfig(
        name="x",
        path=str(home),
        weights=Weights.checkpoint,
        vocabulary="x",
        is_benchmark=False,
        dtype="bfloat16",
        max_model_len=2668,
    )

    def find(_path: Path) -> object:
        return find_model(model, lambda _: None)

    return [
        file_target(config, find, (UserError,), name="model, config.json"),
        file_target(generation, find, (UserError,), name="model, generation_config"),
        file_target(
            settings,
            lambda path: _cleans_up(path.with_name("tokenizer.json")),
            (UserError,),
            name="tokenizer_config.json",
        ),
        file_target(tokenizer, load_tokenizer, (UserError,), name="tokenizer.json"),
        file_target(
            config,
            lambda path: load_source(path.parent),
            (UserError,),
            name="calibration, config.json",
        ),
        file_target(
            weights,
            lambda path: load_source(path.parent),
            (UserError,),
            name="calibration, safetensors",
            binary=True,
        ),
        file_target(
            config,
            lambda path: check_result(path.parent, {}),
            (UserError, UnexpectedResult),
            name="calibration, result",
        ),
    ]


def other_targets(folder: Path) -> list[Target]:
    key = folder / "key"
    make_key(key)
    ratings = folder / "ratings.json"
    ratings.write_text('{"H100": {"flops": {"16": 9e14}, "bytes_per_s": 3e12}}')
    machine = folder / "machine.json"
    machine.write_text('{"sockets": 2, "cores": 8, "gpus": null}')
    scores = folder / "accuracy.txt"
    scores.write_text("{'rouge1': 38.1, 'gen_len': 100}\nhash=" + "0a" * 32 + "\n")
    return [
        file_target(key, read_key, (UserError,), name="key"),
        file_target(
            scores,
            lambda path: (hash_in(path), _says_something(path)),
            (),
            name="accuracy.txt of a submission",
        ),
        file_target(ratings, read_ratings, (RecordError,), name="device ratings"),
        file_target(
            machine,
            lambda path: read_json(path, Machine),
            (RecordError,),
            name="description of a machine",
        ),
    ]
