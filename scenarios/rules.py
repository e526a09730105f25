"""Reads LoadGen's configuration files: MLPerf's rules in mlperf.conf, and user.conf."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from base.benchmark import ScenarioName
from base.errors import UserError
from base.files import carried_path
from record.latency_limits import LatencyLimits, limits_of
from record.structs import Json

_SCENARIOS = ("*", "Offline", "Server", "SingleStream", "MultiStream")
_WORDS = 3
_FORM = "each line must be MODEL.SCENARIO.KEY = VALUE, with spaces around the ="


@dataclass(frozen=True, slots=True)
class ConfLine:
    """One setting in a user.conf."""

    number: int
    """Its line, from 1."""
    model: str
    scenario: str
    key: str
    value: str

    @property
    def name(self) -> str:
        """The name that LoadGen uses for the setting."""
        return f"{self.model}.{self.scenario}.{self.key}"

    def is_for(self, model: str, scenario: str) -> bool:
        """Return whether it applies to a test of that model and scenario."""
        return self.model in ("*", model) and self.scenario in ("*", scenario)


def parse_conf(text: str, source: str) -> list[ConfLine]:
    """Return the settings in `text`.

    Args:
        text: content of the file.
        source: name of the file in messages.

    Raises:
        UserError: a line is not valid, or names an unknown scenario. LoadGen itself
            ignores most such lines without a message.
    """
    return list(_lines(text, source))


def effective_lines(
    lines: Sequence[ConfLine], model: str, scenario: str
) -> dict[str, ConfLine]:
    """Return the line that applies for each key, by LoadGen's order of precedence.

    The order is model.scenario, *.scenario, model.*, *.*; among equals the last line
    applies.
    """
    found: dict[str, ConfLine] = {}
    for line in lines:
        known = found.get(line.key)
        if line.is_for(model, scenario) and (
            known is None or _precedence(line) >= _precedence(known)
        ):
            found[line.key] = line
    return found


def _precedence(line: ConfLine) -> int:
    return 2 * (line.scenario != "*") + (line.model != "*")


def _lines(text: str, source: str) -> Iterator[ConfLine]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        # For LoadGen, a model name with dots is a different name.
        name = words[0].split(".")
        if len(words) != _WORDS or words[1] != "=" or len(name) != _WORDS:
            shown = line.strip()[:60]
            raise UserError(f"{source}, line {number} ({shown!r}): {_FORM}")
        if name[1] not in _SCENARIOS:
            known = ", ".join(_SCENARIOS)
            raise UserError(
                f"{source}, line {number}: LoadGen has no scenario {name[1]!r}, so the"
                f" line would have no effect; it has {known}"
            )
        model, scenario, key = name
        yield ConfLine(number, model, scenario, key, words[2])


_NS_PER_MS = 1_000_000
_SWITCHES = (
    "use_token_latencies",
    "sample_concatenate_permutation",
    "performance_issue_same",
    "performance_issue_unique",
)


def rules(loadgen_model: str, loadgen_scenario: str) -> dict[str, Json]:
    """Return the required value of each LoadGen setting, by TestSettings attribute.

    Units are those of the attributes: ms for durations, ns for latencies, fractions
    for percentiles.
    """
    path = carried_path("mlperf.conf")
    lines = parse_conf(path.read_text(), path.name)
    found = effective_lines(lines, loadgen_model, loadgen_scenario)
    return dict(_attribute(loadgen_scenario, k, v.value) for k, v in found.items())


def datacenter_model(scenario: ScenarioName) -> str:
    """Return LoadGen's name of the model in a scenario of the datacenter suite."""
    interactive = scenario is ScenarioName.interactive
    return "llama3_1-8b-interactive" if interactive else "llama3_1-8b"


def official_limits(scenario: ScenarioName) -> LatencyLimits:
    """Return MLPerf's latency limits of Server or Interactive."""
    return limits_of(rules(datacenter_model(scenario), "Server"))


def _attribute(scenario: str, key: str, value: str) -> tuple[str, Json]:
    if key in _SWITCHES:
        return key, value == "1"
    if key == "coalesce_queries":
        return f"server_{key}", value == "1"
    if key in ("min_duration", "max_duration"):
        return f"{key}_ms", int(value)
    if key in ("ttft_latency", "tpot_latency"):
        return key, int(value) * _NS_PER_MS
    if key == "target_latency_percentile":
        prefix = "server" if scenario == "Server" else "single_stream"
        return f"{prefix}_{key}", float(value) / 100
    return key, int(value)
