"""Finds the changes of a run's signals, and which replicas each concerns.

Each signal is scanned for every replica, for the mean of each host's replicas and for
the mean of all. The clearest change is taken first; the replicas that share it decide
where it was: all replicas of a host name the host, all replicas name the run. What it
explains is taken off before the next one is judged, so that a change of a host is not
reported again for each of its replicas.
"""

from dataclasses import dataclass

import numpy as np

from report.reading.samples import BoolArray, FloatArray
from report.timeline.scan import Change, mean_in, scan
from report.timeline.series import Inputs, Series, mean_over
from report.timeline.signals import Signal

SIGNIFICANCE = 0.01
"""Probability of any false change in an even run, at most, over all signals."""
_SHARED = 0.5
"""Share of an episode's effect that a replica must show to be part of it."""
_AT_FAULT = 0.35
"""Share of the slowest replica's slowdown at a like load that makes one slow too."""
_INNOCENT = 0.2
"""Share of an episode's effect below which a replica is not part of its host's."""
_MOST = 0.8
"""Share of a host's replicas that make it the host's episode."""
_LONGEST = 0.75
"""Share of the run that an episode may last: of what lasts longer, the rest is news."""
_GAP_S = 10.0
"""A cache that has room for a shorter time is still too small."""
_ALIKE = 0.7
"""Share of both spans that two changes have in common if they are one."""


@dataclass(slots=True, kw_only=True)
class PlacedChange:
    """A change of one signal, with the replicas that share it."""

    signal: str
    begin: int
    end: int
    replicas: list[int]
    effect: float
    p: float
    score: float
    """Orders changes by how clear they are."""
    drift: bool


def find_changes(
    inputs: Inputs, series: Series, signals: list[Signal]
) -> list[PlacedChange]:
    """Return the changes of all signals, the clearest first."""
    found = [
        change
        for signal in signals
        for change in _candidates(inputs, series, signal, len(signals))
    ]
    found += _kv(inputs, series)
    return _connected(_joined(inputs, sorted(found, key=lambda one: -one.score)))


def _candidates(
    inputs: Inputs, series: Series, signal: Signal, number: int
) -> list[PlacedChange]:
    """Return the changes of one signal, each with the replicas that share it."""
    rest = signal.rows.copy()
    count = len(rest)
    levels = [np.eye(count, dtype=bool)]
    if count > 1:
        if len(inputs.hosts) > 1:
            levels.append(inputs.host[None, :] == np.arange(len(inputs.hosts))[:, None])
        levels.append(np.ones((1, count), bool))
    members = np.vstack(levels)
    members = members[members.any(axis=1)]
    rows = np.array([mean_over(rest[own]) for own in members])
    wanted = SIGNIFICANCE / number / len(rows)
    found: list[PlacedChange] = []
    for scanned in scan(rows, wanted, signal.drifts, signal.least_error):
        change: Change | None = scanned
        if signal.direction * scanned.effect < 0:
            change = scanned.mirrored(series.bins)
            if change and change.end - change.begin > _LONGEST * series.bins:
                change = None
        if change is None or abs(change.effect) < signal.least:
            continue
        sign = 1.0 if change.effect > 0 else -1.0
        own = members[change.row]
        effects = sign * _effects(rest, change)
        # What an earlier, clearer change explains is gone from the series.
        if not _mean(effects[own]) >= _SHARED * abs(change.effect):
            continue
        touched = _sharing(inputs, effects, own)
        replicas = _at_fault(signal, change, touched)
        mean = sign * _mean(effects[touched])
        _take_off(rest, change, touched, sign * effects)
        if not replicas:
            continue
        found.append(
            PlacedChange(
                signal=signal.name,
                begin=change.begin,
                end=change.end,
                replicas=list(range(len(inputs.names))) if count == 1 else replicas,
                effect=mean,
                p=change.p * number * len(rows),
                score=change.score,
                drift=change.drift,
            )
        )
    return found


def _at_fault(signal: Signal, change: Change, touched: list[int]) -> list[int]:
    """Return the replicas that were slow, without those that had the work of others.

    A balancer gives the work of a slow replica to the others, whose steps take longer
    then too.
    """
    if signal.given_load is None:
        return touched
    slow = np.nan_to_num(_effects(signal.given_load, change))
    most = float(slow.max())
    if most < signal.least:
        return touched
    return [replica for replica in touched if slow[replica] >= _AT_FAULT * most]


def _mean(values: FloatArray) -> float:
    """Return the mean of what is known; 0 where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def _effects(rows: FloatArray, change: Change) -> FloatArray:
    """Return the effect of a change in each row."""
    place = np.arange(rows.shape[1])
    if change.drift:
        half = rows.shape[1] // 2
        late = np.broadcast_to(place >= half, rows.shape)
        # The means of two halves of a line lie half its whole change apart.
        return 2 * (mean_in(rows, late) - mean_in(rows, ~late))
    inside = np.broadcast_to((place >= change.begin) & (place < change.end), rows.shape)
    return mean_in(rows, inside) - mean_in(rows, ~inside)


def _take_off(
    rows: FloatArray, change: Change, replicas: list[int], effects: FloatArray
) -> None:
    if change.drift:
        x = np.linspace(-0.5, 0.5, rows.shape[1])
        rows[replicas] -= effects[replicas, None] * x
    else:
        rows[replicas, change.begin : change.end] -= effects[replicas, None]


def _sharing(inputs: Inputs, effects: FloatArray, own: np.ndarray) -> list[int]:
    """Return the replicas that share a change found in the mean of `own`.

    Those with half the effect of the most affected ones, of `own` and of other hosts
    whose mean effect is half of that. Where nearly all replicas of a host, or of the
    run, are among them, those with less are too, but none without any effect.
    """
    known = np.nan_to_num(effects, nan=-np.inf)
    typical = float(np.median(np.sort(known[own])[-max(1, int(own.sum()) // 8) :]))
    alike = known >= _SHARED * typical
    some = known >= _INNOCENT * typical
    if own.sum() == 1:
        # The others are scanned too: what is alike is joined later.
        return [int(own.argmax())]
    shared = alike & own
    for host in range(len(inputs.hosts)):
        on_host = inputs.host == host
        if not (own & on_host).any() and _mean(effects[on_host]) >= _SHARED * typical:
            shared |= alike & on_host
        if on_host.sum() > 2 and shared[on_host].mean() >= _MOST:
            shared |= on_host & some
    if shared.mean() >= _MOST and len(shared) > 2:
        shared |= some
    return [int(replica) for replica in np.flatnonzero(shared)]


def _kv(inputs: Inputs, series: Series) -> list[PlacedChange]:
    """Return spans in which the KV cache was full and requests waited for it.

    Step records also show requests that lost theirs. Only where requests arrive over
    time: Offline, a full cache is how it should be.
    """
    full = (series.gauge("kv_used") >= 0.95) & (series.gauge("waiting") >= 1)
    if series.steps is not None:
        steps = series.steps
        full |= (steps.kv_free <= 0.05) & (steps.waiting >= 1)
        full |= steps.preempted > 0
    if not inputs.poisson or not full.any():
        return []
    found: list[PlacedChange] = []
    share = full.mean(axis=0) if len(full) > 1 else full[0].astype(float)
    for begin, end in _stretches(share > 0, int(np.ceil(_GAP_S / series.width_s))):
        if end - begin < 2:
            continue
        most = full[:, begin:end].mean(axis=1)
        own = np.flatnonzero(most >= _SHARED * most.max())
        if len(own):
            found.append(
                PlacedChange(
                    signal="kv",
                    begin=begin,
                    end=end,
                    replicas=own.tolist(),
                    effect=1.0,
                    p=0.0,
                    score=1e9,
                    drift=False,
                )
            )
    return found


def _stretches(on: BoolArray, gap: int) -> list[tuple[int, int]]:
    """Return begin and end of the stretches of True, those `gap` apart made one."""
    edges = np.flatnonzero(np.diff(np.pad(on.astype(int), 1))).reshape(-1, 2)
    found: list[tuple[int, int]] = []
    for begin, end in edges.tolist():
        if found and begin - found[-1][1] <= gap:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found


def _joined(inputs: Inputs, candidates: list[PlacedChange]) -> list[PlacedChange]:
    """Return the changes with those at the same time in other replicas made one."""
    joined: list[PlacedChange] = []
    for one in candidates:
        same = next((other for other in joined if _alike(one, other)), None)
        if same is None:
            joined.append(one)
            continue
        same.replicas = sorted({*same.replicas, *one.replicas})
        on_hosts = np.isin(np.arange(len(inputs.names)), same.replicas)
        for host in range(len(inputs.hosts)):
            own = inputs.host == host
            if own.sum() > 2 and on_hosts[own].mean() >= _MOST:
                same.replicas = sorted({*same.replicas, *np.flatnonzero(own).tolist()})
        if len(same.replicas) >= _MOST * len(inputs.names) and len(inputs.names) > 2:
            same.replicas = list(range(len(inputs.names)))
    return joined


def _connected(changes: list[PlacedChange]) -> list[PlacedChange]:
    """Return the changes with those that follow each other at once made one.

    A change that grows or fades may be found in two pieces.
    """
    connected: list[PlacedChange] = []
    for one in changes:
        same = next((other for other in connected if _follows(one, other)), None)
        if same is None:
            connected.append(one)
            continue
        pieces = [same.end - same.begin, one.end - one.begin]
        total = same.effect * pieces[0] + one.effect * pieces[1]
        same.effect = total / sum(pieces)
        same.begin, same.end = min(same.begin, one.begin), max(same.end, one.end)
    return connected


def _follows(one: PlacedChange, other: PlacedChange) -> bool:
    apart = max(one.begin, other.begin) - min(one.end, other.end)
    return (
        one.signal == other.signal
        and not (one.drift or other.drift)
        and one.effect * other.effect > 0
        and one.replicas == other.replicas
        and 0 <= apart <= 1
    )


def _alike(one: PlacedChange, other: PlacedChange) -> bool:
    longer = max(one.end - one.begin, other.end - other.begin)
    common = min(one.end, other.end) - max(one.begin, other.begin)
    return (
        one.signal == other.signal
        and one.drift == other.drift
        and one.effect * other.effect > 0
        and common >= _ALIKE * longer
    )
