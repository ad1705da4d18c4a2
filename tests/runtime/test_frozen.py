"""Against the dataclass that it stands for."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, dataclass, fields, replace
from typing import Any

import pytest

from tinsmith_runtime.record import frozen_dataclass


def _make(decorate: Callable[..., Any]) -> Any:
    @decorate(frozen=True)
    class Scale:
        """A scale."""

        step: float
        name: str = "lsb"
        parts: tuple[int, ...] = ()

        @property
        def double(self) -> float:
            return 2 * self.step

    return Scale


Ours, Theirs = _make(frozen_dataclass), _make(dataclass)


@pytest.mark.parametrize(
    ("values", "named"), [((1.5,), {}), ((1.5, "x"), {"parts": (1,)}), ((), {"step": 2.0})]
)
def test_same(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    one, other = Ours(*values, **named), Theirs(*values, **named)
    assert repr(one) == repr(other)
    assert asdict(one) == asdict(other)
    assert [f.name for f in fields(one)] == [f.name for f in fields(other)]
    assert asdict(replace(one, step=7.0)) == asdict(replace(other, step=7.0))
    assert one.double == other.double
    assert (one == Ours(*values, **named), one == other, one == replace(one, step=9)) == (1, 0, 0)
    assert hash(one) == hash(other)
    assert Ours.__match_args__ == Theirs.__match_args__


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1, "x", (), 4), {}), ((1,), {"step": 2}), ((1,), {"no": 2})]
)
def test_wrong_arguments(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            kind(*values, **named)


def test_frozen() -> None:
    for scale in (Ours(1.0), Theirs(1.0)):
        for name in ("step", "novelty"):
            with pytest.raises(FrozenInstanceError, match=f"field '{name}'"):
                setattr(scale, name, 2)
        with pytest.raises(FrozenInstanceError, match="field 'step'"):
            del scale.step
