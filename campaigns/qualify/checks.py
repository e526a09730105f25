"""Decides which replicas and nodes are fit, from what the runs measured; no I/O."""

import statistics
from collections.abc import Iterable, Sequence

from campaigns.qualify.peers import Measures, Yardsticks, faster_half, median
from campaigns.qualify.record import (
    CheckResult,
    NodeResult,
    Outcome,
    Phase,
    Qualification,
    ReplicaResult,
)
from report.wording import count

_SHARED = 2.0
"""Factor on the tolerance where replicas share a host, and for medians of TPOT."""
_NOTES = {"persistence", "numa", "isolated", "quota", "ecc.corrected", "pcie.replays"}
"""Findings on hardware that slow a host or announce a fault. They do not fail a
device: the speed checks do, if it is slow."""
_ALONE = "speed among peers"
_WITH_ALL = "speed with all others"
_MEASURED: dict[str, Phase] = {
    _ALONE: "offline_alone",
    "reference": "offline_alone",
    "history": "offline_alone",
    _WITH_ALL: "offline_all",
    "latency alone": "server_alone",
    "latency with all others": "server_all",
}
"""The phase whose runs decide a check: noise can fail it."""


def judge(record: Qualification, yardsticks: Yardsticks) -> None:
    """Write the results of replicas and nodes, and the status, into `record`."""
    judge = _Judge(record, yardsticks)
    record.replicas = [judge.replica(number) for number in judge.known.members]
    record.nodes = judge.nodes()
    record.problems = [
        f"{run.run}: {text}" for run in record.runs for text in run.problems
    ]
    failed = [one for one in record.replicas if one.outcome == "failed"]
    bad_nodes = [one for one in record.nodes if one.outcome == "failed"]
    whole = bool(record.replicas) and not record.problems
    record.status = "passed" if whole and not failed and not bad_nodes else "failed"


def suspects(record: Qualification) -> dict[Phase, list[int]]:
    """Return the replicas whose measurement alone makes them fail, by phase."""
    found: dict[Phase, list[int]] = {}
    for result in record.replicas:
        for check in result.checks:
            if check.outcome != "failed" or check.value is None:
                continue
            phase = _MEASURED.get(check.name)
            if phase is not None and result.replica not in found.get(phase, []):
                found.setdefault(phase, []).append(result.replica)
    return found


class _Judge:
    """Reads the measures of a qualification."""

    def __init__(self, record: Qualification, yardsticks: Yardsticks) -> None:
        self.record = record
        self.tolerance = record.tolerance
        self.yardsticks = yardsticks
        self.known = Measures(record)

    def replica(self, number: int) -> ReplicaResult:
        """Return the result of one replica."""
        identity = self.known.identity[number]
        checks = [
            self._starts(number),
            self._alone(number),
            *self._against_yardstick(number),
            self._with_all(number),
            self._latency(number, "server_alone"),
            self._latency(number, "server_all"),
            self._answers(number),
            self._hardware(number),
        ]
        bad = any(check.outcome == "failed" for check in checks)
        return ReplicaResult(
            replica=number,
            node=identity.node,
            devices=identity.devices,
            outcome="failed" if bad else "passed",
            checks=checks,
            alone_tokens_per_s=self.known.speed(number, "offline_alone"),
            all_tokens_per_s=self.known.speed(number, "offline_all"),
            history=self.yardsticks(identity).history,
        )

    def nodes(self) -> list[NodeResult]:
        """Return the result of each node, by name."""
        found = []
        names = sorted({result.node for result in self.record.replicas})
        for name in names:
            own = [result for result in self.record.replicas if result.node == name]
            bad = [result.replica for result in own if result.outcome == "failed"]
            checks = [*self._node_speed(name, names), *_shared_failures(own)]
            failed = bool(bad) or any(check.outcome == "failed" for check in checks)
            found.append(
                NodeResult(
                    node=name,
                    outcome="failed" if failed else "passed",
                    replicas=len(own),
                    failed=bad,
                    checks=checks,
                )
            )
        return found

    def _starts(self, number: int) -> CheckResult:
        causes = [
            measure.died for _, measure in self.known.by_replica[number] if measure.died
        ]
        if causes:
            return _failed("starts and stays", f"{causes[0]}")
        runs = len(self.known.by_replica[number])
        return _passed("starts and stays", f"in all of its {runs} runs")

    def _alone(self, number: int) -> CheckResult:
        name, own = _ALONE, self.known.speed(number, "offline_alone")
        level = self.known.level(number, lambda n: self.known.speed(n, "offline_alone"))
        if own is None:
            return self._unmeasured(name, number)
        if level is None:
            return _skipped(name, "it has no peer on a device of its kind")
        text = f"alone {_against(own, level)} the level of its peers"
        return self._slower(name, own, level, self.tolerance, text, number)

    def _with_all(self, number: int) -> CheckResult:
        """Compare with its own speed alone; without it, with its peers."""
        name, own = _WITH_ALL, self.known.speed(number, "offline_all")
        alone = self.known.speed(number, "offline_alone")
        if own is None:
            return self._unmeasured(name, number)
        if len(self.known.members) < 2:
            return _skipped(name, "it is the only replica")
        if alone is None:
            return _skipped(name, "its speed alone is not known")
        text = f"with all others {_against(own, alone)} its own speed alone"
        return self._slower(name, own, alone, _SHARED * self.tolerance, text, number)

    def _slower(
        self,
        name: str,
        own: float,
        level: float,
        tolerance: float,
        text: str,
        number: int,
    ) -> CheckResult:
        limit = (1 - tolerance) * level
        bad = own < limit
        runs = len(self.known.values(number, "offline_alone", "tokens_per_s"))
        if bad and name == _ALONE:
            text += f" in the median of {count(runs, 'run')}{self.known.clues(number)}"
        return CheckResult(
            name=name,
            outcome="failed" if bad else "passed",
            reason=f"{text} ({own:,.4g} of {level:,.4g} tokens/s)",
            value=own,
            limit=limit,
            unit="tokens/s",
        )

    def _against_yardstick(self, number: int) -> Iterable[CheckResult]:
        own = self.known.speed(number, "offline_alone")
        yardstick = self.yardsticks(self.known.identity[number])
        if own is None:
            return
        if yardstick.low is None:
            yield _skipped("reference", yardstick.source)
        else:
            low = yardstick.low
            text = f"alone {_against(own, low)} the lowest of the reference"
            text += f" ({own:,.4g} of {low:,.4g} tokens/s; {yardstick.source})"
            limit = (1 - self.tolerance) * low
            yield _limited("reference", own < limit, text, own, limit, "tokens/s")
        if not yardstick.history:
            yield _skipped("history", "no earlier qualification with these settings")
            return
        before = statistics.median(one.tokens_per_s for one in yardstick.history)
        number = len(yardstick.history)
        earlier = (
            "its earlier qualification"
            if number == 1
            else (f"the median of its {number} earlier qualifications")
        )
        text = f"alone {_against(own, before)} {earlier}, since"
        text += f" {yardstick.history[0].started}"
        text += f" ({own:,.4g} of {before:,.4g} tokens/s)"
        limit = (1 - self.tolerance) * before
        yield _limited("history", own < limit, text, own, limit, "tokens/s")

    def _latency(self, number: int, phase: Phase) -> CheckResult:
        """Check the limits, and the median of TPOT among peers."""
        how = "alone" if phase == "server_alone" else "with all others"
        name = f"latency {how}"
        runs = [r for r in self.record.of(phase) if r.percentile is not None]
        ttft = self.known.values(number, phase, "ttft_ms")
        if not runs or not ttft:
            return self._unmeasured(name, number)
        percent = f"p{100 * (runs[0].percentile or 0):g}"
        for label, values, limit in (
            ("TTFT", ttft, runs[0].ttft_limit_ms),
            (
                "TPOT",
                self.known.values(number, phase, "tpot_ms"),
                runs[0].tpot_limit_ms,
            ),
        ):
            value = median(values)
            if value is not None and limit is not None and value > limit:
                text = f"{label} {percent} {value:,.4g} ms, limit {limit:,.4g}"
                return _limited(name, True, text, value, limit, "ms")
        own = median(self.known.values(number, phase, "tpot_ms_p50"))
        known = [
            -value
            for n in self.known.peers(number)
            if (value := median(self.known.values(n, phase, "tpot_ms_p50"))) is not None
        ]
        text = f"TTFT {percent} {statistics.median(ttft):,.4g} ms"
        if own is None or len(known) < 2:
            return _passed(name, text)
        level = -faster_half(known)
        limit = (1 + _SHARED * self.tolerance) * level
        text += f", TPOT median {own:,.4g} ms (level of its peers {level:,.4g})"
        return _limited(name, own > limit, text, own, limit, "ms")

    def _answers(self, number: int) -> CheckResult:
        name, odd = "answers", self.record.odd_answers
        if odd is None:
            return _skipped(name, "there is no other replica to compare with")
        mine = [one.text for one in odd if one.replica == number]
        if mine:
            return _failed(name, "; ".join(mine))
        given = any(
            run.phase == "answers" and measure.samples
            for run, measure in self.known.by_replica[number]
        )
        if not given:
            return self._unmeasured(name, number)
        pairs = self.record.answer_pairs
        return _passed(name, f"as the others ({pairs:,} pairs in all)")

    def _hardware(self, number: int) -> CheckResult:
        name = "hardware"
        facts = {
            fact.code: fact
            for _, measure in self.known.by_replica[number]
            for fact in measure.hardware
        }
        bad = [f.text for f in facts.values() if f.code not in _NOTES]
        poor = [f.text for f in facts.values() if f.code in _NOTES]
        if bad:
            return _failed(name, " ".join(bad))
        if poor:
            return CheckResult(name=name, outcome="warning", reason=" ".join(poor))
        if all(device == "cpu" for device in self.known.identity[number].devices):
            return _skipped(name, "it has no GPU")
        return _passed(name, "no fault was reported")

    def _unmeasured(self, name: str, number: int) -> CheckResult:
        """Return a result for what was not measured: why is another check's matter."""
        died = any(measure.died for _, measure in self.known.by_replica[number])
        if died:
            return _skipped(name, "not measured: it was lost")
        return _failed(name, "not measured: too few samples (raise samples=)")

    def _node_speed(self, name: str, names: Sequence[str]) -> Iterable[CheckResult]:
        """Compare a node's speed with that of the other nodes.

        The speed of a node is the mean of its replicas' speeds alone, as shares of the
        level of their peers.
        """
        means = {node: self.known.mean_of_node(node) for node in names}
        own = means[name]
        known = [mean for mean in means.values() if mean is not None]
        if own is None or len(known) < 2:
            return
        level = faster_half(known)
        text = f"its replicas alone are {_against(own, level)} the level of the nodes"
        limit = (1 - self.tolerance) * level
        yield _limited("node speed", own < limit, text, own, limit, "of peers")


def _shared_failures(own: Sequence[ReplicaResult]) -> Iterable[CheckResult]:
    """Name what all replicas of a node fail: the host, not each device, is at fault."""
    if len(own) < 2:
        return
    failed = [{c.name for c in r.checks if c.outcome == "failed"} for r in own]
    for name in sorted(set.intersection(*failed)):
        yield _failed(
            name,
            f"all {len(own)} replicas of this node fail it: look at the host (cores,"
            " power, cooling, PCIe, software) before single devices",
        )


def _against(own: float, level: float) -> str:
    """Return `2.1% below`, for a sentence that goes on with the level's name."""
    change = own / level - 1
    word = "below" if change < 0 else "above"
    return f"{abs(change):.1%} {word}"


def _limited(
    name: str, bad: bool, reason: str, value: float, limit: float, unit: str
) -> CheckResult:
    outcome: Outcome = "failed" if bad else "passed"
    return CheckResult(
        name=name, outcome=outcome, reason=reason, value=value, limit=limit, unit=unit
    )


def _passed(name: str, reason: str) -> CheckResult:
    return CheckResult(name=name, outcome="passed", reason=reason)


def _failed(name: str, reason: str) -> CheckResult:
    return CheckResult(name=name, outcome="failed", reason=reason)


def _skipped(name: str, reason: str) -> CheckResult:
    return CheckResult(name=name, outcome="skipped", reason=reason)
