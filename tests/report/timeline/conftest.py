"""The recorded run, read once."""

import pytest

from report.reading.folder import read_run
from report.timeline.analysis import Analysis, analyze
from report.timeline.inputs import inputs_of
from tests.report.timeline.recorded import recorded_run


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """Return the analysis of the recorded run."""
    path = tmp_path_factory.mktemp("recorded") / "run"
    return analyze(inputs_of(read_run(recorded_run(path).path)))
