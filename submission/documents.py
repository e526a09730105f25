"""The texts of a submission, written from the records of its runs."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from base.benchmark import Benchmark
from conf.engines import VllmConfig
from conf.schema import Config
from record.folder import RunFolder, read_json
from record.loadgen_log import Answer, read_answers, read_detail
from record.structs import Json, ReplicaRecord, SettingsRecord
from submission.request import Request, WeightFacts
from submission.runs import digest

_LONGEST_INPUT_TOKENS = 2048
_TOKEN_BYTES = 4
_RATES = ("result_completed_samples_per_sec", "result_samples_per_second")


def measurements(config: Config, weights: WeightFacts) -> dict[str, Json]:
    """Return the content of measurements.json."""
    return {
        "input_data_types": "int32",
        "retraining": weights.retraining,
        "starting_weights_filename": weights.starting_weights_filename,
        "weight_data_types": weights.weight_data_types
        or known_weight_type(config)
        # Checkpoints of the benchmark hold bfloat16, whatever a CPU computes in.
        or (config.model.dtype if config.model.dtype != "auto" else "bfloat16"),
        "weight_transformations": weights.weight_transformations,
    }


def known_weight_type(config: Config) -> str | None:
    """Return the type of the weights if the configuration decides it.

    None if the checkpoint decides it, since it may be quantized.
    """
    if isinstance(config.engine, VllmConfig):
        chosen = config.engine.options.get("quantization")
        return None if chosen is None else str(chosen)
    return "none: the synthetic engine has no weights"


def result_readme(title: str, config: Config, run: RunFolder) -> str:
    """Return the README of one result: what ran, and how to run it again.

    Raises:
        RecordError: a record of the run is missing or damaged.
    """
    settings = read_json(run.settings, SettingsRecord)
    replicas = read_json(run.replicas, list[ReplicaRecord])
    versions = sorted({f"{k} {v}" for r in replicas for k, v in r.versions.items()})
    engine = ", ".join(f"{k}={v}" for k, v in replicas[0].engine.items())
    gpus = config.cluster.gpus_per_replica
    folders = ["performance/run_1", "accuracy"]
    if config.benchmark is not Benchmark.edge:
        folders.append("TEST06/performance/run_1")
    commands = "\n".join(
        f"mlperf-sut run --config {folder}/config.yaml" for folder in folders
    )
    return f"""\
# {title}
Model {config.model.name}, data set {config.dataset.name}, engine \
{config.engine.name}, {len(replicas)} replica(s) on \
{len({r.node for r in replicas})} node(s)\
{f" with {gpus} GPU(s) each" if gpus else ""}.

`src/README.md` describes how to install the code. To repeat the runs of this result, \
use the configuration beside their logs (paths are shortened to their last part, and \
what is "not published" has to be set):
```
{commands}
```
Configuration (SHA-256 of what decides how a run works): {digest(config)}
LoadGen: model {settings.loadgen_model}, scenario {settings.loadgen_scenario}
Engine: {engine}
Versions: {", ".join(versions)}
"""


def calibration(request: Request) -> str:
    """Return the statement on calibration."""
    return f"# Calibration\n{request.calibration.strip()}\n"


def bandwidth(request: Request, performance: dict[str, Path]) -> str:
    """Return the statement on ingress bandwidth.

    Args:
        request: the submitter's statement.
        performance: folder of the performance run by the scenario's title.

    Raises:
        RecordError: a log is missing or damaged.
    """
    lines = [
        "# Ingress bandwidth",
        f"A prompt has {_LONGEST_INPUT_TOKENS:,} tokens at most, of"
        f" {_TOKEN_BYTES} bytes each. What the system takes in is at most:",
        "",
        "| scenario | samples/s | bytes/s |",
        "|---|---|---|",
    ]
    for title, path in performance.items():
        rate = samples_per_s(RunFolder(path))
        if rate is not None:
            needed = rate * _LONGEST_INPUT_TOKENS * _TOKEN_BYTES
            lines.append(f"| {title} | {rate:.2f} | {needed:,.0f} |")
    return "\n".join([*lines, "", request.bandwidth.strip()]).rstrip() + "\n"


def samples_per_s(run: RunFolder) -> float | None:
    """Return the throughput that LoadGen logged; None where it logs none.

    Raises:
        RecordError: the log is missing or damaged.
    """
    log = read_detail(run.detail_log)
    rates = (log.number(key) for key in _RATES)
    return next((rate for rate in rates if rate is not None), None)


LARGEST_BYTES = 10 * 1024
"""The official checker refuses a longer accuracy log."""
_END_BYTES = 4096
_GAP = b"\n\n...\n\n"
_HASH = re.compile(r"^hash=([0-9a-f]{64})$", re.M)


def truncated(log: bytes) -> bytes:
    """Return the first and last 4096 bytes of `log`; all of it if it is shorter."""
    if len(log) < _END_BYTES:
        return log
    return log[:_END_BYTES] + _GAP + log[-_END_BYTES:]


def with_hash(scores: str, log: bytes) -> str:
    """Return the text of accuracy.txt with the hash of the whole log after it."""
    return f"{scores.rstrip()}\n\nhash={hashlib.sha256(log).hexdigest()}\n"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_in(scores: Path) -> str | None:
    """Return the hash in accuracy.txt; None if it has none.

    Raises:
        OSError: the file cannot be read.
    """
    found = _HASH.search(scores.read_text(errors="replace"))
    return found[1] if found else None


_MAX_STOPS_AT_END = 1


def verification_text(log: Path, settings: SettingsRecord) -> str:
    """Return the content of verify_accuracy.txt.

    Args:
        log: LoadGen's accuracy log of the compliance run.
        settings: of that run; its stop tokens are missing from the official script's
            check.

    Raises:
        RecordError: the log is missing or damaged.
    """
    answers = read_answers(log)
    first = _first_tokens_hold(answers) if settings.streaming else None
    stops = all(_stops_hold(answer, settings.stop_token_ids) for answer in answers)
    lengths = all(a.token_count == len(a.tokens) for a in answers)
    good = first is not False and stops and lengths and bool(answers)
    return (
        f"First token check pass: {'Skipped' if first is None else first}\n"
        f"EOS check pass: {stops}\n"
        f"Sample length check pass: {lengths}\n"
        f"TEST06 verification {'complete' if good else 'failed'}\n"
    )


def _first_tokens_hold(answers: Sequence[Answer]) -> bool:
    return all(
        a.first is not None and a.first.tolist() == a.tokens[:1].tolist()
        for a in answers
    )


def _stops_hold(answer: Answer, stop_token_ids: Sequence[int]) -> bool:
    stops = set(stop_token_ids)
    found = [token in stops for token in answer.tokens.tolist()]
    return sum(found) <= _MAX_STOPS_AT_END and not any(found[:-1])
