"""The plan of one run: LoadGen's settings before LoadGen reads them."""

from dataclasses import dataclass, field

from base.benchmark import Benchmark, ScenarioName
from conf.schema import Mode, RunKind
from record.json_types import Json
from scenarios.user_conf import ConfLine, effective_lines, parse_conf


@dataclass(slots=True, kw_only=True)
class ScenarioPlan:
    """The settings of LoadGen for one run, before LoadGen reads them."""

    benchmark: Benchmark
    scenario: ScenarioName
    mode: Mode
    kind: RunKind
    loadgen_model: str
    loadgen_scenario: str
    is_benchmark: bool
    rules: dict[str, Json]
    user_conf: str
    """Text of the user.conf that LoadGen reads."""
    user_conf_source: str
    """Name of its file in messages: the user's own, or this package's."""
    audit_conf: str | None
    """Text of the audit file; None outside compliance mode."""
    adds_a_line: bool
    """Whether the last line of `user_conf` is from an option of the command line."""
    relaxations: dict[str, Json] = field(default_factory=dict)
    """TestSettings attributes that run=smoke sets after user.conf was read."""
    notes: list[str] = field(default_factory=list)
    """Notes for the user, one line each."""

    @property
    def streaming(self) -> bool:
        """Whether each sample's first token is reported to LoadGen."""
        return self.loadgen_scenario != "Offline"

    @property
    def lines(self) -> list[ConfLine]:
        """The lines of `user_conf`, in its order."""
        return parse_conf(self.user_conf, self.user_conf_source)

    @property
    def set_lines(self) -> dict[str, ConfLine]:
        """The lines of `user_conf` that count in this run, by their key."""
        return effective_lines(self.lines, self.loadgen_model, self.loadgen_scenario)

    @property
    def has_rate(self) -> bool:
        """Whether user.conf, the user's own included, sets target_qps."""
        return "target_qps" in self.set_lines

    @property
    def needs_latency(self) -> bool:
        """Whether SingleStream's expected latency must still be measured and set."""
        return (
            self.loadgen_scenario == "SingleStream"
            and "target_latency" not in self.set_lines
        )

    def lines_elsewhere(self, key: str) -> list[ConfLine]:
        """Return the lines that set `key` for other models or scenarios alone."""
        return [
            line
            for line in self.lines
            if line.key == key
            and not line.is_for(self.loadgen_model, self.loadgen_scenario)
        ]

    def expected_samples(self, num_samples: int) -> int | None:
        """Return how many samples LoadGen will issue; None where it decides later.

        Args:
            num_samples: size of the data set.
        """
        if self.mode is Mode.accuracy:
            return num_samples
        if self.mode is Mode.compliance or self.kind is RunKind.full:
            return None
        if self.relaxations["min_duration_ms"]:
            return None
        return int(self.relaxations["min_query_count"])
