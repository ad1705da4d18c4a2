"""Frozen dataclasses that are quick to define.

`dataclass(frozen=True)` compiles six methods for each class: 0.5 ms, and `load` needs 16 classes,
which made up a twentieth of the time to a first prediction. Here the classes share their methods,
and look at their fields when somebody asks for them: `asdict`, `fields` and `replace` do, `load`
does not, and so does without the module dataclasses.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["frozen_dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass as frozen_dataclass
else:

    def frozen_dataclass(*, frozen):
        """Does what `dataclasses.dataclass(frozen=True)` does."""
        assert frozen
        return _define


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
