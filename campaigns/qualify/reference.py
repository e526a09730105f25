"""What is known of a replica's speed: the reference file, and earlier qualifications.

A reference file (YAML or JSON) is a list of entries. An entry applies to replicas on
devices of its name, in runs whose options have the values of its `settings`; an option
that it does not name may have any value.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec
from msgspec import Struct, field

from base.decode import DecodeError, decode_yaml, flat
from base.errors import UserError
from base.log import logger
from campaigns.folders import check_target
from campaigns.qualify.peers import Yardstick, kind_of
from campaigns.qualify.record import (
    NAME,
    HistoryPoint,
    Qualification,
    ReplicaMeasure,
    read_qualification,
)
from conf.load import to_yaml
from conf.schema import Config
from record.folder import RecordError, write_text
from record.structs import Json

_LOG = logger(__name__)

_SHIPPED = "reference.yaml"
_DECIDES = (
    "model.name",
    "model.dtype",
    "model.weights",
    "dataset.name",
    "engine.",
    "cluster.gpus_per_replica",
)
"""Options, or beginnings of options, that decide the speed of a replica."""
_IGNORED = ("engine.slowdown", "engine.wrong_answers", "engine.unusable", "engine.env")
_LONGEST_HISTORY = 20


class Reference(Struct, kw_only=True, forbid_unknown_fields=True):
    """The speed of replicas of one kind."""

    device: str
    """Name of the devices of a replica, e.g. `NVIDIA H200`, `4 x NVIDIA H100`."""
    settings: dict[str, Json]
    """Options that its runs had, by full name."""
    offline_tokens_per_s: tuple[float, float]
    """Lowest and highest output tokens/s of a replica that was measured."""
    source: str = ""


class ReferenceFile(Struct, kw_only=True, forbid_unknown_fields=True):
    """A whole file."""

    references: list[Reference] = field(default_factory=list)


def deciding(config: Config) -> dict[str, Json]:
    """Return the options that decide the speed of a replica, by full name."""
    tree = decode_yaml(to_yaml(config).encode(), dict[str, Json])
    return {
        name: value
        for name, value in sorted(flat(tree))
        if name.startswith(_DECIDES) and not name.startswith(_IGNORED)
    }


def read_references(path: Path | None, option: str = "reference=") -> list[Reference]:
    """Return the entries of a reference file; None: those of this package.

    Args:
        path: of the file.
        option: that names it, for messages.

    Raises:
        UserError: it cannot be read, or is none.
    """
    try:
        if path is None:
            data = (files("campaigns.qualify") / _SHIPPED).read_bytes()
        else:
            data = path.read_bytes()
        found = decode_yaml(data, ReferenceFile).references
    except OSError as error:
        raise UserError(f"{option}{path}: {error.strerror or error}") from error
    except DecodeError as error:
        raise UserError(
            f"{option}{path}: not a reference file: {error}; make one with"
            " --make-reference and a new file"
        ) from error
    for one in found:
        low, high = one.offline_tokens_per_s
        if not 0 < low <= high < math.inf:
            raise UserError(
                f"{option}{path}: {one.device}: offline_tokens_per_s must be two"
                " numbers above 0, the lower one first"
            )
    return found


def check_references(path: Path) -> None:
    """Check that `write_references` can write the file `path`.

    Raises:
        UserError: it cannot be written, or is there and is no reference file.
        OSError: the disk is full.
    """
    check_target("--make-reference", path)
    if path.exists():
        read_references(path, "--make-reference ")


def write_references(path: Path, record: Qualification) -> list[Reference]:
    """Add the speeds of the replicas that passed to a file; return the new entries.

    An entry of the same device and settings is replaced.

    Raises:
        UserError: the file is there and is no reference file.
        OSError: it cannot be written.
    """
    known = read_references(path) if path.exists() else []
    speeds: dict[str, list[float]] = {}
    for result in record.replicas:
        if result.outcome == "passed" and result.alone_tokens_per_s is not None:
            kind = kind_of(result.devices)
            speeds.setdefault(kind, []).append(result.alone_tokens_per_s)
    made = [
        Reference(
            device=kind,
            settings=record.settings,
            offline_tokens_per_s=(round(min(own), 2), round(max(own), 2)),
            source=f"{len(own)} replica(s), qualified {record.started}",
        )
        for kind, own in speeds.items()
    ]
    keys = [(one.device, one.settings) for one in made]
    kept = [one for one in known if (one.device, one.settings) not in keys]
    content = ReferenceFile(references=[*kept, *made])
    encode = msgspec.json.encode if path.suffix == ".json" else msgspec.yaml.encode
    write_text(path, encode(content).decode().rstrip() + "\n")
    return made


@dataclass(slots=True)
class KnownSpeeds:
    """What is known of each replica of a qualification."""

    settings: dict[str, Json]
    references: Sequence[Reference]
    earlier: Sequence[Qualification]
    """Those of the same settings, the oldest first."""

    def __call__(self, measure: ReplicaMeasure) -> Yardstick:
        """Return what is known of the replica that `measure` names."""
        history = [
            HistoryPoint(started=one.started, tokens_per_s=result.alone_tokens_per_s)
            for one in self.earlier
            for result in one.replicas
            if result.alone_tokens_per_s is not None
            and (result.node, result.devices, result.replica)
            == (measure.node, measure.devices, measure.replica)
        ][-_LONGEST_HISTORY:]
        kind = kind_of(measure.devices)
        own = [one for one in self.references if one.device == kind]
        for one in own:
            if not self._differs(one):
                low, high = one.offline_tokens_per_s
                return Yardstick(low=low, high=high, source=one.source, history=history)
        why = f"the reference has no entry for {kind or 'its device'}"
        if own:
            differs = ", ".join(min(map(self._differs, own), key=len)[:3])
            why = f"the reference for {kind} has other settings: {differs}"
        return Yardstick(source=why, history=history)

    def _differs(self, one: Reference) -> list[str]:
        return [
            f"{name}={value}"
            for name, value in one.settings.items()
            if self.settings.get(name) != value
        ]


def read_history(folder: Path, own: Path, record: Qualification) -> list[Qualification]:
    """Return earlier qualifications with the settings of `record`, the oldest first.

    Args:
        folder: which holds their folders.
        own: folder of this one.
        record: this one.
    """
    found = []
    for path in sorted(folder.glob(f"*/{NAME}")):
        if path.parent.resolve() == own.resolve():
            continue
        try:
            one = read_qualification(path.parent)
        except RecordError as error:
            _LOG.warning("left out of the history: %s", error)
            continue
        done = one.status in ("passed", "failed")
        if done and one.settings == record.settings and one.started < record.started:
            found.append(one)
    return sorted(found, key=lambda one: one.started)
