"""Facts of the MLPerf benchmark llama3.1-8b that more than one package needs.

Limits, percentiles and durations are not here: `scenarios.rules` reads them from
`mlperf.conf`.
"""

from enum import Enum


class Benchmark(Enum):
    """MLPerf Inference suite whose rules apply."""

    datacenter = "datacenter"
    edge = "edge"


class ScenarioName(Enum):
    """LoadGen scenarios; Interactive is LoadGen's Server with tighter limits."""

    offline = "offline"
    server = "server"
    interactive = "interactive"
    singlestream = "singlestream"


SCENARIOS = {
    Benchmark.datacenter: (
        ScenarioName.offline,
        ScenarioName.server,
        ScenarioName.interactive,
    ),
    Benchmark.edge: (ScenarioName.offline, ScenarioName.singlestream),
}
"""Scenarios of each suite."""
TITLES = {
    ScenarioName.offline: "Offline",
    ScenarioName.server: "Server",
    ScenarioName.interactive: "Interactive",
    ScenarioName.singlestream: "SingleStream",
}
"""Names of the scenarios in the folders of a submission."""
SERVER_SCENARIOS = (ScenarioName.server, ScenarioName.interactive)
"""Scenarios in which LoadGen decides when queries arrive."""
SAMPLES = {Benchmark.datacenter: 13_368, Benchmark.edge: 5_000}
"""Samples of the data set of each suite."""
MAX_TOKENS = 128
"""Most tokens of an answer."""
COMPLIANCE_SAMPLES = 100
"""Answers that a TEST06 run logs."""
EARLY_STOPPING_CONFIDENCE = 0.99
"""Confidence that LoadGen's early stopping requires."""
