"""A model as one step of a stream: what is looked at before it is traced so.

Each layer is called on a whole sequence, and on its steps one by one: one that does not give the
same looks at several steps at once, and is refused.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from tinsmith_data.quiet import silence
from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.frontend.memory import Memory
from tinsmith_export.frontend.recurrence import MAX_STEPS, step_by_step
from tinsmith_export.frontend.savedmodel import SavedModel
from tinsmith_export.frontend.watch import Calls, parts
from tinsmith_runtime.errors import TinsmithError, UsageError

NEXT = ".next"
"""What the name of a state has behind it where it is an output."""

_MODELS = (keras.Model, tf_keras.Model)
_BATCH, _STEPS = 2, 5
_TOLERANCE = 1e-4  # of sums in another order, as large as 1
_CURES = {
    "Bidirectional": "a stream has no end to begin from: take the layer in it alone",
    "Flatten": "leave it out: a step is a vector already",
    "Reshape": "build the model with inputs (STEPS, FEATURES), and leave it out",
}


@dataclass(frozen=True)
class Stream:
    """How a model is called on one step.

    Attributes:
        states: name to the units of each state.
        by_step: for each output, whether the model gives it for each step, and not for all.
    """

    states: Mapping[str, int]
    by_step: tuple[bool, ...]

    def call(self, model: Any, memory: Memory, step: Any, *states: Any) -> list[Any]:
        """The outputs of a step `(batch, …)`, and the states behind it."""
        memory.begin(states)
        outputs = tf.nest.flatten(model(_sequence(step), training=False))
        given = [
            output[:, 0] if by_step else output
            for output, by_step in zip(outputs, self.by_step, strict=True)
        ]
        return [*given, *memory.kept.values()]


def step_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a step, of a sequence's, both without the batch; a number is `(1,)`."""
    return shape[1:] or (1,)


def as_stream(model: Any, shape: tuple[int | None, ...]) -> Stream:
    """Looks at a model, whose layers are called on random numbers.

    Args:
        model: as `prepared` gives it.
        shape: of its input, without the batch; the steps first.

    Raises:
        UsageError: it has several inputs, or an input without steps, or no recurrent layers.
        UnsupportedLayerError: layers look at several steps at once, each by name.
        TinsmithError: a layer of it raises.
    """
    if isinstance(model, SavedModel):
        raise UsageError("--stateful: a SavedModel has no layers: give the Keras file")
    if len(model.inputs) > 1:
        raise UsageError(f"--stateful: expected a model of one input, got {len(model.inputs)}")
    sizes = [size for size in shape[1:] if size is not None]
    if not shape or len(sizes) < len(shape) - 1:
        raise UsageError(f"--stateful: expected inputs of shape (steps, …), got {shape}")
    steps = shape[0] if shape[0] is not None and shape[0] <= MAX_STEPS else _STEPS
    judge = _Judge(steps)
    values = np.random.default_rng(0).random((_BATCH, steps, *sizes), np.float32)
    sequence = tf.constant(values)
    judge.timed[id(sequence)] = sequence
    with judge.watched(model), any_length(model), silence():
        try:
            outputs = tf.nest.flatten(model(sequence, training=False))
        except TinsmithError:
            raise
        except Exception as error:  # a layer of the user's own may raise anything
            raise TinsmithError(
                f"{model.name}: it cannot be called on {steps} steps: "
                f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            ) from error
    if judge.reasons:
        raise UnsupportedLayerError(*judge.reasons)
    if not judge.states.kept:
        raise UsageError(
            "--stateful: the model has no recurrent layer, so no state: compile it without"
        )
    units = {name: int(state.shape[-1]) for name, state in judge.states.kept.items()}
    return Stream(units, tuple(id(output) in judge.timed for output in outputs))


def _sequence(step: Any) -> Any:
    """A step as a sequence of one; numbers `(batch, 1)` are one already."""
    return step if len(step.shape) == 2 and step.shape[1] == 1 else step[:, None]


@contextmanager
def any_length(model: Any) -> Iterator[None]:
    """Has a model, and those in it, take sequences of another length than they were built with."""
    models = [part for part in (model, *parts(model)) if isinstance(part, _MODELS)]
    own = [vars(part).get("_manual_input_spec", _MODELS) for part in models]
    for part in models:
        object.__setattr__(part, "_manual_input_spec", None)
    try:
        yield
    finally:
        for part, spec in zip(models, own, strict=True):
            object.__delattr__(part, "_manual_input_spec")
            if spec is not _MODELS:
                object.__setattr__(part, "_manual_input_spec", spec)


class _Judge(Calls):
    """Compares what layers give for a sequence with what they give for its steps.

    Attributes:
        timed: the tensors `(batch, steps, …)`, by their identity.
        states: of the recurrent layers.
        reasons: why layers cannot be called step by step; what reads what these give is not
            looked at.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps
        self._inside = False
        self._refused: dict[int, Any] = {}  # tensors
        self.timed: dict[int, Any] = {}
        self.states = Memory()
        self.reasons: list[str] = []

    def _listen(self, part: Any) -> Any:
        call = step_by_step(part) or part.call
        model = bool(getattr(part, "operations", None) or getattr(part, "layers", None))

        def listening(*args: Any, **kwargs: Any) -> Any:
            if self._inside or model:
                return call(*args, **kwargs)
            self._inside = True
            try:
                whole = call(*args, **kwargs)
                self._compare(part, call, whole, args, kwargs)
            finally:
                self._inside = False
            return whole

        return tf.autograph.experimental.do_not_convert(listening)

    def _compare(self, part: Any, call: Any, whole: Any, args: Any, kwargs: Any) -> None:
        outputs = tf.nest.flatten(whole)
        known = self._refused.keys().isdisjoint(map(id, tf.nest.flatten((args, kwargs))))
        reasons = self._reasons(part, call, outputs, args, kwargs) if known else ()
        self.reasons += reasons
        if reasons or not known:
            self._refused |= {id(output): output for output in outputs}

    def _reasons(
        self, part: Any, call: Any, outputs: list[Any], args: Any, kwargs: Any
    ) -> tuple[str, ...]:
        """Why a layer cannot be called step by step; none if it can."""
        memory = Memory()
        call = step_by_step(part, memory) or call
        steps = []
        try:
            for step in range(self._steps):
                memory.begin(list(memory.kept.values()))
                given, named = tf.nest.map_structure(
                    lambda one, at=step: one[:, at : at + 1] if id(one) in self.timed else one,
                    (args, kwargs),
                )
                steps.append(tf.nest.flatten(call(*given, **named)))
        except UnsupportedLayerError as error:
            return error.reasons
        except Exception:  # it takes sequences of one length
            steps = []
        if memory.kept:
            self.states.keep(part, list(memory.kept.values()))
        same = [
            bool(steps) and self._same(output, [one[index] for one in steps])
            for index, output in enumerate(outputs)
        ]
        return () if all(same) else (_refused(part),)

    def _same(self, whole: Any, steps: list[Any]) -> bool:
        """Whether an output is that of all steps, or of the last."""
        expected = steps[-1]
        if whole.shape[1:2] == [self._steps] and expected.shape[1:2] == [1]:
            expected = tf.concat(steps, 1)
            self.timed[id(whole)] = whole
        if whole.shape != expected.shape:
            return False
        size = max(1.0, float(tf.reduce_max(tf.abs(whole))))
        return bool(tf.reduce_max(tf.abs(whole - expected)) <= _TOLERANCE * size)


def _refused(part: Any) -> str:
    kind = type(part).__name__
    cure = _CURES.get(kind, "leave it out, or compile without --stateful, for a fixed length")
    return (
        f"layer `{part.name}` ({kind}) cannot be compiled with --stateful: it looks at several "
        f"steps at once, and a stream gives one at a time; {cure}"
    )
