"""How far a run is: its status at a moment, from the coordinator's plain attributes.

The main thread reads them about once a second; the coordinator's thread is not asked.
"""

import os
import platform
import time
from collections.abc import Callable

from record.status import Percentiles, ReplicaStatus, RunStatus
from sut.coordinator.coordinator import Coordinator
from sut.coordinator.replica import State

_WINDOW_S = 30.0
"""Answers of equal length complete in waves, so a short window would be misleading."""
_TRUST = 0.2
"""Weight of a new estimate of the end beside the earlier ones: one wave of answers, or
a pause, must not move the shown time by much."""


class Progress:
    """Computes the status of a run; call `look` about once a second."""

    def __init__(
        self, coordinator: Coordinator, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Look at `coordinator`; `monotonic` can be replaced in tests."""
        self._coordinator = coordinator
        self._monotonic = monotonic
        self._started_ns = coordinator.clock.now_ns()
        self._begin_ns: int | None = None
        self._began = monotonic()
        self._expected: int | None = None
        self._history: list[tuple[float, int, dict[int, int]]] = []
        self._end: float | None = None
        """When the last answer is expected, by `monotonic`."""
        self._share_before = 0.0
        """Share of the work that was done at the last estimate of the end."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start, or since LoadGen's test began."""
        return self._monotonic() - self._began

    def begin_run(self, expected: int | None) -> None:
        """Note the start of LoadGen's test, and the `expected` samples, if known."""
        self._began = self._monotonic()
        self._begin_ns = self._coordinator.clock.now_ns()
        self._expected = expected
        self._end, self._share_before = None, 0.0

    def look(self) -> RunStatus:
        """Return the status now."""
        coordinator = self._coordinator
        dispatcher = coordinator.dispatcher
        now = self._monotonic()
        loads = dict(dispatcher.replicas)
        self._remember(now, {r: load.output_tokens for r, load in loads.items()})
        samples, tokens = self._rates()
        replicas = []
        for number, replica in sorted(list(coordinator.replicas.by_number.items())):
            load = loads.get(number)
            ready = replica.state is State.READY
            running = replica.running if ready else 0
            rate = tokens.get(number)
            replicas.append(
                ReplicaStatus(
                    replica=number,
                    node=replica.node,
                    state=replica.state.value,
                    phase=replica.status if replica.active else replica.state.value,
                    sent=load.sent if load else 0,
                    finished=load.finished if load else 0,
                    outstanding=load.outstanding_samples if load else 0,
                    running=running,
                    tokens_per_s=None if running and not rate else rate,
                )
            )
        running = sum(replica.running for replica in replicas)
        # Tokens count once their answer is whole: until then the rate is not known.
        known = bool(samples) or not running
        share = self._share(running)
        issued, completed = dispatcher.issued, dispatcher.completed
        held = sum(replica.outstanding for replica in replicas)
        return RunStatus(
            state="starting" if self._begin_ns is None else "running",
            updated_ns=coordinator.clock.now_ns(),
            started_ns=self._started_ns,
            begin_ns=self._begin_ns,
            pid=os.getpid(),
            host=platform.node(),
            expected=self._expected,
            issued=issued,
            completed=completed,
            waiting=max(0, issued - completed - held),
            running=running,
            fences=coordinator.replicas.fences,
            samples_per_s=samples if known else None,
            tokens_per_s=sum(tokens.values()) if known else None,
            progress=share,
            eta_s=self._eta_s(now, share),
            ttft_ms=_percentiles(coordinator.answers.latencies.ttft_ms),
            tpot_ms=_percentiles(coordinator.answers.latencies.tpot_ms),
            replicas=replicas,
        )

    def _remember(self, now: float, tokens: dict[int, int]) -> None:
        self._history.append((now, self._coordinator.dispatcher.completed, tokens))
        while len(self._history) > 2 and self._history[1][0] < now - _WINDOW_S:
            self._history.pop(0)

    def _rates(self) -> tuple[float, dict[int, float]]:
        """Return samples/s, and tokens/s by replica."""
        (begin, done, before), (end, done_now, tokens) = (
            self._history[0],
            self._history[-1],
        )
        seconds = max(end - begin, 1e-9)
        # A replica that was restarted counts from 0 again.
        per_replica = {
            r: max(0, count - before.get(r, 0)) / seconds for r, count in tokens.items()
        }
        return (done_now - done) / seconds, per_replica

    def _share(self, running: int) -> float | None:
        """Return the share of the work that is done.

        Where engines report their steps and all samples are there from the start
        (Offline), it counts tokens, those of running samples too. Elsewhere samples
        that run count as half done, which they are on average; before as many are done
        as run, that would be too rough.
        """
        dispatcher = self._coordinator.dispatcher
        completed, expected = dispatcher.completed, self._expected
        if not expected:
            return None
        if completed >= expected:
            return 1.0
        tokens = self._coordinator.recorder.step_tokens
        if tokens and dispatcher.issued >= expected:
            answered = sum(r.output_tokens for r in list(dispatcher.replicas.values()))
            each = dispatcher.mean_answer_tokens
            if completed and answered:
                each = answered / completed
            total = expected * (dispatcher.mean_prompt_tokens + each)
            return min(tokens / total, 0.999)
        if completed < max(1, running):
            return None
        return min((completed + running / 2) / expected, 0.999)

    def _eta_s(self, now: float, share: float | None) -> float | None:
        """Return the seconds left at the mean speed since the start."""
        if not share:
            return None
        end = now + (now - self._began) * (1 - share) / share
        # What was estimated from a tenth of today's share has a tenth of its weight.
        trust = max(_TRUST, 1 - self._share_before / share)
        self._share_before = share
        self._end = end if self._end is None else self._end + trust * (end - self._end)
        return max(0.0, self._end - now) if share < 1 else 0.0


def _percentiles(of: Callable[[float], float | None]) -> Percentiles | None:
    median, high = of(50), of(99)
    if median is None or high is None:
        return None
    return Percentiles(p50=median, p99=high)
