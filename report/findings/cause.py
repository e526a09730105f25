"""Why a place was slow."""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Cause:
    """Why a place was slow."""

    code: str
    text: str
    advice: str
    """What to do about it."""
