"""How values and lists are written in sentences and in cells of tables."""

from record.structs import Json

_SHOWN = 10
"""Items of a list that a sentence names before it counts the rest."""
NOT_RECORDED = "The record does not show the cause."


def count(number: int, noun: str, plural: str = "") -> str:
    """Return `1 sample`, `2 samples`; `plural` for words that do not end in -s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def clock_time(seconds: float) -> str:
    """Return a duration as hours:minutes:seconds, such as `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def some(values: list[int] | list[str]) -> str:
    """Return the first ten of `values` and how many more there are."""
    shown = ", ".join(str(value) for value in values[:_SHOWN])
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return shown + more


def name_replicas(replicas: list[int]) -> str:
    """Return `replica 3`, or `replicas 3, 5`."""
    word = "replica" if len(replicas) == 1 else "replicas"
    return f"{word} {some(replicas)}"


def capitalized(text: str) -> str:
    """Return `text` with its first letter in upper case and the rest as it is.

    A first word that is a name, such as a file or a host, stays as it is.
    """
    first = text.split(maxsplit=1)[0].rstrip(",;:") if text.strip() else ""
    if not first.isalpha() or not first.islower():
        return text
    return text[0].upper() + text[1:]


def sentence(text: str) -> str:
    """Return `text` as a sentence: capitalized, with a period at its end."""
    text = capitalized(text.strip())
    return text if not text or text[-1] in ".!?" else f"{text}."


def with_unit(value: str, unit: str) -> str:
    """Return `5 ms`, `5%`."""
    return f"{value}{'' if unit.startswith('%') else ' '}{unit}" if unit else value


def p_value(p: float) -> str:
    """Return `p = 0.003`; very small probabilities as `p < 1e-9`."""
    return "p < 1e-9" if p < 1e-9 else f"p = {p:.1g}"


def cell(value: Json) -> str:
    """Return a value as a table shows it; `-` for None."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        # Seeds are names rather than amounts.
        return f"{value:,}" if abs(value) < 10**12 else str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(cell(item) for item in value)
    return str(value)


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.4g}" if abs(value) >= 1e-3 else f"{value:.2g}"
