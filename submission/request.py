"""The submitter's request: one YAML file, read into typed dataclasses."""

import difflib
import re
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
import yaml
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from base.benchmark import SCENARIOS, Benchmark, ScenarioName
from base.decode import YAML_LOADER, DecodeError, plain_yaml
from base.errors import UserError

_REQUIRED = {
    Benchmark.datacenter: {ScenarioName.offline},
    Benchmark.edge: {ScenarioName.offline, ScenarioName.singlestream},
}
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
_OWNED = ("mode", "scenario", "benchmark", "run", "run.dir", "run.kind")


class Division(Enum):
    """Divisions that this package submits to."""

    closed = "closed"
    open = "open"


class Status(Enum):
    """Availability of the system, as the submission rules name it."""

    available = "available"
    preview = "preview"
    rdi = "rdi"


@dataclass(slots=True, kw_only=True)
class WeightFacts:
    """Facts about the weights for `measurements.json` that only people know."""

    starting_weights_filename: str = MISSING
    """Name or address of the original checkpoint."""
    weight_transformations: str = MISSING
    """Changes to the weights, e.g. `fp8 by vLLM while loading`; or `none`."""
    weight_data_types: str = ""
    """Needed if the checkpoint is already quantized; empty: as configured."""
    retraining: str = "no"


@dataclass(slots=True, kw_only=True)
class Request:
    """One submission: a system, a division, and the scenarios to run."""

    submitter: str = MISSING
    division: Division = MISSING
    status: Status = MISSING
    system: str = MISSING
    """Name of the system's folder and of its description's file."""
    benchmark: Benchmark = Benchmark.datacenter
    scenarios: list[ScenarioName] = MISSING
    folder: str = MISSING
    """Where runs and tree go; relative to the request's file."""
    options: list[str] = field(default_factory=list)
    """Options of `sut.main` for every run."""
    scenario_options: dict[str, list[str]] = field(default_factory=dict)
    """Options of `sut.main` for one scenario, by its name."""
    weights: WeightFacts = field(default_factory=WeightFacts)
    description: dict[str, Any] = field(default_factory=dict)
    """Fields of `systems/*.json` that only people know, or know better."""
    machines: list[str] = field(default_factory=list)
    """Files by `mlperf-sut submission describe`, one per node; empty: this host."""
    calibration: str = MISSING
    """Text for the reviewers: how the weights were calibrated or quantized."""
    bandwidth: str = ""
    """Statement that the host's ingress bandwidth is sufficient; closed needs it. The
    required bandwidth is computed from the runs."""

    @property
    def root(self) -> Path:
        """Folder of runs and tree."""
        return Path(self.folder)

    @property
    def runs(self) -> Path:
        """Folder of the run folders."""
        return self.root / "runs"

    @property
    def tree(self) -> Path:
        """Root of the submission tree."""
        return self.root / "tree"


def read_request(path: Path) -> Request:
    """Return the request in the YAML file `path`.

    Raises:
        UserError: the file is missing, not such YAML, or not a valid request.
    """
    given = _read_yaml(path)
    try:
        tree = OmegaConf.merge(OmegaConf.structured(Request), given)
        absent = sorted(OmegaConf.missing_keys(tree))
        if absent:
            raise UserError(f"{path}: no value for {', '.join(absent)}")
        plain = OmegaConf.to_container(tree, resolve=True, enum_to_str=True)
        # OmegaConf lets objects and references to other types into lists.
        request = msgspec.convert(plain, Request)
    except ConfigKeyError as error:
        raise UserError(f"{path}: {_unknown(error)}") from error
    except OmegaConfBaseException as error:
        where = f"{error.full_key}: " if error.full_key else ""
        line = str(error).splitlines()[0]
        raise UserError(f"{path}: {where}{line}") from error
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {error}") from error
    _check(path, request)
    base = path.resolve().parent
    request.folder = str(base / request.folder)
    request.machines = [str(base / name) for name in request.machines]
    return request


def _read_yaml(path: Path) -> DictConfig | ListConfig:
    """Return the file as OmegaConf reads it.

    Raises:
        UserError: it is missing, no plain YAML, or no mapping.
    """
    try:
        text = plain_yaml(path.read_bytes())
        whole = yaml.load(text, Loader=YAML_LOADER)  # noqa: S506  (a SafeLoader)
        if not isinstance(whole, dict):
            raise UserError(f"{path}: no request: write a FIELD: VALUE on each line")
        return OmegaConf.create(text)
    except DecodeError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"{path}: not YAML: {line}") from error


def _unknown(error: ConfigKeyError) -> str:
    """Name an unknown field, and the known field that is closest."""
    kind = WeightFacts if error.object_type is WeightFacts else Request
    known = [spec.name for spec in fields(kind)]
    near = difflib.get_close_matches(str(error.key), known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    return f"{error.full_key}: no such field; {hint}"


def _check(path: Path, request: Request) -> None:
    for key in ("submitter", "system"):
        if not _NAME.fullmatch(value := getattr(request, key)):
            raise UserError(f"{path}: {key}: {value!r} cannot name a folder")
    wanted = set(request.scenarios)
    allowed = set(SCENARIOS[request.benchmark])
    required = _REQUIRED[request.benchmark]
    if strange := wanted - allowed:
        raise UserError(
            f"{path}: scenarios: {_names(strange)} is no part of"
            f" {request.benchmark.value}, which has {_names(allowed)}"
        )
    if request.division is Division.closed:
        missing = required - wanted
        if request.benchmark is Benchmark.datacenter and len(wanted) < 2:
            missing = missing | (allowed - required - wanted)
        if missing:
            raise UserError(
                f"{path}: scenarios: closed {request.benchmark.value} needs offline"
                + (
                    " and singlestream"
                    if request.benchmark is Benchmark.edge
                    else " and one of server, interactive"
                )
            )
    if request.division is Division.closed and not request.bandwidth.strip():
        raise UserError(
            f"{path}: bandwidth: closed needs a statement on how the ingress bandwidth"
            " was shown to suffice"
        )
    if not wanted:
        raise UserError(f"{path}: scenarios: names none")
    unknown = set(request.scenario_options) - {s.value for s in wanted}
    if unknown:
        raise UserError(
            f"{path}: scenario_options: {', '.join(sorted(unknown))} is not run"
        )
    for option in (
        *request.options,
        *(o for options in request.scenario_options.values() for o in options),
    ):
        if option.lstrip("+").partition("=")[0] in _OWNED:
            raise UserError(f"{path}: options: {option} is chosen by the submission")


def _names(scenarios: set[ScenarioName]) -> str:
    return ", ".join(sorted(scenario.value for scenario in scenarios))
