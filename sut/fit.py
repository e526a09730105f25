"""Whether the data fit the model: vocabulary, lengths, references."""

from base.errors import UserError
from conf.engines import SyntheticConfig
from conf.schema import Config, Mode, RunKind, Weights
from qsl.cnn_eval import TEMPLATE
from qsl.dataset import Dataset, check_answers, check_prompts, longest_sample
from qsl.tokenizer import load_encoder
from sut.model import Model

_SHORTEST = 16
"""Fewest tokens of `model.max_model_len`."""


def fit_lengths(config: Config, model: Model, dataset: Dataset) -> None:
    """Check every length, and set `model.max_model_len` where it was left out.

    Raises:
        UserError: a prompt and its answer do not fit into the model, a token id is
            outside its vocabulary, answers cannot be scored without references, or
            run=full would have answers of a prescribed length.
    """
    if config.mode is Mode.accuracy and dataset.sha256 and not dataset.references:
        raise UserError(
            f"mode=accuracy scores answers by references, and"
            f" dataset={config.dataset.name} has none; give mode=performance"
        )
    if config.run.kind is RunKind.full and dataset.output_tokens is not None:
        raise UserError(
            f"run=full: dataset={config.dataset.name} prescribes the length of answers"
            " (output_tokens), and by MLPerf's rules they end by themselves; give"
            " run=smoke"
        )
    check_answers(dataset, config.dataset)
    if config.model.max_model_len is None:
        needed = longest_sample(dataset, config.dataset)
        if model.longest is not None and needed > model.longest:
            raise UserError(
                f"model.path={config.model.path}: the model can hold {model.longest}"
                f" tokens, but dataset={config.dataset.name} has a prompt that needs"
                f" {needed} with its answer; leave out long prompts, or lower"
                " dataset.max_output_tokens"
            )
        config.model.max_model_len = max(needed, _SHORTEST)
    check_prompts(dataset, config.dataset, model.vocab_size, config.model.max_model_len)


def check_fits(config: Config, model: Model, dataset: Dataset) -> None:
    """Check that the prompts were tokenized with the model's vocabulary.

    If the model's vocabulary has no name, its tokenizer decides: it must find the
    benchmark's instruction in the first prompt.

    Raises:
        UserError: they were not.
    """
    used, own = config.dataset.vocabulary, config.model.vocabulary
    if (
        isinstance(config.engine, SyntheticConfig)
        or config.model.weights is Weights.dummy
        or used in (None, own)
        or (own is None and _reads(model, dataset))
    ):
        return
    has = f"has the vocabulary {own}" if own else "has another tokenizer"
    given = ""
    if config.dataset.path is not None:
        given = (
            f"if {config.dataset.path} was made with this model's tokenizer, give"
            " dataset=custom instead; else "
        )
    raise UserError(
        f"dataset={config.dataset.name} is tokenized for the vocabulary {used}, but"
        f" model={config.model.name} {has}; {given}make a file with"
        f" `mlperf-sut prepare ARTICLES.jsonl {model.path} OUT.json` and give"
        " dataset=custom dataset.path=OUT.json"
    )


def _reads(model: Model, dataset: Dataset) -> bool:
    if model.tokenizer is None:
        return False
    encoder = load_encoder(model.tokenizer.parent)
    text = encoder.decode(dataset.prompt(0).tolist())
    return TEMPLATE.partition("\n")[0] in text
