"""What a recommendation takes: a setting, work on the hosts, or new hardware."""

from collections.abc import Sequence

from report.findings.finding import Effort, Found, Recommendation
from report.wording import cell, with_unit

_HARDWARE = ("memory.rows", "nvlink.down", "opportunity.power")
"""Codes whose recommendation needs another device."""
_HOST = (
    "slow.throttled",
    "slow.heterogeneous",
    "slow.network",
    "slow.cpu",
    "slow.unknown",
    "episode.throttled",
    "episode.host",
    "episode.gpu",
    "episode.network",
    "episode.unknown",
    "fenced",
    "lost",
    "retried",
    "xid",
    "ecc",
    "pcie",
    "nvlink",
    "numa",
    "isolated",
    "quota",
    "answers",
    "scaling",
)
"""Codes, or begins of codes, that need somebody at the hosts; other settings are a
matter of minutes."""


def effort_of(code: str) -> Effort:
    """Return what it takes to follow the recommendation of a finding.

    Args:
        code: of the finding.
    """
    if code.startswith(_HARDWARE):
        return "with new hardware"
    return "this week" if code.startswith(_HOST) else "now"


def add_impacts(found: Sequence[Found], advice: Sequence[Recommendation]) -> None:
    """State beside each finding what it cost: the estimate of its recommendation."""
    for finding in (one.finding for one in found):
        own = [
            one
            for one in advice
            if one.finding == finding.code and one.where in (finding.where, [])
        ]
        if not own or finding.impact:
            continue
        most = own[0].estimate
        finding.impact = (
            f"{with_unit(cell(most.value), most.unit)} ({most.definition})."
        )
