"""Names model and data by what they are, where the user gives others than a preset's.

A folder or a file of the user's own is not the model or the data of the preset that it
was given beside, so neither its name, nor its vocabulary, nor its origin holds for it.
"""

from collections.abc import Collection
from pathlib import Path

from conf.engines import SyntheticConfig
from conf.schema import Config, ModelConfig, Weights

_BENCHMARK_MODELS = ("llama3_1-8b", "llama3_1-8b_dummy")
"""Presets whose checkpoint is the user's folder."""
_BENCHMARK_DATA = "cnn_dailymail"
"""The preset whose data is the user's file."""
_NO_MODEL = "synthetic"


def name_origins(config: Config, given: Collection[str], *, new: bool) -> None:
    """Set names and origins in `config` that the options `given` leave open.

    Args:
        config: the whole configuration; is changed.
        given: names of the options on the command line.
        new: whether it comes from presets, not from a run's own config.yaml.
    """
    model, dataset = config.model, config.dataset
    if isinstance(config.engine, SyntheticConfig):
        if new:
            name = model.name if "model.name" in given else _NO_MODEL
            config.model = ModelConfig(
                name=name, weights=Weights.none, max_model_len=model.max_model_len
            )
    elif "model.path" in given and model.path and model.name not in _BENCHMARK_MODELS:
        if "model.name" not in given:
            model.name = Path(model.path).resolve().name or model.name
        if "model.weights" not in given:
            model.weights = Weights.checkpoint
        if "model.vocabulary" not in given:
            model.vocabulary = None
    if "dataset.path" in given and dataset.path and dataset.name != _BENCHMARK_DATA:
        if "dataset.name" not in given:
            name = Path(dataset.path).name
            dataset.name = name.removesuffix(".gz").removesuffix(".json") or name
        if "dataset.vocabulary" not in given:
            dataset.vocabulary = None
