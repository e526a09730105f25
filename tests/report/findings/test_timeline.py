"""How episodes become findings beside those from comparing replicas."""

from report.findings.finding import Finding, Found
from report.findings.timeline import explained, timeline_advice, timeline_findings
from report.timeline.analysis import Analysis, analyze
from tests.report.timeline.simulator import Plant, even, simulate


def analysis_of(plant: Plant, replicas: int = 2) -> Analysis:
    cluster = even(3, replicas, seconds=130)
    cluster.load = 0.6
    cluster.plants = [plant]
    inputs = simulate(cluster)
    inputs.ttft_limit_s = inputs.tpot_limit_s = 10.0
    return analyze(inputs)


def named(code: str, *where: str) -> Found:
    return Found(
        finding=Finding(
            code=code,
            severity="warning",
            title="a",
            where=[*where],
            evidence="b",
            cause="c",
        )
    )


def test_an_episode_of_all_replicas_explains_that_one_was_slower_in_it() -> None:
    analysis = analysis_of(Plant(kind="gpu", begin_s=80, end_s=110, size=1.6))
    assert [len(one.replicas) for one in analysis.episodes] == [2]
    assert explained(82, 112, analysis)
    assert explained(112, 125, analysis)
    assert not explained(20, 60, analysis)
    assert not explained(90, 200, analysis)


def test_an_episode_of_one_replica_explains_nothing_of_others() -> None:
    plant = Plant(kind="gpu", begin_s=80, end_s=110, size=1.6, replicas=[1])
    assert not explained(82, 112, analysis_of(plant))


def test_a_replica_that_is_named_slow_is_not_named_twice() -> None:
    plant = Plant(kind="clock", begin_s=80, end_s=110, size=1.5, replicas=[1])
    analysis = analysis_of(plant)
    alone = list(timeline_findings(analysis, []))
    assert [one.finding.code for one in alone] == ["episode.clock"]
    assert alone[0].finding.where == ["replica 1"]
    assert alone[0].finding.severity == "warning"
    (advice,) = timeline_advice(analysis, alone)
    assert advice.where == ["replica 1"]
    assert advice.estimate.value > 0
    seen = [named("slow.clock", "replica 1")]
    assert list(timeline_findings(analysis, seen)) == []
    assert timeline_advice(analysis, seen) == []


def test_a_fence_is_a_finding_of_its_own() -> None:
    plant = Plant(kind="fenced", begin_s=80, end_s=110, size=0, replicas=[1])
    analysis = analysis_of(plant)
    assert [one.cause for one in analysis.episodes] == ["fenced"]
    assert list(timeline_findings(analysis, [])) == []
