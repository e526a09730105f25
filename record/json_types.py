"""Type of a value that JSON can hold."""

from typing import Any

Json = Any
"""str, int, float, bool, None, or lists and dicts of these."""
