"""Records which layer of a Keras model makes which operators, while TensorFlow traces it."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from tinsmith_export.frontend.memory import Memory
from tinsmith_export.frontend.recurrence import inner_layers, step_by_step


class Calls:
    """Notes which operators each layer makes while a model is traced.

    Args:
        memory: of the model's recurrent layers, where one step of a stream is traced.

    Attributes:
        layers: operator to the layer that made it; in a model inside a model `inner.layer`.
        classes: layer to its class.
        refused: layer that cannot be compiled to the reason.
    """

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory
        self.layers: dict[str, str] = {}
        self.classes: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self._stack: list[str] = []
        self._wrapped: set[int] = set()

    @contextmanager
    def watched(self, model: Any) -> Iterator[None]:
        """Listens in on every layer of a model, and of the models in it."""
        watched = [part for part in parts(model) if hasattr(part, "call")]
        self._wrapped = {id(inner) for part in watched for inner in inner_layers(part)}
        # Some of tf_keras's layers hold a `call` of their own, which must be there again after.
        own = [vars(part).get("call") for part in watched]
        for part in watched:
            object.__setattr__(part, "call", self._listen(part))
        try:
            yield
        finally:
            for part, call in zip(watched, own, strict=True):
                object.__delattr__(part, "call")
                if call is not None:
                    object.__setattr__(part, "call", call)

    def _listen(self, part: Any) -> Any:
        # What a wrapper calls on each step begins anew there.
        memory = None if id(part) in self._wrapped else self.memory
        # A stream needs the states behind the step, which a refused layer has not.
        refuse = None if self.memory else self._refuse
        call = step_by_step(part, memory, refuse) or part.call

        @functools.wraps(call)
        def listening(*args: Any, **kwargs: Any) -> Any:
            graph = tf.compat.v1.get_default_graph()
            before = len(graph.get_operations())
            self._stack.append(part.name)
            layer = ".".join(self._stack)
            self.classes[layer] = type(part).__name__
            try:
                return call(*args, **kwargs)
            finally:
                self._stack.pop()
                for operation in graph.get_operations()[before:]:
                    self.layers.setdefault(operation.name, layer)

        return tf.autograph.experimental.do_not_convert(listening)

    def _refuse(self, reason: str) -> None:
        """Notes why the layer that is called now cannot be compiled."""
        self.refused[".".join(self._stack)] = reason


def parts(model: Any) -> Iterator[Any]:
    """Gives the layers and operators of a model, once each, and those of the models in it."""
    seen: dict[int, Any] = {}
    inside: Any = getattr(model, "operations", None) or getattr(model, "layers", None)
    inside = inside or inner_layers(model)
    for part in inside:
        for inner in (part, *parts(part)):
            seen.setdefault(id(inner), inner)
    yield from seen.values()
