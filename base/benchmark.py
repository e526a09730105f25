"""Facts of the MLPerf benchmark llama3.1-8b that more than one package needs.

What `mlperf.conf` states (limits, percentiles, durations) is read from there by
`scenarios.rules`, and stands nowhere else.
"""

from enum import Enum


class Benchmark(Enum):
    """MLPerf Inference suite whose rules apply."""

    datacenter = "datacenter"
    edge = "edge"


class ScenarioName(Enum):
    """LoadGen scenarios; Interactive is LoadGen's Server under tighter limits."""

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
"""Scenarios as the folders of a submission are named."""
SERVER_SCENARIOS = (ScenarioName.server, ScenarioName.interactive)
"""Scenarios in which LoadGen decides when queries arrive."""
SAMPLES = {Benchmark.datacenter: 13_368, Benchmark.edge: 5_000}
"""Samples of the data set of each suite."""
MAX_TOKENS = 128
"""Tokens of an answer, at most."""
COMPLIANCE_SAMPLES = 100
"""Answers that a TEST06 run logs."""
EARLY_STOPPING_CONFIDENCE = 0.99
"""Confidence that LoadGen's early stopping asks for."""
