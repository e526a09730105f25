"""The checkpoint that is to be quantized."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated

import msgspec
from safetensors import SafetensorError, safe_open

from base.decode import DecodeError, decode_json
from base.errors import UserError

FUSED = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("mlp.gate_proj", "mlp.up_proj"),
)
"""Products that vLLM makes in one call, so with one scale."""
PRODUCTS = (*FUSED[0], "self_attn.o_proj", *FUSED[1], "mlp.down_proj")
"""The linear layers of a decoder layer. The output layer stays as it is."""


def layer_name(layer: int) -> str:
    """Return the prefix of the names of tensors in a decoder layer."""
    return f"model.layers.{layer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a checkpoint."""

    dtype: str
    """As safetensors names it: BF16, F32, F8_E4M3."""
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


def read_headers(files: Sequence[Path]) -> dict[str, Tensor]:
    """Return the tensors of `files` by name.

    Raises:
        UserError: a file is damaged or cannot be read.
    """
    found: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(path, framework="np") as file:
                for name in file.keys():  # noqa: SIM118 - no dict
                    part = file.get_slice(name)
                    found[name] = Tensor(
                        dtype=part.get_dtype(), shape=tuple(part.get_shape())
                    )
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: no whole safetensors file: {error}") from error
    return found


ARCHITECTURE = "LlamaForCausalLM"
_WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".pth", ".gguf")
_MIB = 2**20


LayerCount = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class _HfConfig(msgspec.Struct):
    """The fields of a checkpoint's config.json that are used here."""

    architectures: list[str]
    vocab_size: int
    max_position_embeddings: int
    num_hidden_layers: LayerCount
    quantization_config: dict[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A bf16 Llama checkpoint."""

    path: Path
    weights: list[Path]
    """Its safetensors files."""
    vocab_size: int
    max_tokens: int
    """Longest sequence that the model is made for."""
    layers: int
    result_bytes: int
    """Room that the weights will take once they are fp8."""

    @property
    def companions(self) -> list[Path]:
        """Files that belong to the result unchanged: tokenizer, license and others."""
        return sorted(
            path
            for path in self.path.iterdir()
            if path.is_file()
            and not path.name.startswith(".")
            and not path.name.endswith(_WEIGHTS)
            and path.name != "config.json"
        )


def load_source(path: Path) -> Source:
    """Return the checkpoint in the folder `path`.

    Raises:
        UserError: no such folder, a file in it is missing or damaged, or it holds
            something else than a Llama model in bf16.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; give the checkpoint's folder")
    config = _read_config(path / "config.json")
    if config.quantization_config is not None:
        method = config.quantization_config.get("quant_method", "unknown method")
        raise UserError(
            f"{path}: already quantized ({method}); give the bf16 checkpoint that it"
            " was made from"
        )
    if ARCHITECTURE not in config.architectures:
        named = ", ".join(config.architectures) or "none"
        raise UserError(f"{path}: architecture {named}, not {ARCHITECTURE}")
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        raise UserError(
            f"{path}: no *.safetensors file; give a whole checkpoint folder"
        )
    tensors = read_headers(weights)
    products = _products(path, config.num_hidden_layers, tensors)
    _check_dtypes(path, tensors)
    return Source(
        path=path,
        weights=weights,
        vocab_size=config.vocab_size,
        max_tokens=config.max_position_embeddings,
        layers=config.num_hidden_layers,
        result_bytes=sum(
            tensor.size * (1 if name in products else 2)
            for name, tensor in tensors.items()
        ),
    )


def check_room(source: Source, free_bytes: int, folder: Path) -> None:
    """Refuse to begin what could not be written to `folder`.

    Raises:
        UserError: the disk has not enough room.
    """
    # Tokenizer, headers and record take some more.
    needed = source.result_bytes + 64 * _MIB
    if free_bytes < needed:
        raise UserError(
            f"{folder}: {free_bytes // _MIB} MiB free, the checkpoint needs"
            f" {needed // _MIB}"
        )


def _read_config(path: Path) -> _HfConfig:
    try:
        return decode_json(path.read_bytes(), _HfConfig)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; is this a model folder?") from error
    except DecodeError as error:
        raise UserError(f"{path}: damaged: {error}") from error


def _products(path: Path, layers: int, tensors: dict[str, Tensor]) -> set[str]:
    """Return the names of the weights that are to be quantized."""
    wanted = {
        f"{layer_name(layer)}.{product}.weight"
        for layer in range(layers)
        for product in PRODUCTS
    }
    if missing := sorted(wanted - tensors.keys()):
        raise UserError(
            f"{path}: {len(missing)} weights are missing, first {missing[0]}; give a"
            " whole checkpoint folder"
        )
    return wanted


def _check_dtypes(path: Path, tensors: dict[str, Tensor]) -> None:
    # Vectors are left alone: some publishers keep those of norms in float32.
    for name, tensor in tensors.items():
        if len(tensor.shape) > 1 and tensor.dtype != "BF16":
            raise UserError(
                f"{path}: {name} is {tensor.dtype}; give a checkpoint in bf16"
            )
