"""Arithmetic and memory traffic of a model, and the limits of known devices."""

import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from base.decode import DecodeError, decode_json
from record.folder import RecordError
from record.structs import Json, ReplicaRecord
from report.reading.samples import Samples

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "half": 2, "auto": 2}
_NARROW = {"fp8": 1.0, "int8": 1.0, "w8a8": 1.0, "awq": 0.5, "gptq": 0.5, "fp4": 0.5}


class DeviceRating(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Limits of a device as its vendor states them."""

    flops: dict[str, float]
    """Dense FLOP/s by precision in bits: `16` and, if supported, `8` and `32`."""
    bytes_per_s: float
    """Bandwidth of the device's memory."""


RATINGS: dict[str, DeviceRating] = {
    name: DeviceRating(
        flops={bits: tera * 1e12 for bits, tera in flops.items()},
        bytes_per_s=tera_bytes * 1e12,
    )
    for name, flops, tera_bytes in (
        ("H200 NVL", {"16": 835, "8": 1671}, 4.8),
        ("H200", {"16": 989, "8": 1979}, 4.8),
        ("H100 PCIe", {"16": 756, "8": 1513}, 2.0),
        ("H100 NVL", {"16": 835, "8": 1671}, 3.9),
        ("H100 80GB HBM3", {"16": 989, "8": 1979}, 3.35),
        ("GH200 480GB", {"16": 989, "8": 1979}, 4.0),
        ("B200", {"16": 2250, "8": 4500}, 8.0),
        ("B300", {"16": 2250, "8": 4500}, 8.0),
        ("A100-SXM4-80GB", {"16": 312}, 2.039),
        ("A100 80GB PCIe", {"16": 312}, 1.935),
        ("A100-SXM4-40GB", {"16": 312}, 1.555),
        ("A100-PCIE-40GB", {"16": 312}, 1.555),
        ("L40S", {"16": 362, "8": 733}, 0.864),
        ("L4", {"16": 121, "8": 242}, 0.3),
    )
}
"""Dense figures of the vendors' data sheets, by words of the device's name."""


@dataclass(slots=True, kw_only=True)
class ModelShape:
    """Shape of a decoder model of the Llama kind."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocabulary: int
    head_size: int
    tied: bool
    """Whether input and output embeddings are one matrix."""
    weight_bytes: float
    """Bytes of one weight."""
    cache_bytes: float
    """Bytes of one number in the KV cache."""

    @property
    def block_weights(self) -> int:
        """Number of weights in all layers, without embeddings and norms."""
        attention = 2 * self.hidden * self.head_size * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def head_weights(self) -> int:
        """Number of weights in the output layer."""
        return self.hidden * self.vocabulary

    @property
    def weights_bytes(self) -> float:
        """Bytes of all weights; embeddings stay in 16 bits under quantization."""
        embeddings = self.head_weights * (1 if self.tied else 2)
        return self.block_weights * self.weight_bytes + embeddings * max(
            2.0, self.weight_bytes
        )

    @property
    def cache_bytes_per_token(self) -> float:
        """Bytes of one token in the KV cache."""
        return 2 * self.layers * self.kv_heads * self.head_size * self.cache_bytes

    def flops(self, prompt: np.ndarray, output: np.ndarray) -> float:
        """Return the floating-point operations of samples with these token counts.

        Two operations per weight and token, the output layer for output tokens only,
        and 4 x heads x head size x layers for each pair of a token and an earlier one.
        """
        tokens = float((prompt + output).sum())
        pairs = float(((prompt + output).astype(float) ** 2).sum()) / 2
        return (
            2.0 * self.block_weights * tokens
            + 2.0 * self.head_weights * float(output.sum())
            + 4.0 * self.heads * self.head_size * self.layers * pairs
        )

    def bytes_read(self, samples: Samples, steps: float) -> float:
        """Return the bytes that decoding reads: weights per step, cache per token."""
        context = samples.prompt_tokens + samples.output_tokens / 2
        cached = float((context * samples.output_tokens).sum())
        return self.weights_bytes * steps + cached * self.cache_bytes_per_token


def shape_of(record: ReplicaRecord) -> ModelShape | None:
    """Return the shape of a replica's model; None if the record lacks it."""
    model, engine = record.model, record.engine
    names = (
        "layers",
        "hidden_size",
        "intermediate_size",
        "attention_heads",
        "kv_heads",
        "vocab_size",
    )
    values = [model.get(name) for name in names]
    known = [value for value in values if isinstance(value, int) and value > 0]
    if len(known) < len(names):
        return None
    layers, hidden, intermediate, heads, kv_heads, vocabulary = known
    width = float(_BYTES.get(str(model.get("dtype")), 2))
    return ModelShape(
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        heads=heads,
        kv_heads=kv_heads,
        vocabulary=vocabulary,
        head_size=int(model.get("head_size") or hidden // heads),
        tied=bool(model.get("tied_embeddings", False)),
        weight_bytes=_narrowed(engine.get("quantization"), width),
        cache_bytes=_narrowed(engine.get("kv_cache_dtype"), width),
    )


def precision_bits(record: ReplicaRecord) -> str:
    """Return the bits of the arithmetic: `8`, `16` or `32`."""
    if _narrowed(record.engine.get("quantization"), 2.0) == 1.0:
        return "8"
    return "32" if record.model.get("dtype") == "float32" else "16"


def rating_of(
    device: str, ratings: dict[str, DeviceRating]
) -> tuple[str, DeviceRating] | None:
    """Return the entry of `ratings` whose words all occur in the device's name.

    If several match, the entry with the most words is returned. None if no entry
    matches, and for a part of a device (MIG): its limits are unknown.
    """
    words = _words(device)
    names = [name for name in ratings if _words(name) and _words(name) <= words]
    if not names or "mig" in words:
        return None
    name = max(names, key=lambda known: len(_words(known)))
    return name, ratings[name]


def read_ratings(path: Path) -> dict[str, DeviceRating]:
    """Return the ratings of the JSON file `path` and those of all other known devices.

    An entry of the file also replaces known entries with a more exact name: `H100`
    replaces `H100 PCIe`.

    Raises:
        RecordError: the file is missing or does not have this form.
    """
    try:
        own = decode_json(path.read_bytes(), dict[str, DeviceRating])
    except OSError as error:
        raise RecordError(path, error.strerror or str(error)) from error
    except DecodeError as error:
        raise RecordError(
            path,
            f'{error}; write {{"NAME": {{"flops": {{"16": 9e14}},'
            ' "bytes_per_s": 3e12}}',
        ) from error
    known = {
        name: rating
        for name, rating in RATINGS.items()
        if not any(_words(mine) <= _words(name) for mine in own)
    }
    return known | own


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))


def _narrowed(name: Json, width: float) -> float:
    text = str(name or "").lower()
    return next((bytes_ for key, bytes_ in _NARROW.items() if key in text), width)
