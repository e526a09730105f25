"""A few faults of each kind, as `make soak` does by the hundred."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.soak.faults import (
    CORE_KILLED,
    REPLICA_FAULTS,
    RUN_FAULTS,
    ReplicaFault,
    RunFault,
)
from tests.soak.trial import SYNTHETIC, replica_trial, run_trial, vllm_engine

pytestmark = pytest.mark.integration


@pytest.fixture
def work() -> Iterator[Path]:
    """A folder with a short name: sockets of vLLM lie below it."""
    with TemporaryDirectory(prefix="soak-") as folder:
        yield Path(folder)


def _replica_fault(name: str) -> ReplicaFault:
    (fault,) = [f for f in REPLICA_FAULTS if f.name == name]
    return fault


def _run_fault(name: str) -> RunFault:
    (fault,) = [f for f in RUN_FAULTS if f.name == name]
    return fault


def test_faults_of_replicas_cost_nothing(work: Path) -> None:
    deck = [_replica_fault(n) for n in ("hang", "twice", "killed", "garbage", "refuse")]
    trial = replica_trial(4, SYNTHETIC, deck, work, [])
    assert trial.problems == []
    assert trial.samples == 4000
    assert sum(outcome.landed for outcome in trial.outcomes) >= 1


@pytest.mark.parametrize("name", ["coordinator killed", "disk full"])
def test_the_end_of_a_run_leaves_nothing_behind(work: Path, name: str) -> None:
    early = replace(SYNTHETIC, life_s=6.0, spread_s=2.0)
    trial = run_trial(1, early, _run_fault(name), work)
    assert trial.problems == []
    assert [outcome.fault for outcome in trial.outcomes] == [name]


@pytest.mark.alone
def test_a_killed_engine_core_of_vllm_costs_nothing(work: Path) -> None:
    apart = ["engine.in_process=false", "dataset.count=900"]
    engine = replace(vllm_engine(work / "model"), spread_s=5.0, queries=900)
    trial = replica_trial(2, engine, [CORE_KILLED], work / "run", apart)
    assert trial.problems == []
    assert trial.samples == 900
    assert [(o.fault, o.landed) for o in trial.outcomes] == [(CORE_KILLED.name, True)]
