"""The weights of `benchmarks/lite0.py` are read without PyTorch, and nothing else is."""

import io
import pickle
import sys
from collections import OrderedDict
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lite0 import read_weights


class FloatStorage:
    __module__ = "torch"


class LongStorage:
    __module__ = "torch"


def rebuild(*values: Any) -> Any:
    return values


class Tensor:
    """Pickled as PyTorch pickles a view of a storage."""

    def __init__(self, kind: type, key: str, offset: int, *shapes: tuple[int, ...]) -> None:
        self.storage = Storage(kind, key)
        self.offset, self.shapes = offset, shapes

    def __reduce__(self) -> Any:
        return rebuild, (self.storage, self.offset, *self.shapes, False, OrderedDict())


class Storage:
    def __init__(self, kind: type, key: str) -> None:
        self.identity = ("storage", kind, key, "cpu", 0, None)


class Writer(pickle.Pickler):
    def persistent_id(self, value: object) -> Any:
        return value.identity if isinstance(value, Storage) else None


def saved(
    monkeypatch: pytest.MonkeyPatch, tensors: dict[str, Any], storages: dict[str, NDArray[Any]]
) -> io.BytesIO:
    """A file as `torch.save` wrote it before PyTorch 1.6."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    for module, name, value in (
        (torch, "FloatStorage", FloatStorage),
        (torch, "LongStorage", LongStorage),
        (utils, "_rebuild_tensor_v2", rebuild),
    ):
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    stream = io.BytesIO()
    parts: tuple[object, ...] = (1001, 1, {}, OrderedDict(tensors), list(storages))
    for part in parts:
        Writer(stream, protocol=2).dump(part)
    for numbers in storages.values():
        stream.write(np.int64(numbers.size).tobytes() + numbers.tobytes())
    stream.seek(0)
    return stream


def test_tensors_are_views_of_storages(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.arange(8, dtype=np.float32)
    tensors = {
        "turned": Tensor(FloatStorage, "7", 2, (2, 3), (1, 2)),
        "steps": Tensor(LongStorage, "5", 0, (), ()),
    }
    found = read_weights(saved(monkeypatch, tensors, {"5": np.array([9]), "7": numbers}))
    assert found["turned"].tolist() == [[2, 4, 6], [3, 5, 7]]
    assert found["steps"] == 9


def test_anything_but_tensors_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(pickle.UnpicklingError, match="expected tensors alone, got __builtin__"):
        read_weights(saved(monkeypatch, {"evil": print}, {}))
