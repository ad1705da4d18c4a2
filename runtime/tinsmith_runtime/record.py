"""Frozen dataclasses, made of JSON: checked by their type hints, every mismatch with its path.

A field may be a `str`, `bool`, `int`, `float`, another dataclass, `tuple[X, ...]`, `dict[str, X]`
or `X | None`; `Annotated[X, Rule(...)]` says what its value must satisfy besides. A field that has
a default may be missing. The dataclass's module must not postpone its annotations.
"""

import re
import reprlib
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, Union, cast, get_args, get_origin

if TYPE_CHECKING:
    from dataclasses import dataclass as frozen_dataclass
else:

    def frozen_dataclass(*, frozen):
        """Does what `dataclasses.dataclass(frozen=True)` does, in less time.

        The classes share their methods, and look at their fields when `asdict`, `fields` or
        `replace` do: see `docs/decisions/quick-start.md`.
        """
        assert frozen
        return _define


_MAX_REPORTED = 5
# A terminal obeys control characters, and no encoding can write a lone surrogate.
_UNPRINTABLE = r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]"
_EXPECTED = {
    str: "text without control characters",
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    tuple: "a list",
    dict: "an object",
}

__all__ = ["Rule", "frozen_dataclass", "mismatch", "parse_record", "read_json"]

T = TypeVar("T")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):  # which of the two is meant, another reader may see otherwise
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{reprlib.repr(twice)}: expected every key once")
    return tree


class _Json:
    """What `json` has its C function do."""

    strict = True
    object_hook = None
    object_pairs_hook = _object
    parse_float, parse_int, parse_constant = float, int, float


def read_json(text: str) -> Any:
    """Does what `json.loads` does, by the C function in it alone: the package takes 2 ms to import.

    Where that function is missing or has something to complain of, `json` has the last word.

    Raises:
        ValueError: it is not JSON, or an object has a key twice.
    """
    try:
        from _json import make_scanner

        tree, end = make_scanner(cast("Any", _Json))(text, 0)
        if text[end:] in ("", "\n"):
            return tree
    except (AttributeError, ImportError, StopIteration, TypeError, ValueError):
        pass
    import json

    return json.loads(text, object_pairs_hook=_object)


class _Fields:
    """Stands for a class's `__dataclass_fields__` until they are asked for."""

    def __get__(self, record: Any, kind: type[Any]) -> Any:
        from dataclasses import dataclass

        return dataclass(init=False, repr=False, eq=False)(kind).__dataclass_fields__


def _define(kind: type[Any]) -> type[Any]:
    for name, method in _METHODS.items():
        setattr(kind, name, method)
    return kind


def _init(self: Any, *values: object, **named: object) -> None:
    kind = type(self)
    names, defaults = kind.__annotations__, vars(kind)
    found = dict(zip(names, values, strict=False))
    if len(values) > len(names) or not named.keys() <= names.keys() - found.keys():
        raise TypeError(f"{kind.__name__}: expected {', '.join(names)}, each once")
    found |= named
    for name in names:
        if name not in found and name not in defaults:
            raise TypeError(f"{kind.__name__}: {name} is missing")
        self.__dict__[name] = found[name] if name in found else defaults[name]


def _repr(self: Any) -> str:
    values = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
    return f"{type(self).__qualname__}({values})"


def _eq(self: Any, other: object) -> bool:
    return self.__dict__ == other.__dict__ if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(tuple(self.__dict__.values()))


def _refuse(self: Any, name: str, *value: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to or delete field {name!r}")


_METHODS = {
    "__dataclass_fields__": _Fields(),
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
}


@frozen_dataclass(frozen=True)
class Rule:
    """What a value must satisfy besides its type.

    Attributes:
        expected: how the error says it.
        holds: whether a value of the right type satisfies it.
    """

    expected: str
    holds: Callable[[Any], object]


def parse_record(kind: type[T], tree: object, path: str = "") -> T:
    """Turns parsed JSON into a dataclass.

    Args:
        kind: the dataclass.
        tree: what `json.loads` gave.
        path: of the tree, where it is a part of another.

    Raises:
        ValueError: fields are missing, unknown, of a wrong type or value; each with its path.
    """
    problems: list[str] = []
    record: T = _parse(kind, tree, path, problems)
    if problems:
        more = len(problems) - _MAX_REPORTED
        rest = [f"and {more} more"] if more > 0 else []
        raise ValueError("; ".join(problems[:_MAX_REPORTED] + rest))
    return record


def mismatch(path: str, expected: str, got: object) -> str:
    """Says in one line, however large `got` is, what was expected at `path`."""
    return f"{path}: expected {expected}, got {reprlib.repr(got)}"


def _parse(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    if kind is type(value) is str:
        # Few need the expression, which takes longer to compile than a manifest to parse.
        if value.isprintable() or not re.search(_UNPRINTABLE, value):
            return value
    elif kind is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    elif kind is type(value) and kind in (int, bool):
        return value
    elif isinstance(kind, type) and "__dataclass_fields__" in vars(kind):
        return _parse_dataclass(kind, value, path, problems)
    elif rules := getattr(kind, "__metadata__", ()):  # of Annotated
        return _parse_annotated(kind.__origin__, rules[0], value, path, problems)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        return None if value is None else _parse(inner[0], value, path, problems)
    if origin is tuple and type(value) is list:
        items = inner[:1] * len(value) if inner[1:] == (...,) else inner
        if len(items) == len(value):
            pairs = enumerate(zip(items, value, strict=True))
            return tuple(_parse(item, v, f"{path}[{i}]", problems) for i, (item, v) in pairs)
        problems.append(mismatch(path, f"{len(items)} elements", value))
        return None
    if origin is dict and type(value) is dict:
        return {
            _parse(inner[0], key, f"{path} key", problems): _parse(
                inner[1], v, f"{path}[{reprlib.repr(key)}]", problems
            )
            for key, v in value.items()
        }
    problems.append(mismatch(path, _EXPECTED[origin or kind], value))
    return None


def _parse_annotated(kind: Any, rule: Rule, value: Any, path: str, problems: list[str]) -> Any:
    before = len(problems)
    parsed = _parse(kind, value, path, problems)
    if len(problems) == before and not rule.holds(parsed):
        problems.append(mismatch(path, rule.expected, value))
    return parsed


def _parse_dataclass(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    if type(value) is not dict:
        problems.append(mismatch(path, _EXPECTED[dict], value))
        return None
    prefix = f"{path}." if path else ""
    known = kind.__annotations__
    complete = value.keys() == known.keys()
    if not complete:
        required = known.keys() - vars(kind).keys()
        missing = [name for name in known if name in required - value.keys()]
        problems += [f"{prefix}{name}: missing" for name in missing]
        problems += [
            f"{prefix}{reprlib.repr(name)}: unknown field" for name in value if name not in known
        ]
        complete = not missing
    found = {
        name: _parse(hint, value[name], prefix + name, problems)
        for name, hint in known.items()
        if name in value
    }
    return kind(**found) if complete else None
