"""The knobs of a tuning campaign: the options that it may change, and how far."""

import ast
import itertools
import math
import operator
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from base.errors import UserError
from campaigns.sweep.points import Point, split_values
from conf.engines import SyntheticConfig
from conf.schema import Config

_NUMBER = r"-?[0-9]+(?:\.\d+)?(?:[eE]-?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::({_NUMBER}|log))?")
_WHOLE = re.compile(r"-?\d+")
_MOST_ENUMERATED = 20_000
_LARGEST = 1e15
_SMALLEST_STEP = 1e-9
"""Of a range, as a share of it; beyond it neighbors are the same number."""
_FEW = 12
"""Values of a range that simulations try."""
_OF_ENGINE = ("max_num_batched_tokens", "max_num_seqs")
_SHORT = {
    "graph_sizes": "engine.options.compilation_config.cudagraph_capture_sizes",
    "balancer": "cluster.balancer",
    "replicas": "cluster.replicas",
    "tensor_parallel": "cluster.gpus_per_replica",
    "dtype": "model.dtype",
}
SHORT_NAMES = (*_OF_ENGINE, *_SHORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """One option that may be changed: a list of values, or a range."""

    option: str
    """Full name, e.g. `engine.options.max_num_seqs`."""
    values: tuple[str, ...] = ()
    """Of a list, in the order of the user; empty: it is a range."""
    low: float = 0.0
    """Least value of a range."""
    high: float = 0.0
    """Largest value of a range, included."""
    step: float = 0.0
    """0: every number (every whole number) of the range."""
    log: bool = False
    """Whether values are spread on a logarithmic scale."""
    whole: bool = False
    """Whether a range has whole numbers only."""

    @property
    def is_ordered(self) -> bool:
        """Whether its values are numbers in ascending order."""
        numbers = [_as_number(value) for value in self.values]
        known = [number for number in numbers if number is not None]
        return len(known) == len(numbers) and known == sorted(known)

    @property
    def count(self) -> float:
        """Number of its values; infinite: of a range of any number."""
        if self.values:
            return len(self.values)
        if self.step or self.whole:
            return 1 + math.floor((self.high - self.low) / (self.step or 1) + 1e-9)
        return math.inf

    def text(self, value: float) -> str:
        """Return a value of a range as the command line has it."""
        return str(round(value)) if self.whole else f"{value:.6g}"

    def spread(self) -> list[str]:
        """Return all its values, or some of a large range, from one end to the other.

        Numbers of a range with `log` are equally far apart by ratio.
        """
        if self.values:
            return list(self.values)
        count = int(min(self.count, _FEW))
        shares = [n / max(1, count - 1) for n in range(count)]
        if self.log:
            found = [self.low * (self.high / self.low) ** s for s in shares]
        else:
            found = [self.low + s * (self.high - self.low) for s in shares]
        if self.step:
            found = [
                self.low + self.step * round((v - self.low) / self.step) for v in found
            ]
        return list(dict.fromkeys(self.text(value) for value in found))

    def draw(self, generator: random.Random) -> str:
        """Return one of its values at random."""
        if self.values:
            return generator.choice(self.values)
        if self.step:
            return self.text(
                self.low + self.step * generator.randrange(int(self.count))
            )
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return self.text(math.exp(generator.uniform(low, high)))
        return self.text(generator.uniform(self.low, self.high))

    def __str__(self) -> str:
        """Return it as the command line has it."""
        if self.values:
            return f"{self.option}={','.join(self.values)}"
        tail = ":log" if self.log else f":{self.step:g}" if self.step else ""
        return f"{self.option}={self.text(self.low)}..{self.text(self.high)}{tail}"


def full_name(key: str, config: Config) -> str:
    """Return the option that a short name stands for; others are as they are."""
    if key in _OF_ENGINE:
        own = isinstance(config.engine, SyntheticConfig)
        return f"engine.{key}" if own else f"engine.options.{key}"
    return _SHORT.get(key, key)


def read_knob(text: str) -> Knob | None:
    """Return the knob `OPTION=A,B,C` or `OPTION=LOW..HIGH[:STEP|:log]`, if it is one.

    Raises:
        UserError: a value is missing or there twice, or a range is empty.
    """
    key, _, value = text.partition("=")
    found = _RANGE.fullmatch(value)
    if found is None:
        values = split_values(value)
        if len(values) == 1:
            return None
        if not all(part.strip() for part in values):
            raise UserError(f"{text}: a value is missing between two commas")
        if len(set(values)) < len(values):
            raise UserError(f"{text}: a value occurs twice")
        return Knob(option=key, values=tuple(values))
    low, high = float(found[1]), float(found[2])
    if not max(abs(low), abs(high)) <= _LARGEST:
        raise UserError(f"{text}: numbers up to {_LARGEST:g} can be tuned")
    last = found[3] or ""
    log = last == "log"
    step = 0.0 if log or not last else float(last)
    if low >= high:
        raise UserError(f"{text}: the second number of a range must be the larger one")
    least = _SMALLEST_STEP * (high - low)
    if (last and not log and step < least) or step > high - low:
        raise UserError(f"{text}: the step must be above 0 and fit into the range")
    if log and low <= 0:
        raise UserError(f"{text}: a range with :log begins above 0")
    whole = all(_WHOLE.fullmatch(part) for part in (found[1], found[2]))
    whole = whole and (not step or step == int(step))
    if step:
        high = low + step * math.floor((high - low) / step + 1e-9)
    return Knob(option=key, low=low, high=high, step=step, log=log, whole=whole)


@dataclass(slots=True, kw_only=True)
class Space:
    """All settings that may be tried."""

    knobs: Sequence[Knob]
    """Options that may be changed."""
    allowed: Callable[[Point], bool]
    """Whether a setting may be tried."""

    @property
    def count(self) -> float:
        """Number of settings, with those that are not allowed."""
        return math.prod(knob.count for knob in self.knobs)

    def points(self) -> list[Point] | None:
        """Return all allowed settings; None: there are too many to list."""
        if self.count > _MOST_ENUMERATED or any(
            not knob.values and knob.count > _FEW for knob in self.knobs
        ):
            return None
        return [point for point in _grid(self.knobs) if self.allowed(point)]

    def draw(self, generator: random.Random) -> Point:
        """Return one setting at random; it may not be allowed."""
        return {knob.option: knob.draw(generator) for knob in self.knobs}


def _grid(knobs: Sequence[Knob]) -> Iterator[Point]:
    names = [knob.option for knob in knobs]
    for values in itertools.product(*(knob.spread() for knob in knobs)):
        yield dict(zip(names, values, strict=True))


def grid(knobs: Sequence[Knob]) -> list[Point]:
    """Return the settings that simulations try: all values, or some of a range."""
    return list(_grid(knobs))


_OPERATORS: dict[type, Callable[[float, float], float | bool]] = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul},
    **{ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv},
    **{ast.Mod: operator.mod, ast.Lt: operator.lt, ast.LtE: operator.le},
    **{ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq},
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """What settings must fulfil, e.g. `max_num_seqs <= max_num_batched_tokens`.

    Comparisons of knobs and numbers, with + - * / // % and `and`, `or`, `not`. A knob
    is named by its option or by the last part of it.
    """

    text: str
    tree: ast.expr

    @classmethod
    def read(cls, text: str, knobs: Sequence[Knob]) -> "Condition":
        """Return the condition in `text`.

        Raises:
            UserError: it is not a comparison of knobs.
        """
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            found = cls(text, tree)
            found.holds({knob.option: knob.spread()[0] for knob in knobs})
        except (SyntaxError, ValueError) as error:
            raise UserError(f"where={text}: not a comparison of knobs") from error
        except (RecursionError, MemoryError) as error:
            raise UserError(f"where={text[:40]}...: nested too deeply") from error
        return found

    def holds(self, point: Mapping[str, str]) -> bool:
        """Return whether the settings of `point` fulfil it.

        Raises:
            UserError: it names something else than the knobs, or a value is no number.
        """
        names = {key.rpartition(".")[2]: value for key, value in point.items()}
        try:
            return bool(self._value(self.tree, {**names, **point}))
        except ArithmeticError:  # a division by zero, or beyond the range of numbers
            return False

    def _value(self, node: ast.expr, point: Mapping[str, str]) -> float | bool:
        match node:
            case ast.Constant(value=bool() | int() | float() as number):
                return number
            case ast.Name() | ast.Attribute():
                return self._named(ast.unparse(node), point)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return not self._value(inner, point)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -self._value(inner, point)
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(self._value(part, point) for part in parts)
            case ast.BoolOp(values=parts):
                return any(self._value(part, point) for part in parts)
            case ast.BinOp(left=left, op=sign, right=right):
                if type(sign) in _OPERATORS:
                    one, other = self._value(left, point), self._value(right, point)
                    return _OPERATORS[type(sign)](one, other)
            case ast.Compare(left=left, ops=signs, comparators=others):
                if all(type(sign) in _OPERATORS for sign in signs):
                    values = [self._value(part, point) for part in (left, *others)]
                    return all(
                        _OPERATORS[type(sign)](one, other)
                        for sign, one, other in zip(
                            signs, values, values[1:], strict=False
                        )
                    )
        raise UserError(
            f"where={self.text}: {ast.unparse(node)} is not a comparison of knobs"
        )

    def _named(self, name: str, point: Mapping[str, str]) -> float:
        short = _SHORT.get(name, name)
        if short not in point:
            raise UserError(f"where={self.text}: there is no knob {name}")
        number = _as_number(point[short])
        if number is None:
            raise UserError(f"where={self.text}: {name}={point[short]} is not a number")
        return number


def _as_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
