"""Makes episodes of the changes of a run: what happened, when and where."""

from dataclasses import dataclass, field, replace

import numpy as np

from report.reading.samples import BoolArray
from report.timeline.causes import Evidence, evidence, harm, name_cause
from report.timeline.changes import SIGNIFICANCE, PlacedChange, find_changes
from report.timeline.scan import scan
from report.timeline.series import Inputs, Series, mean_over
from report.timeline.signals import Signal, make_signals, saturated

_OVERLAP = 0.5
"""Share of the shorter span that two changes have in common if they are one episode."""
_LEAST_LOST = 0.005
"""Share of the run that a GPU must have been idle while requests waited."""
_LEAST_COST, _LEAST_STEP_COST = 0.02, 0.01
"""Share of the run that slower steps alone must cost, without and with step records."""
_AGREED = 0.8
"""Share of the replicas of an episode that must have one cause."""
LOAD = ("arrivals", "prompts")
"""Signals of the load, not of a replica."""


@dataclass(slots=True, kw_only=True)
class Episode:
    """A span of time in which something was different."""

    begin_s: float
    end_s: float
    replicas: list[int]
    """By index."""
    where: list[str]
    """Names of hosts or replicas; empty: the whole run."""
    cause: str
    """`arrivals`, `prompts`, `throttled`, `clock`, `host`, `gpu`, `kv`, `network`,
    `fenced`, `cold` or `unknown`."""
    text: str
    """The cause in words."""
    p: float
    drift: bool = False
    felt_until_s: float = 0.0
    """When what it left behind, such as a queue, was gone too."""
    signals: list[str] = field(default_factory=list)
    """Signals that changed, the clearest first."""
    evidence: list[Evidence] = field(default_factory=list)

    @property
    def length_s(self) -> float:
        """Seconds from begin to end."""
        return self.end_s - self.begin_s


def find_episodes(inputs: Inputs, series: Series) -> list[Episode]:
    """Return the episodes of a run in order of time."""
    if not inputs.names:
        return []
    signals = make_signals(inputs, series)
    episodes = _fences(inputs)
    groups = _groups(find_changes(inputs, series, signals))
    for group in groups:
        episodes += _episodes(inputs, series, signals, group)
    episodes = _without_echoes(inputs, episodes)
    full = saturated(inputs, series)
    for one in episodes:
        one.felt_until_s = _recovery(
            one, series, np.asarray(full[one.replicas].any(axis=0))
        )
    return sorted(episodes, key=lambda one: one.begin_s)


def _recovery(one: Episode, series: Series, full: BoolArray) -> float:
    """Return when the queue that an episode left was gone, in s.

    One bin without a queue is not the end of it: the queue must be gone for two.
    """
    place = int(one.end_s / series.width_s)
    while place < series.bins and full[place : place + 2].any():
        place += 1
    return max(one.felt_until_s, one.end_s, place * series.width_s)


def _groups(candidates: list[PlacedChange]) -> list[list[PlacedChange]]:
    """Return changes of several signals that are one episode, the clearest first."""
    groups: list[list[PlacedChange]] = []
    for one in candidates:
        for group in groups:
            if _belong(group[0], one):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _belong(first: PlacedChange, other: PlacedChange) -> bool:
    # Changes of the load and of replicas are causes of their own.
    if (first.signal in LOAD or other.signal in LOAD) and first.signal != other.signal:
        return False
    shorter = min(first.end - first.begin, other.end - other.begin)
    common = min(first.end, other.end) - max(first.begin, other.begin)
    together = len({*first.replicas} & {*other.replicas})
    return (
        common >= _OVERLAP * shorter
        and together >= _OVERLAP * min(len(first.replicas), len(other.replicas))
        and together >= _OVERLAP * max(len(first.replicas), len(other.replicas)) / 2
    )


def _episodes(
    inputs: Inputs, series: Series, signals: list[Signal], group: list[PlacedChange]
) -> list[Episode]:
    """Return what a group of changes is: one episode, or none where it did no harm.

    Replicas with different causes have an episode each.
    """
    lead = _sharpest(inputs, series, group)
    names = {one.signal for one in group}
    inside = slice(lead.begin, lead.end)
    if names <= {"lost", "gap", "speed"}:
        waits = [one for one in group if one.signal in ("lost", "gap")]
        lost = [one.effect / 100 * (one.end - one.begin) for one in waits]
        little = max(lost, default=0.0) < _LEAST_LOST * series.bins
        slow = [one for one in group if one.signal == "speed"]
        if little and all(_is_short(inputs, series, one) for one in slow):
            return []
    if not {"lost", "gap", "kv", "outside", "speed", *LOAD} & names and not harm(
        inputs, series, lead.replicas, inside, lead.drift
    ):
        return []
    apart = _by_cause(inputs, series, lead, group)
    if len(apart) > 1:
        group = [
            replace(one, replicas=own, begin=begin, end=end)
            for one in group
            for own in apart
            if {*own} & {*one.replicas}
            for begin, end in [_own_span(signals, one, own)]
        ]
    return [_named(inputs, series, group, replicas) for replicas in apart]


def _own_span(
    signals: list[Signal], change: PlacedChange, replicas: list[int]
) -> tuple[int, int]:
    """Return where a change of several replicas begins and ends in some of them."""
    begin, end = change.begin, change.end
    signal = next((one for one in signals if one.name == change.signal), None)
    if signal is None or change.drift or len(signal.rows) == 1:
        return begin, end
    row = mean_over(signal.rows[replicas])[None, :]
    spans = [
        (min(one.end, end) - max(one.begin, begin), one.begin, one.end)
        for one in scan(row, SIGNIFICANCE, drifts=False)
        if one.effect * change.effect > 0
    ]
    common, first, last = max(spans, default=(0, begin, end))
    return (first, last) if common > 0 else (begin, end)


def _named(
    inputs: Inputs, series: Series, group: list[PlacedChange], replicas: list[int]
) -> Episode:
    own = [one for one in group if {*one.replicas} & {*replicas}]
    lead = _sharpest(inputs, series, own)
    inside = slice(lead.begin, lead.end)
    signals = list(dict.fromkeys(one.signal for one in own))
    facts = evidence(series, replicas, inside, lead.drift)
    cause, text = name_cause(
        inputs, series, signals, facts, replicas, inside, lead.drift
    )
    return Episode(
        begin_s=lead.begin * series.width_s,
        end_s=min(lead.end * series.width_s, inputs.wall_s),
        replicas=replicas,
        where=place_names(inputs, replicas),
        cause=cause,
        text=text,
        p=min(one.p for one in own),
        felt_until_s=lead.end * series.width_s,
        drift=lead.drift,
        signals=signals,
        evidence=facts,
    )


def _by_cause(
    inputs: Inputs, series: Series, lead: PlacedChange, group: list[PlacedChange]
) -> list[list[int]]:
    """Return the replicas of a change, those with another cause of their own apart.

    Two faults may come at the same time.
    """
    touched = sorted({replica for one in group for replica in one.replicas})
    if len(touched) < 2 or lead.signal in ("kv", *LOAD):
        return [lead.replicas]
    inside = slice(lead.begin, lead.end)
    causes: dict[str, list[int]] = {}
    for replica in touched:
        facts = evidence(series, [replica], inside, lead.drift)
        signals = [one.signal for one in group if replica in one.replicas]
        cause, _ = name_cause(
            inputs, series, signals, facts, [replica], inside, lead.drift
        )
        causes.setdefault(cause, []).append(replica)
    if max(len(own) for own in causes.values()) >= _AGREED * len(touched):
        return [lead.replicas]
    return list(causes.values())


def _sharpest(
    inputs: Inputs, series: Series, group: list[PlacedChange]
) -> PlacedChange:
    """Return the change that shows begin and end best: the clearest one.

    Step records are sharp in time, so what they show comes first.
    """
    of_steps = ("gap", "speed") if series.steps is not None else ()
    sharp = [one for one in group if one.signal in of_steps]
    long = [
        one
        for one in sharp
        if one.signal != "speed" or not _is_short(inputs, series, one)
    ]
    return (long or sharp or group)[0]


def _is_short(inputs: Inputs, series: Series, change: PlacedChange) -> bool:
    """Return whether slower steps may be one stalled step, or cost next to nothing.

    One stalled step lengthens the time per token of every request in decode: it shows
    from one decode time before it until one after it. In step records it is one step.
    """
    length = (change.end - change.begin) * series.width_s
    effect = change.effect / 2 if change.drift else change.effect
    cost = effect * length
    if series.steps is not None:
        return cost < _LEAST_STEP_COST * inputs.wall_s
    return length < 3 * inputs.service_s or cost < _LEAST_COST * inputs.wall_s


def place_names(inputs: Inputs, replicas: list[int]) -> list[str]:
    """Return the names of whole hosts and of single replicas; none for the whole run.

    With one host, all its replicas are the host.
    """
    if len(replicas) == len(inputs.names) and len(inputs.hosts) > 1:
        return []
    names: list[str] = []
    for host, name in enumerate(inputs.hosts):
        own = np.flatnonzero(inputs.host == host).tolist()
        mine = [replica for replica in own if replica in {*replicas}]
        if mine and len(mine) == len(own) and (len(own) > 1 or len(inputs.hosts) == 1):
            names.append(name)
        else:
            names += [inputs.names[replica] for replica in mine]
    return names


def _fences(inputs: Inputs) -> list[Episode]:
    return [
        Episode(
            begin_s=one.begin_s,
            end_s=one.end_s,
            replicas=[one.replica],
            where=[inputs.names[one.replica]],
            cause="fenced",
            text=f"{inputs.names[one.replica]} was fenced: {one.cause}",
            p=0.0,
            felt_until_s=one.end_s,
            signals=["events"],
        )
        for one in inputs.absences
    ]


def _without_echoes(inputs: Inputs, episodes: list[Episode]) -> list[Episode]:
    """Leave out slow spans that are just what an episode beside them left behind.

    A queue drains after its cause is gone, and the time per output token of a request
    is a mean over its whole decode: so steps look slower a little before an episode
    and until well after it. Which comes first is the clearer one: `episodes` are in
    that order, those with a cause of their own before those without.
    """
    near = max(10.0, 4 * inputs.service_s)
    kept: list[Episode] = []
    for one in sorted(episodes, key=lambda one: one.signals == ["speed"]):
        same = next((other for other in kept if _goes_on(one, other, inputs)), None)
        if same is not None:
            same.begin_s = min(same.begin_s, one.begin_s)
            same.end_s = max(same.end_s, one.end_s)
            same.felt_until_s = max(same.felt_until_s, one.felt_until_s)
            continue
        source = next((other for other in kept if _echo(one, other, near)), None)
        if source is None:
            kept.append(one)
        else:
            source.felt_until_s = max(source.felt_until_s, one.end_s)
    return kept


def _goes_on(one: Episode, other: Episode, inputs: Inputs) -> bool:
    """Return whether one episode is the edge of another of the same kind."""
    gap = max(one.begin_s, other.begin_s) - min(one.end_s, other.end_s)
    return (
        one.cause == other.cause != "fenced"
        and not (one.drift or other.drift)
        and {*one.replicas} <= {*other.replicas}
        and gap <= inputs.service_s
    )


def _echo(one: Episode, other: Episode, near: float) -> bool:
    if one.signals != ["speed"] or one.drift or other.drift:
        return False
    touched = other.cause in ("fenced", *LOAD) or {*one.replicas} & {*other.replicas}
    before = other.begin_s - near <= one.begin_s
    return bool(touched) and before and one.begin_s <= other.felt_until_s + near
