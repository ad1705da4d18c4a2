"""Frozen dataclasses that are quick to define.

`dataclass(frozen=True)` compiles six methods for each class: 0.5 ms, and `load` needs 16 classes,
which made up a twentieth of the time to a first prediction. Here the classes share their methods.
Otherwise they are what they would be: `asdict`, `fields` and `replace` take them.
"""

from dataclasses import MISSING, FrozenInstanceError, dataclass
from typing import TYPE_CHECKING, Any

__all__ = ["frozen_dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass as frozen_dataclass
else:

    def frozen_dataclass(*, frozen):
        """Does what `dataclasses.dataclass(frozen=True)` does."""
        assert frozen
        return _define


def _define(kind: type[Any]) -> type[Any]:
    for name, method in _METHODS.items():
        setattr(kind, name, method)
    return dataclass(init=False, repr=False, eq=False)(kind)


def _init(self: Any, *values: object, **named: object) -> None:
    fields = self.__dataclass_fields__
    found = dict(zip(fields, values, strict=False))
    if len(values) > len(fields) or not named.keys() <= fields.keys() - found.keys():
        raise TypeError(f"{type(self).__name__}: expected {', '.join(fields)}, each once")
    found |= named
    for name, field in fields.items():
        if name not in found and field.default is MISSING:
            raise TypeError(f"{type(self).__name__}: {name} is missing")
        self.__dict__[name] = found.get(name, field.default)


def _repr(self: Any) -> str:
    values = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
    return f"{type(self).__qualname__}({values})"


def _eq(self: Any, other: object) -> bool:
    return self.__dict__ == other.__dict__ if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(tuple(self.__dict__.values()))


def _refuse(self: Any, name: str, *value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to or delete field {name!r}")


_METHODS = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
}
