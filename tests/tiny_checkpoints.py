"""Checkpoints of random weights of four model families, made by transformers.

Each has its family's own configuration class, so that `config.json` has what a
published checkpoint of the family has, and a byte-level tokenizer with a chat template.
`python -m tests.tiny_checkpoints FOLDER` writes them all.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

FAMILIES = ("llama", "qwen", "mistral", "gemma")
_WRITTEN = Path(__file__).parent / "families"
VOCABULARY = 512
_SPECIAL = ("<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>")
EOS = 2
LONGEST = {"llama": 2048, "qwen": 4096, "mistral": 1024, "gemma": 8192}
"""`max_position_embeddings` of each family here; they differ on purpose."""
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen": "Qwen3ForCausalLM",
    "mistral": "MistralForCausalLM",
    "gemma": "Gemma3ForCausalLM",
}
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|user|>{% else %}<|assistant|>{% endif %}"
    "{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write_configuration(family: str, folder: Path) -> Path:
    """Write `config.json`, `generation_config.json` and the tokenizer to `folder`.

    They are enough where a server holds the weights, and to read a checkpoint's facts.
    `config.json` is a copy of what transformers wrote: to import it takes seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(_WRITTEN / f"{family}.json", folder / "config.json")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": EOS}))
    _write_tokenizer(folder)
    return folder


def write_checkpoint(family: str, folder: Path) -> Path:
    """Write a whole checkpoint of `family` to `folder` and return it."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(configuration(family))
    model.generation_config.eos_token_id = EOS
    model.save_pretrained(folder)
    _write_tokenizer(folder)
    return folder


def configuration(family: str) -> Any:
    """Return the configuration of `family` as its class in transformers has it."""
    import transformers

    # At least 32 values per head: vLLM's attention on CPUs knows only usual sizes.
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": LONGEST[family],
        "bos_token_id": 1,
        "eos_token_id": EOS,
        "pad_token_id": 0,
        "tie_word_embeddings": family == "gemma",
    }
    names = {
        "llama": "LlamaConfig",
        "qwen": "Qwen3Config",
        "mistral": "MistralConfig",
        "gemma": "Gemma3TextConfig",
    }
    if family == "mistral":
        shape["sliding_window"] = None
    return getattr(transformers, names[family])(**shape)


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: number for number, word in enumerate([*_SPECIAL, *alphabet])}
    made = Tokenizer(models.BPE(vocab=words, merges=[], unk_token="<unk>"))
    made.add_special_tokens(list(_SPECIAL))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    made.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


if __name__ == "__main__":
    for name in FAMILIES:
        print(write_checkpoint(name, Path(sys.argv[1]) / name))
