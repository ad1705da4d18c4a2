"""One value of `space.toml`: a constant, a list of choices, or a range."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinsmith_search.errors import SearchError

if TYPE_CHECKING:
    import optuna

_RANGE = ("low", "high", "step", "log")
_MOST = 1000


@dataclass(frozen=True)
class Kind:
    """What a key may be.

    Attributes:
        type: `int`, `float` or `str`.
        low: the least number.
        high: the largest number.
        choices: the texts that are known; any if empty.
        constant: whether it is the same in all trials.
    """

    type: type[int] | type[float] | type[str]
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    constant: bool = False

    def check(self, value: object) -> Any:
        """Gives a value of this kind, or raises a `SearchError`."""
        if self.type is str:
            if not isinstance(value, str) or (self.choices and value not in self.choices):
                raise SearchError(f"expected {' or '.join(self.choices) or 'text'}, got {value!r}")
            return value
        types = (int, float) if self.type is float else (int,)
        if type(value) not in types or not self.low <= value <= self.high:  # type: ignore[operator]
            what = "a whole number" if self.type is int else "a number"
            raise SearchError(
                f"expected {what} from {self.low:g} to {self.high:g}, got {value!r:.60}"
            )
        return self.type(value)  # type: ignore[arg-type, call-overload]


@dataclass(frozen=True)
class Value:
    """What is chosen from.

    Attributes:
        choices: what may be chosen, at least one; numbers, texts, or tuples of numbers, one for
            each block. Of a range, its lowest and its highest number.
        step: of a range, or `None`.
        log: whether a range is even in its logarithm.
        is_range: whether it is one.
    """

    choices: tuple[Any, ...]
    step: float | None = None
    log: bool = False
    is_range: bool = False

    @property
    def only(self) -> Any:
        """The constant, where there is no choice."""
        return self.choices[0]

    @property
    def of_all_blocks(self) -> bool:
        """Whether a choice says something of each block."""
        return isinstance(self.choices[0], tuple)

    def require_constant(self, what: str, expected: str) -> None:
        """Raises a `SearchError` if there is a choice."""
        if len(self.choices) > 1:
            raise SearchError(f"{what}: expected one {expected}, got {len(self.choices)}")

    def describe(self) -> Any:
        """Gives what JSON can hold."""
        if not self.is_range:
            return list(self.choices)
        low, high = self.choices
        return {"low": low, "high": high, "step": self.step, "log": self.log}


def parse_value(value: object, kind: Kind, whole: bool = False) -> Value:
    """Reads a value.

    Args:
        value: of parsed TOML.
        kind: what it may be.
        whole: whether a choice may be a list, a number for each block.

    Raises:
        SearchError: it is none.
    """
    if kind.constant and isinstance(value, list | dict):
        raise SearchError(f"expected one value, the same in all trials, got {value!r:.60}")
    if isinstance(value, dict):
        return _range(value, kind)
    if not isinstance(value, list):
        return Value((kind.check(value),))
    if not value or len(value) > _MOST:
        raise SearchError(f"expected 1 to {_MOST} choices, got {len(value)}")
    if whole and all(isinstance(one, list) and one for one in value):
        found = tuple(tuple(kind.check(number) for number in one) for one in value)
    else:
        found = tuple(kind.check(one) for one in value)
    if len(set(found)) < len(found):
        raise SearchError(f"expected each choice once, got {value!r:.60}")
    return Value(found)


def _range(table: dict[str, object], kind: Kind) -> Value:
    for key in table:
        if key not in _RANGE:
            raise SearchError(f"a range has {', '.join(_RANGE)}, got {key}")
    if kind.type is str or not {"low", "high"} <= table.keys():
        expected = "a text or a list of texts" if kind.type is str else "low and high of a range"
        raise SearchError(f"expected {expected}, got {table!r:.60}")
    low, high = kind.check(table["low"]), kind.check(table["high"])
    log, step = table.get("log", False), table.get("step")
    if not isinstance(log, bool):
        raise SearchError(f"log: expected true or false, got {log!r:.60}")
    if not low < high:
        raise SearchError(f"expected low below high, got {low} and {high}")
    if step is not None:
        step = Kind(kind.type, low=0).check(step)
        if not 0 < step <= high - low:
            raise SearchError(f"step: expected 0 to {high - low}, got {step}")
        # Optuna would lower the end of such a range, and only warn.
        if not math.isclose(math.remainder(high - low, step), 0, abs_tol=1e-9 * step):
            raise SearchError(f"step: expected a part of high - low, {high - low:g}, got {step}")
    if log and (step is not None or low <= 0):
        raise SearchError("log: expected a range above 0 without a step")
    return Value((low, high), step, log, is_range=True)


def choose(trial: "optuna.Trial", name: str, value: Value) -> Any:
    """Has a trial choose; a constant is no parameter of the study."""
    if value.is_range:
        low, high = value.choices
        if isinstance(low, int):
            return trial.suggest_int(name, low, high, step=int(value.step or 1), log=value.log)
        return trial.suggest_float(name, low, high, step=value.step, log=value.log)
    if len(value.choices) == 1:
        return value.only
    if not value.of_all_blocks:
        return trial.suggest_categorical(name, value.choices)
    texts = {" ".join(map(str, choice)): choice for choice in value.choices}
    return texts[str(trial.suggest_categorical(name, list(texts)))]
