"""What `run --dry-run` says a run takes."""

import pytest

from base.errors import ExitCode
from cli import dry_run
from sut.clusters.placement import Host


def _facts(
    arguments: list[str],
    gpus: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> dict[str, str]:
    host = Host(name="h", gpus=[str(number) for number in range(gpus)], cpus=[0])
    monkeypatch.setattr(dry_run, "this_host", lambda: host)
    assert dry_run.main(arguments) == ExitCode.GOOD
    lines = capsys.readouterr().out.splitlines()
    facts = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    return {name: text.strip() for name, _, text in map(_parts, facts)}


def _parts(line: str) -> tuple[str, str, str]:
    return line.partition(" ")


@pytest.mark.parametrize(
    ("arguments", "gpus", "cost"),
    [
        (["run.min_duration_s=90"], 8, "8 GPU(s) (0.20 GPU hours) for at least 90 s"),
        (
            ["cluster.replicas=2", "cluster.gpus_per_replica=2"],
            8,
            "4 GPU(s) for the run",
        ),
        (["run.min_duration_s=90"], 0, "this host's cores for at least 90 s"),
        (["mode=accuracy"], 1, "1 GPU(s) for the run"),
    ],
)
def test_the_cost_is_stated_as_far_as_it_is_known(
    arguments: list[str],
    gpus: int,
    cost: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    facts = _facts(["engine=synthetic", *arguments], gpus, monkeypatch, capsys)
    assert facts["cost"] == f"{cost}, and for loading and warming up before it"


def test_a_server_run_lasts_as_long_as_its_queries_arrive(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["scenario=server", "scenario.target_qps=2", "run.min_queries=100"]
    facts = _facts(["engine=synthetic", *arguments], 2, monkeypatch, capsys)
    assert facts["duration"] == "at least 50 s at 2 queries/s"
    assert facts["cost"].startswith("2 GPU(s) (0.03 GPU hours) for at least 50 s")
