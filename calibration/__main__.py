"""`python -m calibration`: a bf16 checkpoint to fp8 with static scales."""

from base.command import ArgumentParser, run_command, start_module

if __name__ == "__main__":
    # Before the imports below, in which memory can run out.
    start_module("calibration.__main__")

import argparse
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from base.errors import ExitCode, UserError
from calibration.prompts import load_prompts
from calibration.record import NAME, check_new, make_record, new_folder
from calibration.result import check_result
from calibration.source import check_room, load_source
from qsl.tokenizer import load_encoder
from record.folder import write_json

# What the libraries would say, or look for, while they are imported and run. Progress
# is shown by base.log.
_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "LLM_COMPRESSOR_LOG_LEVEL": "ERROR",
    "TOKENIZERS_PARALLELISM": "true",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return run_command(
        lambda: _run(_parser().parse_args(arguments)),
        interrupted="interrupted; nothing was written",
    )


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog="python -m calibration",
        description="Make an fp8 checkpoint with static scales, one for each tensor,"
        " from a bf16 Llama checkpoint: weights, the activations that enter each"
        " product, keys and values.",
    )
    parser.add_argument("checkpoint", type=Path, help="folder of the bf16 checkpoint")
    parser.add_argument(
        "calibration",
        type=Path,
        help="file by `mlperf-sut prepare ... --calibration LIST`, made with the"
        " checkpoint's tokenizer",
    )
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument(
        "--samples", type=int, metavar="N", help="use the first N samples (all)"
    )
    return parser


def _run(options: argparse.Namespace) -> int:
    out: Path = options.out
    check_new(out)
    source = load_source(options.checkpoint)
    check_room(source, shutil.disk_usage(out.parent).free, out.parent)
    encoder = load_encoder(options.checkpoint)
    prompts = load_prompts(options.calibration, source, encoder, options.samples)
    os.environ |= {k: v for k, v in _QUIET.items() if k not in os.environ}
    try:
        from calibration.compress import compress
    except ModuleNotFoundError as error:
        raise UserError(
            f"the package {error.name} is missing: `make calibration-env`, then"
            " .venv-calibration/bin/python -m calibration ..."
        ) from error
    with new_folder(out) as draft:
        done = compress(source.path, prompts.tokens, encoder, draft)
        check_result(draft, done.scales)
        for path in source.companions:
            shutil.copy(path, draft)
        record = make_record(source, prompts, done.device, done.versions)
        write_json(draft / NAME, record)
        for path in draft.iterdir():
            # safetensors writes files that nobody else may read.
            shutil.copymode(draft / "config.json", path)
    count = len(prompts.tokens)
    print(f"{out}: fp8, static scales from {count} samples; how: {out / NAME}")
    return ExitCode.GOOD
