"""What differs between two sides: configuration, code, versions and hosts."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from record.folder import RunFolder, read_json
from record.structs import Json, ReplicaRecord
from report.reading.run import Run
from report.reading.traits import Trait, engine_settings, versions
from report.wording import cell, some

_OWN_TO_A_RUN = (
    *("run.dir", "run.live", "run.trace", "run.steps"),
    *("run.metrics_port", "run.metrics_address", "run.metrics_token_file"),
)
"""Options that say where and how a run is recorded, not what it does."""


class SetupDifference(Struct, kw_only=True):
    """One thing that is not the same on both sides."""

    kind: str
    """configuration, engine, code, versions or hosts."""
    name: str
    a: str
    b: str


def setup_differences(a: Sequence[Run], b: Sequence[Run]) -> list[SetupDifference]:
    """Return everything that the record shows to differ between two sides.

    Raises:
        RecordError: a `source.json` is damaged.
    """
    return [
        *_configuration(a[0], b[0]),
        *_different("engine", *(_traits(side, engine_settings) for side in (a, b))),
        *_code(a, b),
        *_different("versions", *(_traits(side, versions) for side in (a, b))),
        *_different("hosts", *(_hosts(side) for side in (a, b))),
    ]


def option_differences(one: Run, other: Run) -> list[str]:
    """Return the names of the options that differ and say what a run does."""
    options = one.config.options, other.config.options
    return [
        name
        for name in sorted(options[0].keys() | options[1].keys())
        if name not in _OWN_TO_A_RUN and options[0].get(name) != options[1].get(name)
    ]


def _configuration(one: Run, other: Run) -> Iterator[SetupDifference]:
    for name in option_differences(one, other):
        yield SetupDifference(
            kind="configuration",
            name=name,
            a=_text(one.config.options.get(name)),
            b=_text(other.config.options.get(name)),
        )


def _text(value: Json) -> str:
    return "(not set)" if value is None else cell(value)


def _traits(
    side: Iterable[Run], traits: Callable[[Iterable[ReplicaRecord]], list[Trait]]
) -> dict[str, set[str]]:
    """Return the values of each trait, over all runs of a side."""
    found: dict[str, set[str]] = {}
    for run in side:
        for trait in traits(run.replicas):
            own = {trait.text(value) for value, _ in trait.groups()}
            found[trait.name] = found.get(trait.name, set()) | own
    return found


def _hosts(side: Iterable[Run]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for run in side:
        add = {
            "nodes": [", ".join(run.nodes)],
            "replicas": [str(run.size)],
            "devices": [device for r in run.replicas for device in r.devices],
            "cores of a replica": [str(len(r.cpus)) for r in run.replicas],
            "power limit": [
                f"{limit.power_w:g} W"
                for r in run.replicas
                for limit in r.limits
                if limit.power_w is not None
            ],
        }
        for name, values in add.items():
            found.setdefault(name, set()).update(values)
    return found


def _code(a: Sequence[Run], b: Sequence[Run]) -> Iterator[SetupDifference]:
    releases = [{run.settings.version or "unknown" for run in side} for side in (a, b)]
    yield from _different("code", {"version": releases[0]}, {"version": releases[1]})
    one, other = _source(a[0]), _source(b[0])
    if one is None or other is None:
        return
    changed = [
        name
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]
    if changed:
        yield SetupDifference(
            kind="code",
            name="source files",
            a=f"{len(one)} files",
            b=f"{len(changed)} of them differ: {some(changed)}",
        )


def _source(run: Run) -> dict[str, str] | None:
    if run.path is None or not (file := RunFolder(run.path).source).exists():
        return None
    return read_json(file, dict[str, str])


def _different(
    kind: str, one: dict[str, set[str]], other: dict[str, set[str]]
) -> Iterator[SetupDifference]:
    for name in [*one, *(name for name in other if name not in one)]:
        values = one.get(name, set()), other.get(name, set())
        if values[0] != values[1]:
            a, b = (some(sorted(value)) or "(none)" for value in values)
            yield SetupDifference(kind=kind, name=name, a=a, b=b)
