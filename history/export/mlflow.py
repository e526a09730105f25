"""A run as a run of MLflow: options as parameters, figures as metrics, its report."""

import os
import re

from base.decode import flat
from base.errors import UserError
from history.entry import RunEntry, read_entry
from record.folder import RunFolder, read_yaml
from record.structs import Json

_EXPERIMENT = "mlperf-sut"
_PASSWORD = re.compile(r"//[^/@\s]*@")
_LONGEST = 500
"""Characters of a parameter that every release of MLflow takes."""
_FIGURES = ("samples_per_s", "tokens_per_s", "ttft_p99_ms", "tpot_p99_ms", "replicas")
_ARTIFACTS = ("verdict.json", "config.yaml", "report.html", "report.json")


def log_run(folder: RunFolder, uri: str) -> str:
    """Record the run at the tracking address `uri`; return MLflow's id of it.

    Raises:
        UserError: MLflow is not installed, or does not take the run.
        RecordError: `config.yaml` is missing or damaged.
    """
    # MLflow reads these when it is imported: it asks for the first before it uses a
    # folder as its store, and the second keeps it from sending anything anywhere.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # A server that does not answer: half a minute, in place of MLflow's many minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    try:
        import mlflow  # no dependency: only this command needs it
    except ImportError as error:
        raise UserError(
            "--mlflow needs MLflow: pip install 'mlperf-loadgen-sut[mlflow]', or"
            " scripts/install.sh mlflow in a clone"
        ) from error
    options = _options(folder)
    entry = read_entry(folder.path, folder.path.parent)
    try:
        return _log(mlflow.MlflowClient(tracking_uri=uri), folder, entry, options)
    except (mlflow.exceptions.MlflowException, OSError, ImportError) as error:
        # A database needs its driver; the address may have a password.
        text = _PASSWORD.sub("//***@", " ".join(f"{uri}: {error}".split()))
        raise UserError(f"--mlflow {text}") from error


def _log(
    client: "mlflow.MlflowClient",  # type: ignore[name-defined]  # noqa: F821
    folder: RunFolder,
    entry: RunEntry,
    options: dict[str, str],
) -> str:
    known = client.get_experiment_by_name(_EXPERIMENT)
    experiment = known.experiment_id if known else client.create_experiment(_EXPERIMENT)
    tags = {
        "outcome": entry.outcome,
        "degraded": str(entry.degraded),
        "hosts": ", ".join(entry.hosts),
        "devices": ", ".join(entry.devices),
        "version": entry.version,
    }
    run = client.create_run(
        experiment, run_name=folder.path.name, tags=tags
    ).info.run_id
    for name, text in options.items():
        client.log_param(run, name, text[:_LONGEST])
    for name in _FIGURES:
        if (value := getattr(entry, name)) is not None:
            client.log_metric(run, name, float(value))
    for name in _ARTIFACTS:
        if (folder / name).exists():
            client.log_artifact(run, str(folder / name))
    client.set_terminated(run, "FINISHED" if entry.outcome == "passed" else "FAILED")
    return str(run)


def _options(folder: RunFolder) -> dict[str, str]:
    tree = read_yaml(folder.config, dict[str, Json])
    return {name: str(value) for name, value in flat(tree) if value is not None}
