from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from base.errors import UserError
from conf.load import load_config
from conf.schema import DatasetConfig
from qsl.cnn_eval import prompt
from qsl.dataset import Dataset, answer_limits
from sut.fit import check_fits
from sut.launch import engine_spec, run_facts
from sut.model import Model
from sut.wire.messages import AdaptiveSpec, StepModel

OWN_DATA = ["dataset=cnn_dailymail", "dataset.path=own.json"]


def _encoder() -> Tokenizer:
    letters = sorted(ByteLevel.alphabet())
    encoder = Tokenizer(BPE({letter: i for i, letter in enumerate(letters)}, []))
    encoder.pre_tokenizer = ByteLevel(add_prefix_space=False)
    encoder.decoder = ByteLevelDecoder()
    return encoder


def _model(path: Path | None = None) -> Model:
    return Model(path=path, vocab_size=100, stop_token_ids=[1])


def _dataset(ids: list[int]) -> Dataset:
    return Dataset("x", np.array(ids, np.int32), np.array([0, len(ids)]), ["y"])


def _check(options: list[str], model: Model, ids: list[int]) -> None:
    check_fits(load_config(options), model, _dataset(ids))


def test_policies_count_the_prescribed_length_else_the_limit() -> None:
    data = DatasetConfig(name="custom", path="own.json", max_output_tokens=300)
    assert answer_limits(_dataset([1, 2]), data).tolist() == [300]
    given = replace(_dataset([1, 2]), output_tokens=np.array([7], np.int32))

    assert answer_limits(given, data).tolist() == [7]
    assert run_facts(_model(), given).prescribed_lengths
    assert run_facts(_model(), given).stop_token_ids == []
    assert not run_facts(_model(), _dataset([1])).prescribed_lengths


def test_another_vocabulary_is_refused_with_the_remedy() -> None:
    with pytest.raises(UserError) as caught:
        _check(OWN_DATA, _model(Path("/m")), [1])
    message = str(caught.value)
    assert "tokenized for the vocabulary llama3" in message
    assert "model=smollm2_135m has the vocabulary smollm2" in message
    assert (
        "if own.json was made with this model's tokenizer, give dataset=custom"
        in message
    )
    assert "mlperf-sut prepare ARTICLES.jsonl /m OUT.json" in message
    _check(["dataset=custom", "dataset.path=own.json"], _model(), [1])
    _check([*OWN_DATA, "dataset.vocabulary=smollm2"], _model(), [1])


def test_a_model_without_a_name_is_judged_by_its_tokenizer(tmp_path: Path) -> None:
    encoder = _encoder()
    encoder.save(str(tmp_path / "tokenizer.json"))
    ids = encoder.encode(prompt("a")).ids
    options = ["model=custom", f"model.path={tmp_path}"]
    _check(options, _model(tmp_path), ids)
    with pytest.raises(UserError, match="has another tokenizer; make a file"):
        _check(options, _model(tmp_path), ids[::-1])
    with pytest.raises(UserError, match="has another tokenizer"):
        _check(options, _model(), ids)


@pytest.mark.parametrize(
    ("options", "quantization", "message"),
    [
        (["engine=vllm_hopper"], "", "needs a Hopper GPU"),
        (["experiment=hopper_offline"], "", "needs a Hopper GPU"),
        ([], "compressed-tensors fp8", "its weights are fp8, which needs a GPU"),
        (["engine.options.quantization=fp8"], "", "quantization=fp8 needs a GPU"),
    ],
)
def test_what_needs_a_gpu_is_refused_on_a_cpu(
    options: list[str], quantization: str, message: str
) -> None:
    model = _model()
    model.quantization = quantization
    with pytest.raises(UserError, match=message):
        engine_spec(load_config(options), model, 0, streaming=False)
    assert engine_spec(load_config(options), model, 1, streaming=False).gpus == 1


@pytest.mark.parametrize(
    ("options", "tpot_s", "message"),
    [
        ([], None, "meets the limit of TPOT, and this scenario has none"),
        (["engine.step_model=[0.1,0.2,0.3]"], 0.1, "must be four numbers"),
        (["engine.step_model=[0.1,0,0.3,0]"], 0.1, "must be four numbers"),
    ],
)
def test_adaptive_batching_that_cannot_be(
    options: list[str], tpot_s: float | None, message: str
) -> None:
    config = load_config(["engine.adaptive_batching=true", *options])
    with pytest.raises(UserError, match=message):
        engine_spec(config, _model(), 1, streaming=True, tpot_s=tpot_s)


def test_adaptive_batching_is_off_unless_it_is_asked_for() -> None:
    given = ["engine.adaptive_batching=true", "engine.step_model=[0.1,0.2,0.3,0.4]"]
    off = engine_spec(load_config([]), _model(), 1, streaming=True, tpot_s=0.1)
    on = engine_spec(load_config(given), _model(), 1, streaming=True, tpot_s=0.1)
    assert off.adaptive is None
    assert on.adaptive == AdaptiveSpec(0.1, StepModel(0.1, 0.2, 0.3, 0.4))
