"""The states of a stream's recurrent layers, from one step to the next."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import tensorflow as tf

Layer: TypeAlias = Any
Tensor: TypeAlias = Any


class Memory:
    """The states of a model's recurrent layers, between one step of a stream and the next.

    Attributes:
        kept: name to the state behind the step, `(batch, units)`.
    """

    def __init__(self) -> None:
        self._before: list[Tensor] = []
        self._first = True
        self.kept: dict[str, Tensor] = {}

    def begin(self, before: Sequence[Tensor]) -> None:
        """Begins a step with the states before it, in the order of `kept`; without any, zeros."""
        self._before, self._first, self.kept = list(before), not before, {}

    def take(self, like: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """The next states, of so many units each."""
        if self._first:
            return [tf.zeros((like.shape[0], size), like.dtype) for size in sizes]
        found, self._before = self._before[: len(sizes)], self._before[len(sizes) :]
        return found

    def keep(self, layer: Layer, states: Sequence[Tensor]) -> None:
        """Notes the states of a layer behind the step: `LAYER.h`, and `LAYER.c` of an LSTM."""
        several = hasattr(layer.cell, "cells")
        ends = [str(number) for number in range(len(states))] if several else ["h", "c"]
        for end, state in zip(ends, states, strict=False):
            again = ["", *map(str, range(1, len(self.kept) + 1))]  # it may be called twice
            names = (f"{layer.name}{call}.{end}" for call in again)
            self.kept[next(name for name in names if name not in self.kept)] = state
